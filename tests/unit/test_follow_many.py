"""The thread that follows several runs: reduced curves instead of steps, whatever happens to the journals."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recorded

from facegender.runs.events import RunFinished
from facegender.runs.folder import RunFolder
from tui.run import follow, follow_many
from tui.run.curves import StepCurves
from tui.run.follow_many import ReducedRun, RunsFollower
from tui.run.series import StepColumns
from tui.run.state import RunState, apply_all


class Followed:
    """What was posted about several runs."""

    def __init__(self, *folders: RunFolder) -> None:
        self.posted: queue.Queue[Any] = queue.Queue()
        self.follower = RunsFollower(folders, self.posted.put)

    def until(self, wanted: Callable[[tuple[ReducedRun, ...]], Any], timeout_s: float = 10.0) -> tuple[ReducedRun, ...]:
        """The first runs, read to their ends, of which something holds."""
        end = time.monotonic() + timeout_s
        while True:
            message = self.posted.get(timeout=max(0.01, end - time.monotonic()))
            if message.complete and wanted(message.runs):
                runs: tuple[ReducedRun, ...] = message.runs
                return runs


@pytest.fixture
def following(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Followed]]:
    """Follows runs until the test is over."""
    monkeypatch.setattr(follow_many, "POLL_S", 0.01)
    monkeypatch.setattr(follow, "INSPECT_ENDED_EVERY", 1)
    all_followed: list[Followed] = []

    def start(*folders: RunFolder) -> Followed:
        all_followed.append(Followed(*folders))
        return all_followed[-1]

    yield start
    for followed in all_followed:
        followed.follower.stop()


def train_loss(run: ReducedRun) -> np.ndarray:
    """The points of the training loss, not smoothed."""
    return run.curves.curves(run.state, "steps", 0.0).loss[0].y


def test_the_curves_are_those_of_all_steps_and_no_step_is_kept(root: Path, following: Callable[..., Followed]) -> None:
    long = recorded.write_run(root, "long", epochs_done=0)
    recorded.append(long, *[recorded.steps(0, step=[n], batch=[1], seconds=[n], loss=[1 / n], accuracy=[0.5])
                            for n in map(float, range(1, 9001))])  # fmt: skip
    short = recorded.write_run(root, "short", end="completed")
    runs = following(long, short).until(lambda runs: True)
    assert [run.state.name for run in runs] == ["long", "short"]
    assert [len(run.state.steps) for run in runs] == [0, 0]
    assert runs[1].manifest.run == "short"
    for run in runs:
        state = apply_all(RunState(run.folder.name), recorded.read_all(run.folder.journal_path))
        whole = StepCurves()
        whole.update(state.steps)
        for axis in ("epochs", "steps", "minutes"):
            wanted, got = (curves.curves(state, axis, 0.0).loss[0] for curves in (whole, run.curves))
            np.testing.assert_array_equal(got.x, wanted.x)
            np.testing.assert_array_equal(got.y, wanted.y)


def test_a_live_run_grows(root: Path, following: Callable[..., Followed]) -> None:
    folder = recorded.write_run(root, epochs_done=1)
    followed = following(folder)
    followed.until(lambda runs: len(runs[0].state.epochs) == 1)
    recorded.add_epoch(folder, 1)
    (run,) = followed.until(lambda runs: len(runs[0].state.epochs) == 2)
    assert len(train_loss(run)) == 2 * recorded.STEPS_PER_EPOCH
    recorded.append(folder, RunFinished(time=time.time(), status="stopped"))
    followed.until(lambda runs: runs[0].state.state == "stopped")


def test_steps_that_a_resumed_run_trains_again_replace_the_old_ones(
    root: Path, following: Callable[..., Followed]
) -> None:
    folder = recorded.write_run(root, epochs_done=3)
    followed = following(folder)
    followed.until(lambda runs: len(runs[0].state.epochs) == 3)
    again = recorded.steps(1, loss=[7.0] * recorded.STEPS_PER_EPOCH)
    recorded.append(folder, recorded.run_started(start_epoch=1, start_step=5, resumed=True), again)
    (run,) = followed.until(lambda runs: len(runs[0].state.epochs) == 1)
    assert train_loss(run)[recorded.STEPS_PER_EPOCH :].tolist() == [7.0] * recorded.STEPS_PER_EPOCH


def test_a_journal_that_was_replaced_is_read_anew(root: Path, following: Callable[..., Followed]) -> None:
    folder = recorded.write_run(root, epochs_done=3)
    followed = following(folder)
    followed.until(lambda runs: len(runs[0].state.epochs) == 3)
    folder.journal_path.unlink()
    recorded.append(folder, recorded.run_started(), recorded.steps(0))
    (run,) = followed.until(lambda runs: not runs[0].state.epochs)
    assert len(train_loss(run)) == recorded.STEPS_PER_EPOCH


def test_a_run_whose_folder_is_gone_says_so(root: Path, following: Callable[..., Followed]) -> None:
    folder = recorded.write_run(root, end="completed")
    followed = following(folder)
    followed.until(lambda runs: runs[0].state.exists)
    folder.delete()
    followed.until(lambda runs: not runs[0].state.exists)


def some_steps(first: int, last: int) -> StepColumns:
    """Steps with these numbers."""
    count = last - first + 1
    event = recorded.steps(
        0, step=list(range(first, last + 1)), batch=[1] * count, seconds=[0.0] * count, loss=[1.0] * count,
        accuracy=[1.0] * count,
    )  # fmt: skip
    return StepColumns().extended(event)


@pytest.mark.parametrize("length", [1, 5000, 20_000])
@pytest.mark.parametrize("kept", [0, 1, 4097, 9000, 30_000])
def test_curves_are_cut_to_within_a_bucket_of_where_a_run_resumes(length: int, kept: int) -> None:
    def x(curves: StepCurves) -> list[float]:
        points: list[float] = curves.curves(RunState("otter"), "steps", 0.0).loss[0].x.tolist()
        return points

    curves = StepCurves()
    curves.extend(some_steps(1, length))
    snapshot, before = curves.snapshot(), x(curves)
    curves.truncate(kept)
    end = min(length, kept)
    assert end - 8 < (x(curves)[-1] if kept else 0) <= end
    curves.extend(some_steps(end + 1, end + 100))
    assert x(curves) == sorted(x(curves))
    assert end + 92 < x(curves)[-1] <= end + 100
    assert x(snapshot) == before


@pytest.mark.parametrize("broken", [False, True], ids=["by processes", "when no process can start"])
def test_long_journals_are_read_to_their_ends(
    root: Path, following: Callable[..., Followed], monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    monkeypatch.setattr(follow_many, "PROCESSES_FROM_BYTES", 0)
    asked: list[int] = []

    def pool(count: int, *arguments: Any) -> ProcessPoolExecutor:
        asked.append(count)
        if broken:
            raise BlockingIOError("Resource temporarily unavailable")
        return ProcessPoolExecutor(count, *arguments)

    monkeypatch.setattr(follow_many, "ProcessPoolExecutor", pool)
    folders = [recorded.write_run(root, f"run-{number}", epochs_done=2) for number in range(3)]
    followed = following(*folders)
    runs = followed.until(lambda runs: True, timeout_s=60.0)
    assert len(asked) == 1
    assert [len(train_loss(run)) for run in runs] == [2 * recorded.STEPS_PER_EPOCH] * 3
    recorded.add_epoch(folders[1], 2)  # from here on the thread reads
    followed.until(lambda runs: len(train_loss(runs[1])) == 3 * recorded.STEPS_PER_EPOCH)
