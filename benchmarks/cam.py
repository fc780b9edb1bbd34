"""Grad-CAM beside LayerCAM: which heatmap names the pixels that the network's answer depends on.

``python -m benchmarks.cam CHECKPOINT FOLDER`` measures validation photographs of the run that the checkpoint belongs
to; FOLDER is what it was trained on. Heatmaps are of the predicted class, at the last convolution.

- *deletion*, *insertion*: area under the curve of the class's probability while pixels are replaced with gray, the most
  important first, or appear on a blurred photograph. Petsiuk et al., "RISE", BMVC 2018,
  https://arxiv.org/abs/1806.07421. A better heatmap has less deletion and more insertion.
- *average drop*: how much of the probability is lost if the photograph is multiplied with the heatmap; less is better.
  Chattopadhay et al., "Grad-CAM++", WACV 2018, https://arxiv.org/abs/1710.11063

LayerCAM: Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", IEEE TIP 2021.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from facegender.classifier import load_classifier
from facegender.data.datamodule import FaceDataModule
from facegender.interpret.layers import hooked, output_hook, trace
from facegender.network.model import normalise
from facegender.runs.config import TrainConfig

STEPS = 50


def heatmaps(network: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """Heatmaps (S, S) of the predicted class by method, from 0 to 1."""
    outputs: list[Tensor] = []
    hook = output_hook(trace(network, image)[-1], lambda layer, output: outputs.append(output) or output.clone())
    with hooked(network, image, [hook]):
        (gradient,) = torch.autograd.grad(network(image.clone().requires_grad_()).max(), outputs[0])
    activation = outputs[0].detach()
    found = {
        "Grad-CAM": (gradient.mean((2, 3), keepdim=True) * activation).sum(1, keepdim=True),
        "LayerCAM": (gradient.relu() * activation).sum(1, keepdim=True),
        "random": torch.rand(1, 1, *activation.shape[2:]),
    }
    sized = {name: F.interpolate(heat.relu(), image.shape[2:], mode="bilinear")[0, 0] for name, heat in found.items()}
    return {name: heat / heat.max().clamp_min(1e-12) for name, heat in sized.items()}


@torch.inference_mode()
def measure(network: nn.Module, image: Tensor, heat: Tensor) -> list[float]:
    """Deletion, insertion and average drop, as shares."""
    probabilities = network(image).softmax(1)
    label = int(probabilities.argmax())
    rank = heat.flatten().argsort(descending=True).argsort().reshape(heat.shape)
    shown = torch.linspace(0, heat.numel(), STEPS + 1)[:, None, None, None]
    important = rank < shown
    blurred = gaussian_blur(image, 11, 5.0)
    results = []
    for series in (torch.where(important, 0.0, image), torch.where(important, image, blurred)):
        results.append(float(torch.trapezoid(network(series).softmax(1)[:, label], dx=1 / STEPS)))
    before, after = float(probabilities[0, label]), float(network(image * heat).softmax(1)[0, label])
    return [*results, max(0.0, before - after) / before]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=100)
    options = parser.parse_args()
    classifier = load_classifier(options.checkpoint)
    data = FaceDataModule(TrainConfig(data=str(options.folder), image_size=classifier.image_size), Path())
    data.prepare()
    probes = data.probes(options.images)
    torch.manual_seed(0)
    results: dict[str, list[list[float]]] = {}
    for pixels in probes.images:
        image = normalise(torch.from_numpy(pixels).permute(2, 0, 1)[None])
        for name, heat in heatmaps(classifier.network, image).items():
            results.setdefault(name, []).append(measure(classifier.network, image, heat))
    print(f"{len(probes.images)} photographs   deletion  insertion  average drop")
    for name, rows in results.items():
        mean, error = np.mean(rows, 0), np.std(rows, 0) / len(rows) ** 0.5
        print(f"{name:16}", "  ".join(f"{m:.3f} ± {e:.3f}" for m, e in zip(mean, error, strict=True)))


if __name__ == "__main__":
    main()
