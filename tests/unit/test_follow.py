"""The thread that follows a run: whole states, as few as needed, whatever happens to the folder."""

from __future__ import annotations

import os
import queue
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import recorded

from facegender.runs.events import RunFinished
from facegender.runs.folder import RunFolder
from tui.run import follow
from tui.run.curves import SMOOTHING, Smoother, StepCurves
from tui.run.follow import Follower, FollowFailed, RunUpdated
from tui.run.state import RunState, apply_all


class Followed:
    """What was posted about a run."""

    def __init__(self, folder: RunFolder, smoothing: float | None = 0.0) -> None:
        self.posted: queue.Queue[Any] = queue.Queue()
        self.follower = Follower(folder, self.posted.put, smoothing)

    def until(self, wanted: Any, timeout_s: float = 10.0) -> RunUpdated:
        """The first message of which something holds."""
        end = time.monotonic() + timeout_s
        while True:
            message = self.posted.get(timeout=max(0.01, end - time.monotonic()))
            if wanted(message):
                return message


def drawn(curves: StepCurves | None, state: RunState, weight: float = 0.8) -> list[float]:
    """The training loss as it is drawn."""
    assert curves is not None
    return curves.curves(state, "steps", weight).loss[0].y.tolist()


@pytest.fixture
def run(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[RunFolder, Followed]]:
    monkeypatch.setattr(follow, "POLL_S", 0.01)
    folder = recorded.write_run(root)
    followed = Followed(folder)
    yield folder, followed
    followed.follower.stop()


def test_the_state_is_what_the_events_say(run: tuple[RunFolder, Followed]) -> None:
    folder, followed = run
    state = followed.until(lambda message: len(message.state.epochs) == 3).state
    assert (state.process_state, state.frames) == ("training", (0, 1, 2))
    recorded.append(folder, RunFinished(time=time.time(), status="stopped"))
    assert followed.until(lambda message: message.state.state == "stopped").state.exists


def test_a_long_journal_gives_few_states(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=0)
    recorded.append(folder, *[recorded.steps(0)] * 20_000)
    followed = Followed(folder)
    began = time.monotonic()
    followed.until(lambda message: len(message.state.steps) == 100_000)
    followed.follower.stop()
    assert followed.posted.qsize() <= 1
    seconds = time.monotonic() - began
    assert seconds < 10


def test_the_curves_are_those_of_all_steps_and_never_change(run: tuple[RunFolder, Followed]) -> None:
    folder, followed = run
    first = followed.until(lambda message: len(message.state.epochs) == 3)
    before = drawn(first.curves, first.state)
    recorded.append(folder, *recorded.epoch_events(3))
    second = followed.until(lambda message: len(message.state.epochs) == 4)
    for weight in SMOOTHING:
        whole = StepCurves()
        whole.extend(second.state.steps)
        assert drawn(second.curves, second.state, weight) == pytest.approx(drawn(whole, second.state, weight))
    assert drawn(first.curves, first.state) == before


def test_steps_are_smoothed_anew_by_another_weight(run: tuple[RunFolder, Followed]) -> None:
    _, followed = run
    followed.until(lambda message: len(message.state.epochs) == 3)
    followed.follower.smoothing = 0.5
    message = followed.until(lambda message: 0.5 in message.curves.weights)
    assert drawn(message.curves, message.state, 0.5) == Smoother(0.5)(message.state.steps.loss).tolist()


def test_curves_are_made_only_for_who_asks_for_them(root: Path) -> None:
    followed = Followed(recorded.write_run(root), smoothing=None)
    assert followed.until(lambda message: len(message.state.epochs) == 3).curves is None
    followed.follower.stop()


def test_a_run_without_steps_has_no_curves(root: Path) -> None:
    followed = Followed(recorded.write_run(root, epochs_done=0))
    assert followed.until(lambda message: message.state.read).curves is None
    followed.follower.stop()


def test_states_are_posted_no_oftener_than_they_can_be_seen(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "BATCH_BYTES", 4000)
    monkeypatch.setattr(follow, "POST_EVERY_S", 3600.0)
    folder = recorded.write_run(root, epochs_done=0)
    recorded.append(folder, *[recorded.steps(0)] * 2000)
    followed, seen = Followed(folder), []
    followed.until(lambda message: seen.append(message) or len(message.state.steps) == 10_000)
    followed.follower.stop()
    assert len(seen) <= 2


def test_a_truncated_and_a_replaced_journal_begin_a_new_state(run: tuple[RunFolder, Followed]) -> None:
    folder, followed = run
    followed.until(lambda message: len(message.state.epochs) == 3)
    folder.journal_path.write_bytes(b"")
    followed.until(lambda message: message.state.epochs == ())
    recorded.append(folder, recorded.run_started(), *recorded.epoch_events(0))
    followed.until(lambda message: len(message.state.epochs) == 1)
    folder.journal_path.unlink()
    recorded.append(folder, recorded.run_started(), *recorded.epoch_events(0), *recorded.epoch_events(1))
    state = followed.until(lambda message: len(message.state.epochs) == 2).state
    assert len(state.steps) == 2 * recorded.STEPS_PER_EPOCH


def test_a_removed_folder_is_reported_once(run: tuple[RunFolder, Followed]) -> None:
    folder, followed = run
    followed.until(lambda message: len(message.state.epochs) == 3)
    shutil.rmtree(folder.path)
    followed.until(lambda message: not message.state.exists)
    time.sleep(0.2)
    assert followed.posted.qsize() == 0


def test_a_file_in_place_of_the_folder_counts_as_removed(run: tuple[RunFolder, Followed]) -> None:
    folder, followed = run
    followed.until(lambda message: len(message.state.epochs) == 3)
    shutil.rmtree(folder.path)
    folder.path.write_text("no folder")
    followed.until(lambda message: not message.state.exists)


def test_an_unreadable_folder_changes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = recorded.write_run(root)
    known = follow.inspect_folder(RunState(folder.name), folder)
    assert (known.process_state, known.exists) == ("training", True)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tui.run.follow.os.scandir", refuse)
    assert follow.inspect_folder(known, folder) is known


def test_pictures_written_again_have_a_later_time(run: tuple[RunFolder, Followed]) -> None:
    folder, followed = run
    first = followed.until(lambda message: message.state.frames == (0, 1, 2)).state.frame_times[1]
    recorded.append(folder, recorded.frame_saved(1, time=first + 100))
    followed.until(lambda message: message.state.frame_times[1] == first + 100)


def test_an_error_in_the_thread_is_reported_and_ends_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr(follow, "apply_all", broken)
    followed = Followed(recorded.write_run(root))
    message = followed.until(lambda message: isinstance(message, FollowFailed))
    assert message.why == "ZeroDivisionError: division by zero"
    assert not any(thread.name == "follow" and thread.is_alive() for thread in threading.enumerate())


def test_steps_folded_at_once_give_the_same_as_one_by_one() -> None:
    from tui.run.state import apply

    events = [
        recorded.run_started(),
        *recorded.epoch_events(0),
        recorded.steps(1, 2),
        recorded.steps(1, 0),
        *recorded.epoch_events(1),
    ]
    one_by_one = RunState("otter-3")
    for event in events:
        one_by_one = apply(one_by_one, event)
    together = apply_all(RunState("otter-3"), events)
    assert together.steps.loss.tolist() == one_by_one.steps.loss.tolist()
    assert (together.batch, together.images_per_second, together.trained_until) == (
        one_by_one.batch, one_by_one.images_per_second, one_by_one.trained_until
    )  # fmt: skip


def test_a_trainer_that_writes_nothing_for_a_minute_gives_no_sign_of_life(root: Path) -> None:
    folder = recorded.write_run(root)
    state = follow.inspect_folder(RunState(folder.name), folder)
    assert (state.process_state, state.silent) == ("training", False)
    written = folder.journal_path.stat().st_mtime
    os.utime(folder.journal_path, (written - 90, written - 90))
    assert follow.inspect_folder(state, folder).silent
    os.utime(folder.journal_path, (written - 20, written - 20))
    assert not follow.inspect_folder(state, folder).silent
    ended = recorded.write_run(root, "otter-4", end="completed")
    os.utime(ended.journal_path, (1, 1))
    assert not follow.inspect_folder(RunState(ended.name), ended).silent
