"""Folders that somebody removes or renames while a run writes to them."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from facegender.runs.events import FrameSaved, RunFinished
from facegender.runs.folder import RunFolder
from facegender.training.run import train
from facegender.training.stop import StopSwitch
from tests.ml.conftest import STEPS_PER_EPOCH, events_of, tiny

At = Callable[[int, Callable[[], None]], None]


@pytest.fixture
def noticed(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Is set when the trainer has noticed that its folder is gone."""
    event, original = threading.Event(), StopSwitch.fail

    def fail(self: StopSwitch, error: str) -> None:
        original(self, error)
        event.set()

    monkeypatch.setattr(StopSwitch, "fail", fail)
    return event


def await_files(root: Path, step: int) -> None:
    """Waits until nothing is being written any more of the initial weights and the epochs before a step.

    A checkpoint that is renamed while `shutil.rmtree` removes its folder would make that fail.
    """
    while any((root / "checkpoints" / "a").glob(".*.ckpt.*.tmp")):
        time.sleep(0.01)
    for name in ("initial", *(f"epoch_{epoch}" for epoch in range(step // STEPS_PER_EPOCH))):
        while not (root / "visuals" / "a" / f"{name}_filters.png").exists():
            time.sleep(0.01)


def remove_run(root: Path) -> None:
    shutil.rmtree(root / "checkpoints" / "a")
    shutil.rmtree(root / "visuals" / "a")


def remove_all_runs(root: Path) -> None:
    shutil.rmtree(root / "checkpoints")
    shutil.rmtree(root / "visuals")


def replace_run(root: Path) -> None:
    remove_run(root)
    (root / "checkpoints" / "a").mkdir()
    (root / "checkpoints" / "a" / "stop").touch()


@pytest.mark.parametrize("remove", [remove_run, remove_all_runs, replace_run])
@pytest.mark.parametrize("step", [2, STEPS_PER_EPOCH, 3 * STEPS_PER_EPOCH - 1])
def test_a_run_whose_folder_is_removed_ends_with_one_line_and_makes_nothing_again(
    tmp_path: Path,
    at_step: At,
    noticed: threading.Event,
    capfd: pytest.CaptureFixture[str],
    remove: Callable[[Path], None],
    step: int,
) -> None:
    left: list[Path] = []

    def act() -> None:
        await_files(tmp_path, step)
        remove(tmp_path)
        left.extend(sorted(tmp_path.rglob("*")))
        assert noticed.wait(20)

    at_step(step, act)
    assert train(tiny(), tmp_path, "a", show=False) == "failed"
    (line,) = capfd.readouterr().err.splitlines()
    path = tmp_path / "checkpoints" / "a"
    assert line == f"facegender: run a failed: {path} was removed or renamed while the run was training"
    assert sorted(tmp_path.rglob("*")) == left


def test_a_run_whose_folder_is_removed_in_its_last_moment_makes_nothing_again_either(
    tmp_path: Path, at_step: At, capfd: pytest.CaptureFixture[str]
) -> None:
    step = 3 * STEPS_PER_EPOCH - 1

    def act() -> None:
        await_files(tmp_path, step)
        remove_run(tmp_path)

    at_step(step, act)
    assert train(tiny(), tmp_path, "a", show=False) == "failed"
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert list((tmp_path / "checkpoints").iterdir()) == list((tmp_path / "visuals").iterdir()) == []


def test_a_run_whose_folder_is_renamed_ends_and_says_so_in_its_journal(
    tmp_path: Path, at_step: At, noticed: threading.Event, capfd: pytest.CaptureFixture[str]
) -> None:
    def rename() -> None:
        (tmp_path / "checkpoints" / "a").rename(tmp_path / "checkpoints" / "b")
        assert noticed.wait(20)

    at_step(STEPS_PER_EPOCH + 1, rename)
    assert train(tiny(), tmp_path, "a", show=False) == "failed"
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["b"]
    last = events_of(tmp_path, "b")[-1]
    assert isinstance(last, RunFinished)
    assert "was removed or renamed" in last.error
    assert RunFolder(tmp_path, "b").state() == "failed"


def test_a_removed_visuals_folder_is_made_again_with_the_next_frame(tmp_path: Path, at_step: At) -> None:
    at_step(2 * STEPS_PER_EPOCH, lambda: shutil.rmtree(tmp_path / "visuals", ignore_errors=True))
    assert train(tiny(), tmp_path, "a", show=False) == "completed"
    assert RunFolder(tmp_path, "a").frame_epochs()[-1] == 2
    announced = [event.epoch for event in events_of(tmp_path, "a") if isinstance(event, FrameSaved)]
    assert announced[-1] == 2
