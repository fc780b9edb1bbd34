"""Train any classification network of torchvision on a folder of pictures, and look inside it while it learns.

The folder has a subfolder of pictures for each class::

    python examples/any_network.py PICTURES --network resnet18
    facegender-tui any-network           # in another terminal, at any time
    facegender suspects any-network      # pictures that are probably in the wrong folder
"""

import argparse
from typing import Any

import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, random_split
from torchvision import datasets, models, transforms

from facegender import RunRecorder

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as torchvision's weights expect


class IndexedFolder(datasets.ImageFolder):
    """Also tells which picture it is, so that the recorder can follow each one while it is trained on."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, label = super().__getitem__(index)
        return {"image": image, "label": label, "index": index}


class ImageClassifier(LightningModule):
    def __init__(self, network: nn.Module, learning_rate: float) -> None:
        super().__init__()
        self.network, self.learning_rate = network, learning_rate

    def forward(self, images: Tensor) -> Tensor:
        output = self.network(images)
        return getattr(
            output, "logits", output
        )  # (N, classes); Inception also returns logits of an auxiliary classifier

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch["image"]), batch["label"])

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.log("val_loss", F.cross_entropy(self(batch["image"]), batch["label"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), self.learning_rate)


def make_network(name: str, classes: int, *, pretrained: bool) -> nn.Module:
    """Make a network, with the weights of ImageNet except in its last layer if this machine can get them."""
    # These two have auxiliary classifiers, whose logits they return as well while they train.
    options = {"aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    network = models.get_model(name, num_classes=classes, **options)
    if pretrained:
        try:
            weights = models.get_model_weights(name).DEFAULT.get_state_dict()
        except OSError as error:
            print(f"the weights of {name} cannot be downloaded ({error}): training starts from random ones")
        else:
            own = network.state_dict()
            fitting = {key: value for key, value in weights.items() if key in own and value.shape == own[key].shape}
            network.load_state_dict(fitting, strict=False)
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", help="folder with one subfolder for each class")
    parser.add_argument("--network", default="resnet18", help="a classification network of torchvision.models")
    parser.add_argument("--random-weights", action="store_true", help="do not download any")
    for name, default in {"epochs": 5, "batch-size": 32, "image-size": 224, "workers": 2}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--root", default=".", help="folder for checkpoints/ and visuals/")
    options = parser.parse_args()

    size = (options.image_size, options.image_size)
    steps = transforms.Compose([transforms.Resize(size), transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    pictures = IndexedFolder(options.pictures, steps)
    parts = random_split(pictures, [0.8, 0.2], torch.Generator().manual_seed(1))
    train, validation = (
        DataLoader(part, options.batch_size, shuffle=part is parts[0], num_workers=options.workers) for part in parts
    )
    network = make_network(options.network, len(pictures.classes), pretrained=not options.random_weights)

    recorder = RunRecorder("any-network", classes=pictures.classes, root=options.root, mean=MEAN, std=STD)
    trainer = Trainer(max_epochs=options.epochs, callbacks=[recorder], logger=False, enable_checkpointing=False)
    trainer.fit(ImageClassifier(network, options.learning_rate), train, validation)


if __name__ == "__main__":
    main()
