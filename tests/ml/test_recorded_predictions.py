"""What the network said of every photograph is kept for every epoch, whatever else happens to the run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from facegender.data.datamodule import FaceDataModule
from facegender.data.dataset import CLASSES
from facegender.network.module import FaceGenderModule
from facegender.runs.events import Notice, PredictionsSaved
from facegender.runs.folder import INITIAL, RunFolder
from facegender.runs.photographs import read_photographs
from facegender.runs.predictions import Predictions
from facegender.training.callbacks import recorder
from facegender.training.run import train
from facegender.training.threads import frames
from tests.ml.conftest import STEPS_PER_EPOCH, events_of, predictions_of, tiny


def labels_in(names: list[str]) -> list[int]:
    return [CLASSES.index(name.partition("/")[0]) for name in names]


def test_each_epoch_has_the_predictions_of_every_photograph_in_the_listed_order(trained: Path) -> None:
    photographs = read_photographs(RunFolder(trained, "done"))
    assert photographs is not None
    recorded = predictions_of(trained, "done")
    assert [(one.epoch, one.classes) for one in recorded] == [(epoch, list(CLASSES)) for epoch in range(3)]
    for one in recorded:
        assert one.labels.tolist() == labels_in(photographs.validation)
        assert one.train_labels.tolist() == labels_in(photographs.train)
        assert np.isfinite(one.margins).all()
    saved = [event for event in events_of(trained, "done") if isinstance(event, PredictionsSaved)]
    assert [(event.epoch, event.file) for event in saved] == [
        (epoch, f"epoch_{epoch}_predictions.safetensors") for epoch in range(3)
    ]


def test_the_logits_are_those_of_the_weights_after_the_epoch(trained: Path) -> None:
    data = FaceDataModule(tiny(), trained)
    data.prepare()
    module = FaceGenderModule(tiny(), CLASSES)
    weights = torch.load(RunFolder(trained, "done").last_checkpoint, weights_only=True)["state_dict"]
    module.load_state_dict(weights)
    module.eval()
    with torch.inference_mode():
        logits = torch.cat([module(images) for images, _ in data.val_dataloader()])
    data.close()
    np.testing.assert_allclose(predictions_of(trained, "done")[-1].logits, logits.numpy(), atol=1e-6)


@pytest.mark.parametrize("margins_every", [1, 3, 64])
def test_the_margin_is_that_of_the_training_pass(
    tmp_path: Path, margins_every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facegender.training.callbacks.image_predictions.MARGINS_EVERY", margins_every)
    seen: dict[bytes, float] = {}
    original = FaceGenderModule.training_step

    def training_step(self: FaceGenderModule, batch: Any, batch_idx: int) -> Any:
        outputs = original(self, batch, batch_idx)
        for image, label, logits in zip(*batch, outputs["logits"], strict=True):
            seen[image.numpy().tobytes()] = float(logits[label] - logits[1 - label])
        return outputs

    monkeypatch.setattr(FaceGenderModule, "training_step", training_step)
    assert train(tiny(epochs=1, visualize_every=0), tmp_path, "a", show=False) == "completed"
    data = FaceDataModule(tiny(), tmp_path)
    data.prepare()
    assert data.photos is not None
    pixels = torch.from_numpy(data.photos.read(data._train)).permute(0, 3, 1, 2)
    data.close()
    expected = [seen[image.numpy().tobytes()] for image in pixels]
    np.testing.assert_allclose(predictions_of(tmp_path, "a")[0].margins, expected, rtol=1e-6)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_the_devices_together_train_each_photograph_once(tmp_path: Path, world: int) -> None:
    data = FaceDataModule(tiny(demo_faces=11), tmp_path)  # 18 photographs, or 17
    data.prepare()
    places = []
    for rank in range(world):
        data.trainer = SimpleNamespace(global_rank=rank, world_size=world)  # type: ignore[assignment]
        order = data.train_order(2)
        places += order.tolist()
        sampler = data._sampler()
        sampler.set_epoch(2)
        batches = np.concatenate(list(sampler))
        assert np.array_equal(data._train[order][order >= 0], batches[order >= 0])
    data.close()
    assert sorted(place for place in places if place >= 0) == list(range(len(data._train)))
    assert len(places) == -(-len(data._train) // world) * world


def test_a_run_stopped_within_an_epoch_keeps_the_margins_of_its_first_part(
    tmp_path: Path, trained: Path, at_step: Callable[[int, Callable[[], None]], None]
) -> None:
    at_step(STEPS_PER_EPOCH + 1, lambda: signal.raise_signal(signal.SIGTERM))
    assert train(tiny(), tmp_path, "a", show=False) == "stopped"
    assert [one.epoch for one in predictions_of(tmp_path, "a")] == [0]
    assert train(tiny(), tmp_path, resume="a", show=False) == "completed"
    for found, expected in zip(predictions_of(tmp_path, "a"), predictions_of(trained, "done"), strict=True):
        np.testing.assert_array_equal(found.margins, expected.margins)
        np.testing.assert_array_equal(found.train_labels, expected.train_labels)


def test_predictions_wait_for_no_frame_and_are_never_left_out_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_all, original = threading.Event(), frames.write_frame

    def write_frame(path: Path, frame: Any) -> None:
        assert trained_all.wait(60)
        original(path, frame)

    monkeypatch.setattr(frames, "write_frame", write_frame)
    monkeypatch.setattr(recorder.RunRecorder, "on_train_end", lambda *_: trained_all.set())
    assert train(tiny(epochs=7), tmp_path, "a", show=False) == "completed"
    assert RunFolder(tmp_path, "a").frame_epochs() == [INITIAL, 0, 1, 2, 6]
    assert [one.epoch for one in predictions_of(tmp_path, "a")] == list(range(7))
    saved = [event.__struct_config__.tag for event in events_of(tmp_path, "a") if hasattr(event, "file")]
    files = [tag for tag in saved if tag != "checkpoint_saved"]
    assert files[1:8] == ["predictions_saved"] * 7  # the first frame was being written already


def test_predictions_that_cannot_be_saved_are_a_notice_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    original = frames.write_predictions

    def write_predictions(path: Path, predictions: Predictions) -> None:
        if predictions.epoch < 2:
            raise OSError(28, "No space left on device")
        original(path, predictions)

    monkeypatch.setattr(frames, "write_predictions", write_predictions)
    assert train(tiny(), tmp_path, "a", show=False) == "completed"
    errors = [event.text for event in events_of(tmp_path, "a") if isinstance(event, Notice) and event.level == "error"]
    lost = "could not be saved: No space left on device"
    assert errors == [f"predictions of epoch {epoch} {lost}" for epoch in (1, 2)]
    assert capfd.readouterr().err.count("No space left") == 1
    assert [one.epoch for one in predictions_of(tmp_path, "a")] == [2]
