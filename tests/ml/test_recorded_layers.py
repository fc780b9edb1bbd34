"""What a run records of its layers beside the feature maps: heatmaps, what excites the channels, and their health."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from facegender import RunRecorder
from facegender.data.datamodule import FaceDataModule
from facegender.interpret.cam import cams_by_class, compute_activations_and_cams
from facegender.interpret.layers import trace
from facegender.interpret.top_patches import ChannelTracker, LayerUnits
from facegender.network.model import normalise
from facegender.network.module import FaceGenderModule
from facegender.runs.events import AnyEvent, HealthMeasured, Notice
from facegender.runs.folder import INITIAL, RunFolder
from facegender.runs.frames import open_frame
from facegender.training.callbacks import recorder
from tests.ml.conftest import STEPS_PER_EPOCH, events_of, tiny

LAYERS = ["conv1", "conv2", "conv3"]


@pytest.fixture(scope="module")
def module(trained: Path) -> FaceGenderModule:
    """The network after the last epoch of the run "done"."""
    module = FaceGenderModule(tiny(), ["female", "male"])
    module.load_state_dict(torch.load(RunFolder(trained, "done").last_checkpoint, weights_only=True)["state_dict"])
    return module.eval()


def validated(module: FaceGenderModule, root: Path) -> dict[str, LayerUnits]:
    """What excites the channels in a second validation."""
    data = FaceDataModule(tiny(), root)
    data.prepare()
    batches = list(data.val_dataloader())
    tracker = ChannelTracker(trace(module.network, normalise(batches[0][0][:1])))
    count = 0
    with torch.inference_mode(), tracker.watch():
        for images, _ in batches:
            module(images)
            tracker.add(torch.arange(count, count + len(images)))
            count += len(images)
    return tracker.result()


def test_a_frame_tells_what_excites_each_channel_in_the_validation(module: FaceGenderModule, trained: Path) -> None:
    expected = validated(module, trained)
    with open_frame(RunFolder(trained, "done").frame_path(2)) as frame:
        for name in LAYERS:
            units, top = expected[name].arrays()
            assert np.allclose(frame.tensor(f"units/{name}"), units, atol=1e-5)
            assert np.array_equal(frame.tensor(f"top/{name}/image"), top.image)
            assert np.array_equal(frame.tensor(f"top/{name}/at"), top.at)
            assert np.allclose(frame.tensor(f"top/{name}/value"), top.value, atol=1e-5, equal_nan=True)
            assert (frame.tensor(f"top/{name}/image")[:, :4] >= 0).all()
            assert (frame.tensor(f"top/{name}/image")[:, 4:] == -1).all()  # four photographs validate


def test_a_frame_tells_where_the_network_looked_for_each_class(module: FaceGenderModule, trained: Path) -> None:
    with open_frame(RunFolder(trained, "done").frame_path(2)) as frame:
        images = normalise(torch.tensor(frame.tensor("probe/images")).permute(0, 3, 1, 2))
        layers, labels = trace(module.network, images), torch.tensor(frame.tensor("probe/labels"))
        cams = compute_activations_and_cams(module.network, images, layers, labels)[2]
        assert cams is not None
        assert frame.info.cam_method == cams.method
        for name, heat in cams_by_class(cams, ["female", "male"]).items():
            for probe in range(2):
                values, high = frame.cam(name, probe)
                assert high == pytest.approx(float(heat[probe].max()), rel=1e-4)
                assert np.allclose(values * (high / 255), heat[probe], atol=high / 255)


def test_a_frame_of_the_initial_weights_has_heatmaps_and_nothing_of_a_validation(trained: Path) -> None:
    with open_frame(RunFolder(trained, "done").frame_path(INITIAL)) as frame:
        assert "cam/female" in frame
        assert "units/conv1" not in frame
        assert "top/conv1/value" not in frame


def health_of(events: list[AnyEvent]) -> list[HealthMeasured]:
    return [event for event in events if isinstance(event, HealthMeasured)]


def test_each_epoch_has_the_health_of_all_layers(trained: Path) -> None:
    healths = health_of(events_of(trained, "done"))
    assert [(health.epoch, health.step) for health in healths] == [(n, (n + 1) * STEPS_PER_EPOCH) for n in range(3)]
    for health in healths:
        assert health.first_not_finite == ""
        assert [(layer.name, layer.channels) for layer in health.layers] == [("conv1", 4), ("conv2", 8), ("conv3", 8)]
        for layer in health.layers:
            assert layer.gradient_norm > 0
            assert 0 < layer.update_ratio < 1
            assert layer.dead_count == len(layer.dead)
        with open_frame(RunFolder(trained, "done").frame_path(health.epoch)) as frame:
            for layer in health.layers:
                active = frame.tensor(f"units/{layer.name}")[:, 2]
                assert layer.dead == np.flatnonzero(active == 0).tolist()


class Script(LightningModule):
    """Somebody's own network, of which a channel is dead and two filters are equal."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.frozen = nn.Conv2d(6, 4, 3, stride=2)
        self.fc = nn.Linear(4, 3)
        self.frozen.requires_grad_(False)
        with torch.no_grad():
            self.conv.weight[4] = self.conv.weight[1]
        self.fails_at: int | None = None

    def forward(self, images: Tensor) -> Tensor:
        activation = torch.relu(self.conv(images))
        logits: Tensor = self.fc(torch.relu(self.frozen(activation)).mean((2, 3)))
        return logits

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self(batch[0])
        if batch_idx == self.fails_at:
            raise ValueError("broken")

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def loader(count: int) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(count)
    images = torch.rand(count, 3, 20, 16, generator=generator)
    return DataLoader(TensorDataset(images, torch.arange(count) % 3), batch_size=5)


def fit(root: Path, script: Script, **options: Any) -> list[AnyEvent]:
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[RunRecorder("a", ["x", "y", "z"], root)], **options,
    )  # fmt: skip
    trainer.fit(script, loader(20), loader(12))
    return events_of(root, "a")


def test_somebody_elses_network_is_recorded_likewise(tmp_path: Path) -> None:
    script = Script()
    healths = health_of(fit(tmp_path, script))
    assert [health.epoch for health in healths] == [0, 1]
    conv, frozen = healths[0].layers
    assert conv.gradient_norm > 0
    assert [pair[:2] for pair in conv.duplicates] == [(1, 4)]
    assert math.isnan(frozen.gradient_norm)
    assert math.isnan(frozen.update_ratio)
    with open_frame(RunFolder(tmp_path, "a").frame_path(1)) as frame:
        assert {name for name in ("cam/x", "cam/y", "cam/z") if name in frame} == {"cam/x", "cam/y", "cam/z"}
        top = frame.top("conv", 0)
        assert sorted(top.image.tolist()) == sorted(set(top.image.tolist()))
        assert 0 <= top.image.min() <= top.image.max() < 12
    assert not any(module._forward_hooks for module in script.modules())


def test_hooks_are_removed_after_an_exception_in_validation(tmp_path: Path) -> None:
    script = Script()
    script.fails_at = 1
    with pytest.raises(ValueError, match="broken"):
        fit(tmp_path, script, num_sanity_val_steps=0)
    assert not any(module._forward_hooks for module in script.modules())


def test_without_heatmaps_a_script_still_has_feature_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> Any:
        raise RuntimeError("not differentiable")

    monkeypatch.setattr(recorder, "compute_activations_and_cams", broken)
    notices = [event.text for event in fit(tmp_path, Script()) if isinstance(event, Notice)]
    assert [text for text in notices if "heatmaps" in text] == [
        "heatmaps cannot be recorded: RuntimeError: not differentiable"
    ]
    with open_frame(RunFolder(tmp_path, "a").frame_path(1)) as frame:
        assert "maps/conv" in frame
        assert "cam/x" not in frame
        assert "units/conv" in frame


def test_without_a_validation_gradients_are_measured_all_the_same(tmp_path: Path) -> None:
    first = health_of(fit(tmp_path, Script(), limit_val_batches=0))[0]
    assert first.layers[0].gradient_norm > 0
    assert first.layers[0].dead_count == 0
    with open_frame(RunFolder(tmp_path, "a").frame_path(0)) as frame:
        assert "units/conv" not in frame


@pytest.mark.parametrize("accumulated", [1, 3])
def test_gradients_are_measured_with_accumulation_too(accumulated: int, tmp_path: Path) -> None:
    for health in health_of(fit(tmp_path, Script(), accumulate_grad_batches=accumulated)):
        assert health.layers[0].gradient_norm > 0
        assert health.layers[0].update_ratio > 0
