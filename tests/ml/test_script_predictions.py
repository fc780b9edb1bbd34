"""Predictions of single images, margins and file names in the runs of somebody's own script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, SubsetRandomSampler, TensorDataset

from facegender.cli.inspect import show
from facegender.data.recorded import photograph_reader
from facegender.evaluation.suspects import rank_suspects
from facegender.runs.folder import RunFolder
from facegender.runs.photographs import read_photographs
from facegender.support.errors import UserError
from facegender.training.callbacks.loaders import image_order, listed_photographs
from tests.ml.conftest import predictions_of
from tests.ml.test_public_recorder import CLASSES, Module, draw_pictures, fit, loader, notices

Items = list[tuple[Any, ...]]


class Indexed(Dataset[dict[str, Any]]):
    """Gives dictionaries, as many data sets do, here with the index."""

    def __init__(self, data: Dataset[Any], *, offset: int = 0) -> None:
        self.data, self.offset = data, offset

    def __len__(self) -> int:
        return len(self.data)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, label = self.data[index]
        return {"index": index + self.offset, "image": image, "label": label}


class DictModule(Module):
    """Trains on dictionaries, and keeps the margin of each image by its first pixel when it was last trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.margins: dict[float, float] = {}

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        logits = self.logits(batch["image"])
        for image, label, row in zip(batch["image"], batch["label"], logits.tolist(), strict=True):
            others = [value for index, value in enumerate(row) if index != label]
            self.margins[float(image[0, 0, 0])] = row[label] - max(others)
        return F.cross_entropy(logits, batch["label"])

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.logits(batch["image"])


def stacked(data: Dataset[Any]) -> Tensor:
    return torch.stack([data[index][0] for index in range(len(data))])  # type: ignore[arg-type]


@pytest.mark.parametrize("every", [0, 1])
def test_the_logits_of_every_validation_image_are_kept_in_order(tmp_path: Path, every: int) -> None:
    module, validation = Module(), loader(11)
    fit(tmp_path, module, loader(), validation, max_epochs=2, visualize_every=every)
    recorded = predictions_of(tmp_path, "mine")
    assert [(one.epoch, one.classes, one.margins.size) for one in recorded] == [(0, CLASSES, 0), (1, CLASSES, 0)]
    module.eval()
    with torch.no_grad():
        logits = module.model(stacked(validation.dataset))
    np.testing.assert_allclose(recorded[1].logits, logits.numpy(), atol=1e-6)
    assert recorded[1].labels.tolist() == [index % 3 for index in range(11)]
    assert notices(tmp_path) == []


@pytest.mark.parametrize("batch_size", [4, 7])
def test_margins_are_kept_where_batches_tell_the_index(tmp_path: Path, batch_size: int) -> None:
    data, module = Indexed(loader(12).dataset), DictModule()
    train = DataLoader(data, batch_size, shuffle=True)
    fit(tmp_path, module, train, DataLoader(data, 4), max_epochs=2)
    last = predictions_of(tmp_path, "mine")[-1]
    pixels = [float(image[0, 0, 0]) for image in stacked(data.data)]
    np.testing.assert_allclose(last.margins, [module.margins[pixel] for pixel in pixels], rtol=1e-5)
    assert last.train_labels.tolist() == [index % 3 for index in range(12)]
    assert len(rank_suspects(RunFolder(tmp_path, "mine"))) == 24
    assert notices(tmp_path) == []


def test_the_index_is_that_of_the_data_set_below_a_subset(tmp_path: Path) -> None:
    data, module = Indexed(loader(12).dataset), DictModule()
    chosen = Subset(Subset(data, [9, 2, 7, 5, 11]), [4, 0, 2])  # images 11, 9 and 7
    fit(tmp_path, module, DataLoader(chosen, 2, shuffle=True), DataLoader(data, 4))
    (one,) = predictions_of(tmp_path, "mine")
    pixels = stacked(data.data)[:, 0, 0, 0]
    np.testing.assert_allclose(one.margins, [module.margins[float(pixels[index])] for index in (11, 9, 7)], rtol=1e-5)
    assert one.train_labels.tolist() == [index % 3 for index in (11, 9, 7)]


def test_an_index_out_of_range_leaves_its_image_out(tmp_path: Path) -> None:
    data = Indexed(loader(12).dataset, offset=10)
    fit(tmp_path, DictModule(), DataLoader(data, 4, shuffle=True), DataLoader(data, 4))
    (one,) = predictions_of(tmp_path, "mine")
    assert np.isfinite(one.margins).tolist() == [False] * 10 + [True] * 2
    assert one.train_labels.tolist() == [-1] * 10 + [0, 1]
    assert notices(tmp_path) == []


def test_images_that_were_not_validated_are_gaps(tmp_path: Path) -> None:
    fit(tmp_path, Module(), loader(), loader(12), limit_val_batches=2)
    (one,) = predictions_of(tmp_path, "mine")
    assert np.isfinite(one.logits).all(1).tolist() == [True] * 8 + [False] * 4
    assert one.labels.tolist()[8:] == [-1] * 4


def test_an_epoch_without_validation_has_no_file_unless_there_are_margins(tmp_path: Path) -> None:
    fit(tmp_path, Module(), max_epochs=4, check_val_every_n_epoch=2)
    assert RunFolder(tmp_path, "mine").prediction_epochs() == [1, 3]
    data = Indexed(loader(12).dataset)
    loaders = DataLoader(data, 4), DataLoader(data, 4)
    fit(tmp_path, DictModule(), *loaders, max_epochs=4, check_val_every_n_epoch=2, name="margins")
    assert RunFolder(tmp_path, "margins").prediction_epochs() == [0, 1, 2, 3]
    first = predictions_of(tmp_path, "margins")[0]
    assert np.isnan(first.logits).all()
    assert first.logits.shape == (12, 3)


def test_of_several_validations_in_an_epoch_the_last_one_counts(tmp_path: Path) -> None:
    module = Module()
    fit(tmp_path, module, loader(), loader(8), val_check_interval=1)
    (one,) = predictions_of(tmp_path, "mine")
    module.eval()
    with torch.no_grad():
        np.testing.assert_allclose(one.logits, module.model(stacked(loader(8).dataset)).numpy(), atol=1e-6)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(loader(7).dataset)  # type: ignore[call-overload]


def test_a_stream_is_counted(tmp_path: Path) -> None:
    fit(tmp_path, Module(), loader(), DataLoader(Stream(), 4))
    (one,) = predictions_of(tmp_path, "mine")
    assert one.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.filterwarnings("ignore:Your .val_dataloader.'s sampler has shuffling enabled")
def test_images_in_another_order_each_time_are_a_notice(tmp_path: Path) -> None:
    data = loader(12).dataset
    fit(tmp_path, Module(), loader(), DataLoader(data, 4, sampler=SubsetRandomSampler(range(6))))
    assert RunFolder(tmp_path, "mine").prediction_epochs() == []
    reason = "they come in another order than their data set"
    assert notices(tmp_path) == [f"predictions of single validation images are not recorded: {reason}"]


def test_an_error_while_margins_are_computed_is_one_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def margins(*_: Any) -> Tensor:
        raise RuntimeError("no margin")

    monkeypatch.setattr("facegender.training.callbacks.image_predictions.MARGINS_EVERY", 1)
    monkeypatch.setattr("facegender.training.callbacks.image_predictions._margins", margins)
    data = Indexed(loader(12).dataset)
    fit(tmp_path, DictModule(), DataLoader(data, 4), DataLoader(data, 4), max_epochs=2)
    assert notices(tmp_path) == ["margins cannot be recorded: RuntimeError: no margin"]
    assert RunFolder(tmp_path, "mine").state() == "completed"


# File names -----------------------------------------------------------------------------------------------------------


def pictures_of(folder: Path) -> Any:
    torchvision = pytest.importorskip("torchvision")
    draw_pictures(folder, 4)
    return torchvision.datasets.ImageFolder(folder, torchvision.transforms.ToTensor())


def test_the_files_of_a_folder_of_pictures_are_listed_and_found_again(tmp_path: Path) -> None:
    data = pictures_of(tmp_path / "pictures")
    train, validation = torch.utils.data.random_split(data, [8, 4], torch.Generator().manual_seed(1))
    fit(tmp_path, Module(), DataLoader(train, 4, shuffle=True), DataLoader(validation, 4))
    folder = RunFolder(tmp_path, "mine")
    manifest, photographs = folder.read_manifest(), read_photographs(folder)
    assert manifest is not None
    assert photographs is not None
    assert manifest.data == str(tmp_path / "pictures")
    assert len(photographs.train) == 8
    assert set(photographs.train).isdisjoint(photographs.validation)
    read = photograph_reader(folder)
    for index, name in enumerate(photographs.validation):
        assert np.array_equal(
            np.asarray(read(name)), np.asarray(Image.open(data.samples[validation.indices[index]][0]))
        )
    (one,) = predictions_of(tmp_path, "mine")
    assert [CLASSES[label] for label in one.labels] == [name.partition("/")[0] for name in photographs.validation]
    assert {suspect.file for suspect in rank_suspects(folder)} == set(photographs.validation)
    assert notices(tmp_path) == []


def test_two_folders_are_named_below_the_one_that_has_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train, validation = (pictures_of(Path("pictures") / part) for part in ("train", "val"))
    listed = listed_photographs(DataLoader(train), DataLoader(validation))
    assert listed is not None
    folder, photographs = listed
    assert folder == str(tmp_path / "pictures")
    assert photographs.train[0] == "train/cat/0.png"
    assert photographs.validation[-1] == "val/fox/3.png"


def odd_samples(samples: Any, root: Any = "/pictures") -> Dataset[Any]:
    data = Indexed(TensorDataset(torch.zeros(2, 3, 4, 4), torch.zeros(2)))
    data.samples, data.root = samples, root  # type: ignore[attr-defined]
    return data


@pytest.mark.parametrize(
    "data",
    [
        lambda: loader().dataset,
        lambda: odd_samples([("/elsewhere/a.png", 0)]),
        lambda: odd_samples([3, 4]),
        lambda: odd_samples([(None, 1)]),
        lambda: odd_samples([("/pictures/a.png", 0)], root=None),
        lambda: odd_samples([]),
    ],
)
def test_what_lists_no_files_below_its_root_has_no_names(data: Callable[[], Dataset[Any]]) -> None:
    assert listed_photographs(DataLoader(data()), DataLoader(data())) is None


@pytest.mark.parametrize(
    ("make", "order"),
    [
        (lambda data: DataLoader(data, 4), "listed"),
        (lambda data: DataLoader(Subset(data, [3, 1]), 4), "listed"),
        (lambda data: DataLoader(data, 4, shuffle=True), "other"),
        (lambda data: DataLoader(data, batch_sampler=[[3, 1], [2]]), "other"),
        (lambda data: DataLoader(data, batch_size=None), "stream"),
        (lambda data: DataLoader(Stream(), 4), "stream"),
        (lambda data: [1, 2, 3], "stream"),
    ],
)
def test_the_order_of_a_loader_is_known(make: Callable[[Any], Any], order: str) -> None:
    assert image_order(make(loader().dataset)) == order


def test_patches_of_a_script_say_that_its_checkpoints_are_its_own(tmp_path: Path) -> None:
    data = pictures_of(tmp_path / "pictures")
    fit(tmp_path, Module(), DataLoader(data, 4, shuffle=True), DataLoader(data, 4))
    with pytest.raises(UserError, match=r"was trained by its own script .* which saves its checkpoints"):
        show("mine", layer="1", view="top", channel=1, output=tmp_path / "a.png", root=tmp_path)
