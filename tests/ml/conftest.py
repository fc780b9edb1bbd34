"""Tiny runs: drawn faces of 32 px, a network of 4, 8 and 8 channels, four steps an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch.overrides import TorchFunctionMode

from facegender.runs.config import TrainConfig
from facegender.runs.events import AnyEvent, Steps
from facegender.runs.folder import RunFolder
from facegender.runs.predictions import Predictions, read_predictions
from facegender.training.run import train
from tests.recorded import read_all

TINY = TrainConfig(
    demo=True,
    demo_faces=10,
    image_size=32,
    widths=(4, 8, 8),
    batch_size=4,
    epochs=3,
    probes=2,
    accelerator="cpu",
    precision="32",  # the same on every processor
)
STEPS_PER_EPOCH = 4


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Networks this small are fastest without threads, and leave a busy machine's processors to others."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEGENDER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def tiny(**changes: Any) -> TrainConfig:
    return msgspec.structs.replace(TINY, **changes)


def events_of(root: Path, run: str) -> list[AnyEvent]:
    return read_all(RunFolder(root, run).journal_path)


def predictions_of(root: Path, run: str) -> list[Predictions]:
    """Of all epochs that have some."""
    folder = RunFolder(root, run)
    return [read_predictions(folder.predictions_path(epoch)) for epoch in folder.prediction_epochs()]


def losses_of(events: list[AnyEvent]) -> dict[int, float]:
    """Loss by optimiser step; a step that was trained again counts as it was the last time."""
    steps = [event for event in events if isinstance(event, Steps)]
    return {step: loss for event in steps for step, loss in zip(event.step, event.loss, strict=True)}


def kinds(events: list[AnyEvent]) -> list[str]:
    return [str(event.__struct_config__.tag) for event in events]


class NoWaiting(TorchFunctionMode):
    """Refuses everything that has to wait for numbers from a device."""

    WAITING = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__", "nonzero")

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert getattr(func, "__name__", "") not in self.WAITING, f"waits for the device: {func.__name__}"
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with one completed run, "done"."""
    root = tmp_path_factory.mktemp("trained")
    assert train(tiny(), root, "done", show=False) == "completed"
    return root


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Lets something happen while a certain step is trained, counted from 0."""
    from facegender.network.module import FaceGenderModule

    def arrange(step: int, action: Callable[[], None]) -> None:
        original = FaceGenderModule.training_step

        def training_step(self: FaceGenderModule, batch: Any, batch_idx: int) -> Any:
            if self.global_step == step:
                action()
            return original(self, batch, batch_idx)

        monkeypatch.setattr(FaceGenderModule, "training_step", training_step)

    return arrange
