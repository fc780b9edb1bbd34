"""The journal's thread on a disk that fails: every line once and in order, and nobody left in the dark."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import recorded
from recorded import read_all

from facegender.runs import journal as journal_module
from facegender.runs.events import AnyEvent, Notice, RunFinished, Steps
from facegender.runs.folder import RunFolder
from facegender.runs.journal import JournalWriter
from facegender.training.stop import StopSwitch
from facegender.training.threads import journal as writer
from facegender.training.threads.journal import JournalThread

Capture = pytest.CaptureFixture[str]


class Disk:
    """Takes ``room`` bytes; then is full until ``room`` is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = 10**9
        self.refusals = 0
        self._write = os.write
        monkeypatch.setattr(journal_module.os, "write", self.write)

    def write(self, descriptor: int, data: bytes) -> int:
        if not self.room:
            self.refusals += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(descriptor, data[: self.room])
        self.room -= written
        return written


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    monkeypatch.setattr(writer, "RETRY_EVERY_S", 0.01)
    monkeypatch.setattr(writer, "POLL_EVERY_S", 0.02)
    monkeypatch.setattr(writer, "SYSTEM_EVERY_S", 3600.0)
    return Disk(monkeypatch)


@pytest.fixture
def journal(folder: RunFolder) -> Iterator[JournalThread]:
    folder.write_manifest(recorded.manifest(folder))
    thread = JournalThread(folder, StopSwitch())
    yield thread
    thread.close()


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def telling(folder: RunFolder) -> list[AnyEvent]:
    """The journal without what the thread adds of its own."""
    return [event for event in read_all(folder.journal_path) if event.time < 10_000]


@pytest.mark.parametrize("lines", [0.5, 1.0, 2.3])
def test_after_a_failure_in_the_middle_each_line_is_there_once_and_in_order(
    folder: RunFolder, disk: Disk, journal: JournalThread, capfd: Capture, lines: float
) -> None:
    events = [recorded.steps(epoch) for epoch in range(4)]
    disk.room = int(lines * len(journal_module.encode(events[0])))
    for event in events:
        journal.put(event)
    journal.start()
    wait_for(lambda: disk.refusals > 2)
    disk.room = 10**9
    journal.close()
    steps = [step for event in telling(folder) if isinstance(event, Steps) for step in event.step]
    assert steps == list(range(1, 4 * recorded.STEPS_PER_EPOCH + 1))
    (notice,) = [event.text for event in read_all(folder.journal_path) if isinstance(event, Notice)]
    assert notice.startswith("the journal could not be written for")
    assert "lost" not in notice
    (line,) = capfd.readouterr().err.splitlines()
    assert "No space left on device" in line


def test_what_is_lost_in_a_long_failure_is_later_steps_and_is_counted(
    folder: RunFolder, disk: Disk, journal: JournalThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_UNWRITTEN", 4)
    disk.room = 0
    events = [recorded.run_started()]
    for epoch in range(3):
        events += [recorded.epoch_started(epoch), recorded.steps(epoch)]
    for event in events:
        journal.put(event)
    journal.start()
    # Each is tried once at most before the next one is taken.
    wait_for(lambda: disk.refusals > len(events))
    disk.room = 10**9
    journal.close()
    kinds = [type(event).__name__ for event in telling(folder)]
    assert kinds == ["RunStarted", "EpochStarted", "Steps", "EpochStarted", "EpochStarted"]
    (notice,) = [event for event in read_all(folder.journal_path) if isinstance(event, Notice)]
    assert notice.text.endswith("; 2 lines lost")


def test_how_a_run_ended_is_tried_again_and_told_on_stderr_if_it_cannot_be_written(
    folder: RunFolder, disk: Disk, journal: JournalThread, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    monkeypatch.setattr(writer, "LAST_RETRIES_S", 0.1)
    disk.room = 0
    journal.start()
    journal.put(RunFinished(time=1.0, status="completed"))
    journal.close()
    first, last = capfd.readouterr().err.splitlines()
    assert "cannot be written" in first
    assert last.startswith("facegender: run otter-3: 1 line of the journal could not be written; the run is completed")
    assert disk.refusals > 2


def test_a_disk_that_recovers_in_time_gets_the_last_line(folder: RunFolder, disk: Disk, journal: JournalThread) -> None:
    disk.room = 0
    journal.start()
    journal.put(RunFinished(time=1.0, status="completed"))
    wait_for(lambda: disk.refusals > 3)
    disk.room = 10**9
    journal.close()
    assert folder.state() == "completed"


def test_a_failing_journal_still_shows_a_sign_of_life(folder: RunFolder, disk: Disk, journal: JournalThread) -> None:
    folder.lock.acquire()
    os.utime(folder.lock.path, (0, 0))
    disk.room = 0
    journal.start()
    journal.put(recorded.run_started())
    wait_for(lambda: folder.lock.path.stat().st_mtime > 1)
    disk.room = 10**9


def test_a_machine_that_cannot_be_watched_still_has_a_journal(
    folder: RunFolder, journal: JournalThread, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    def refuse(gpus: object) -> None:
        raise RuntimeError("no /proc here")

    monkeypatch.setattr(writer, "sample_system", refuse)
    journal.start()
    journal.put(recorded.run_started())
    journal.close()
    assert [type(event).__name__ for event in read_all(folder.journal_path)] == ["RunStarted"]
    (line,) = capfd.readouterr().err.splitlines()
    assert "no /proc here" in line


def test_opening_a_journal_again_and_again_on_a_full_disk_keeps_no_file_open(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"torn')
    disk.room = 0
    before = psutil.Process().num_fds()
    for _ in range(5):
        with pytest.raises(OSError, match="No space"):
            JournalWriter(path)
    assert psutil.Process().num_fds() == before


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (
            lambda folder: folder.journal_path.unlink(),
            "events.jsonl was removed or replaced while the run was training",
        ),
        (lambda folder: folder.manifest_path.unlink(), "run.json was removed while the run was training"),
        (
            lambda folder: folder.log_path.replace(folder.journal_path),
            "events.jsonl was removed or replaced while the run was training",
        ),
    ],
    ids=["journal removed", "manifest removed", "journal replaced"],
)
def test_a_run_whose_journal_or_manifest_is_taken_away_fails_and_nothing_is_written_in_its_place(
    folder: RunFolder, disk: Disk, damage: Callable[[RunFolder], None], error: str
) -> None:
    folder.write_manifest(recorded.manifest(folder))
    folder.log_path.write_text("another journal")
    stop = StopSwitch()
    stop.preparing = False
    journal = JournalThread(folder, stop)
    journal.start()
    journal.put(recorded.steps(0))
    wait_for(lambda: telling(folder))
    damage(folder)
    left = {path.name: path.read_bytes() for path in folder.path.iterdir() if path != folder.journal_path}
    wait_for(lambda: stop.requested)
    journal.put(recorded.steps(1))
    journal.close()
    assert stop.error == error
    assert {path.name: path.read_bytes() for path in folder.path.iterdir() if path.name in left} == left
    if "events" in error and folder.journal_path.exists():
        assert folder.journal_path.read_text() == "another journal"
