"""A disk that is full: training continues, says so once, and leaves nothing half-written."""

from __future__ import annotations

import errno
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from facegender.network.checkpoint_file import write_checkpoint
from facegender.runs.events import FrameSaved, Notice
from facegender.runs.folder import INITIAL, RunFolder
from facegender.training.callbacks import checkpoints
from facegender.training.run import train
from facegender.training.threads import frames
from tests.ml.conftest import STEPS_PER_EPOCH, events_of, tiny


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_a_checkpoint_that_does_not_fit_says_why() -> None:
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_checkpoint({"weights": torch.zeros(100_000)}, Path("/dev/full"))
    assert caught.value.errno == errno.ENOSPC


def test_checkpoints_that_do_not_fit_are_told_once_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checkpoints, "write_checkpoint", full)
    assert train(tiny(visualize_every=0), tmp_path, "a", show=False) == "failed"
    *lines, last = capfd.readouterr().err.splitlines()
    assert last.startswith("facegender: run a failed: no space left on the disk")
    assert lines == [
        "facegender: run a: best.ckpt could not be saved: No space left on device; make room; training continues",
        "facegender: run a: last.ckpt could not be saved: No space left on device; make room; training continues",
        "facegender: run a: the best epoch is not in best.ckpt: No space left on device",
        "facegender: run a: the last epoch is not in last.ckpt: No space left on device",
    ]
    notices = [event.text for event in events_of(tmp_path, "a") if isinstance(event, Notice) and event.level == "error"]
    assert [f"facegender: run a: {text}" for text in notices] == lines
    assert {path.name for path in RunFolder(tmp_path, "a").path.iterdir()} == {
        "run.json",
        "events.jsonl",
        "train.log",
        "lock",
        "photographs.json",
    }


def test_epochs_that_could_not_be_saved_are_trained_again_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            checkpoints,
            "write_checkpoint",
            lambda *given: (write_checkpoint if given[0]["epoch"] < 1 else full)(*given),
        )
        assert train(tiny(visualize_every=0), tmp_path, "a", show=False) == "failed"
    assert train(tiny(), tmp_path, resume="a", show=False) == "completed"
    assert torch.load(RunFolder(tmp_path, "a").last_checkpoint, weights_only=True)["epoch"] == 2


def test_a_stop_that_cannot_be_saved_says_so(
    tmp_path: Path, at_step: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checkpoints, "write_checkpoint", full)
    at_step(STEPS_PER_EPOCH - 1, lambda: signal.raise_signal(signal.SIGTERM))
    assert train(tiny(visualize_every=0), tmp_path, "a", show=False) == "stopped"
    assert "the last epoch is not in last.ckpt" in capfd.readouterr().err.splitlines()[-1]


def test_room_that_was_made_in_time_leaves_nothing_to_say_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def once(content: Any, path: Path) -> None:
        if content["epoch"] == 0 and "last" in path.name:
            full()
        write_checkpoint(content, path)

    monkeypatch.setattr(checkpoints, "write_checkpoint", once)
    assert train(tiny(visualize_every=0), tmp_path, "a", show=False) == "completed"
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert torch.load(RunFolder(tmp_path, "a").last_checkpoint, weights_only=True)["epoch"] == 2


def test_a_frame_is_saved_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = frames.write_png

    def write_png(path: Path, picture: Any) -> None:
        if path.name == "epoch_1_filters.png":
            full()
        original(path, picture)

    monkeypatch.setattr(frames, "write_png", write_png)
    assert train(tiny(), tmp_path, "a", show=False) == "completed"
    names = {path.name for path in RunFolder(tmp_path, "a").visuals.iterdir()}
    ends = (".safetensors", ".png", "_filters.png")
    kept = {f"{name}{end}" for name in ("initial", "epoch_0", "epoch_2") for end in ends}
    assert names == kept | {f"epoch_{epoch}_predictions.safetensors" for epoch in range(3)}
    assert [event.epoch for event in events_of(tmp_path, "a") if isinstance(event, FrameSaved)] == [INITIAL, 0, 2]
