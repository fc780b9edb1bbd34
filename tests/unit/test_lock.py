"""At most one trainer works on a run folder, whatever an earlier one left behind."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import recorded

from facegender.__main__ import run
from facegender.runs.config import TrainConfig
from facegender.runs.events import RunFinished
from facegender.runs.folder import RunFolder, create_run, list_runs
from facegender.runs.lock import LOST_AFTER_S, LockHeld, Process, RunLock
from facegender.support.errors import UserError
from facegender.training import run_setup
from facegender.training.run_setup import set_up_new, set_up_resumed

ELSEWHERE = Process(pid=1, host="another-host.example")


def at_once(count: int, action: Callable[[], object]) -> list[object]:
    """What came of the same action in many threads that begin together."""
    results: list[object] = []
    barrier = threading.Barrier(count)

    def act() -> None:
        barrier.wait()
        try:
            results.append(action())
        except (LockHeld, UserError) as error:
            results.append(error)

    threads = [threading.Thread(target=act) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# The lock


def test_a_lock_is_held_until_it_is_released(folder: RunFolder) -> None:
    other = RunFolder(folder.root, folder.name)
    assert other.lock.is_held_by_other() is None
    folder.lock.acquire()
    assert other.lock.is_held_by_other()
    assert not folder.lock.is_held_by_other()
    with pytest.raises(LockHeld):
        other.lock.acquire()
    other.lock.release()
    assert other.lock.is_held_by_other()
    folder.lock.release()
    folder.lock.release()
    assert other.lock.is_held_by_other() is False
    other.lock.acquire()


def test_the_file_names_the_process_that_held_it_last(folder: RunFolder) -> None:
    folder.lock.path.parent.mkdir(parents=True, exist_ok=True)
    folder.lock.path.write_text("process 1 on a host with a very long name\n" * 3)
    folder.lock.acquire()
    folder.lock.release()
    assert folder.lock.path.read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"


@pytest.mark.parametrize("content", [b"", b"{", b'{"pid": 1, "host": "another-host"}', b"\xff"])
def test_a_lock_is_held_whatever_its_file_contains(folder: RunFolder, content: bytes) -> None:
    folder.lock.acquire()
    folder.lock.path.write_bytes(content)
    with pytest.raises(LockHeld):
        RunLock(folder.lock.path).acquire()


def test_of_many_at_once_one_gets_the_lock(folder: RunFolder) -> None:
    locks = [RunLock(folder.lock.path) for _ in range(8)]
    remaining = iter(locks)
    results = at_once(8, lambda: next(remaining).acquire())
    assert len([result for result in results if result is None]) == 1


def test_whoever_looks_at_a_lock_does_not_keep_others_from_it(folder: RunFolder) -> None:
    folder.lock.path.touch()
    stop = threading.Event()
    looks = []

    def look() -> None:
        while not stop.is_set():
            looks.append(RunLock(folder.lock.path).is_held_by_other())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(50):
            folder.lock.acquire()
            folder.lock.release()
    finally:
        stop.set()
        thread.join()
    assert looks


@pytest.mark.parametrize("change", ["remove", "rename", "replace"])
def test_a_lock_is_lost_when_its_folder_is_removed_renamed_or_replaced(folder: RunFolder, change: str) -> None:
    assert not folder.lock.is_lost()
    folder.lock.acquire()
    assert not folder.lock.is_lost()
    if change == "rename":
        folder.path.rename(folder.path.with_name("other"))
    else:
        shutil.rmtree(folder.path)
    if change == "replace":
        folder.path.mkdir()
        RunLock(folder.lock.path).acquire()
    assert folder.lock.is_lost()
    folder.lock.release()
    assert not folder.lock.is_lost()


def test_a_lock_on_a_disk_that_does_not_answer_is_not_lost(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.lock.acquire()

    def fail(self: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "stat", fail)
    assert not folder.lock.is_lost()


def test_where_the_file_system_has_no_locks_the_journal_tells_of_a_trainer(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    folder = recorded.write_run(root)
    folder.lock.acquire()
    seen = RunFolder(root, folder.name)
    assert seen.lock.is_held_by_other() is None
    assert seen.state() == "training"
    assert seen.state(now=time.time() + LOST_AFTER_S + 5) == "crashed"


def test_a_link_in_the_place_of_the_lock_is_not_written_through(folder: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    folder.lock.path.symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic link"):
        folder.lock.acquire()
    assert (tmp_path / "target").read_text() == "precious"


def test_a_folder_with_nothing_but_a_lock_is_no_run_yet_and_can_be_used_once_the_lock_is_free(root: Path) -> None:
    folder = create_run(root, "otter-3")
    folder.lock.acquire()
    assert list_runs(root) == []
    with pytest.raises(UserError, match="exists already"):
        create_run(root, "otter-3")
    folder.lock.release()
    assert create_run(root, "otter-3").path == folder.path


def test_a_lock_does_not_change_how_an_ended_run_stands_but_keeps_it_from_being_deleted(root: Path) -> None:
    holder = recorded.write_run(root, end="stopped")
    holder.lock.acquire()
    folder = RunFolder(root, "otter-3")
    assert folder.state() == "stopped"
    with pytest.raises(UserError, match="still training"):
        folder.delete()
    holder.lock.release()
    folder.delete()


# Trainers


def test_of_two_new_trainers_of_one_name_one_gets_the_folder(root: Path) -> None:
    for number in range(5):
        results = at_once(4, lambda number=number: set_up_new(TrainConfig(demo=True), root, f"run-{number}"))
        assert len([result for result in results if not isinstance(result, Exception)]) == 1
        assert all(f"run-{number}" in str(result) for result in results if isinstance(result, Exception))
        assert RunFolder(root, f"run-{number}").state() == "starting"


def test_of_two_that_resume_a_run_one_gets_it(root: Path) -> None:
    folder = recorded.write_run(root, end="stopped")
    folder.last_checkpoint.touch()
    results = at_once(4, lambda: set_up_resumed(root, "otter-3", {}))
    assert len([result for result in results if not isinstance(result, Exception)]) == 1
    assert all("stop it first" in str(result) for result in results if isinstance(result, Exception))
    assert folder.state() == "training"


def test_a_trainer_too_many_is_one_line_and_exit_code_2(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_setup, "WAIT_FOR_LOCK_S", 0.0)
    folder = recorded.write_run(root, "otter-3", end="stopped")
    folder.last_checkpoint.touch()
    journal = folder.journal_path.read_bytes()
    folder.lock.acquire()
    new = create_run(root, "heron-7")
    new.lock.acquire()
    for option, name in (("--resume", "otter-3"), ("--run", "heron-7")):
        assert run(["train", "--demo", option, name, "--root", str(root)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert name in line
    assert folder.journal_path.read_bytes() == journal
    assert not new.manifest_path.exists()


def test_a_run_that_has_just_ended_is_resumed_as_soon_as_its_trainer_lets_go(root: Path) -> None:
    folder = recorded.write_run(root, end="stopped")
    folder.last_checkpoint.touch()
    folder.lock.acquire()
    threading.Timer(0.2, folder.lock.release).start()
    setup = set_up_resumed(root, "otter-3", {})
    assert setup.ended is not None
    setup.folder.lock.release()
    setup.folder.lock.release()
    assert not folder.lock.is_held_by_other()


def test_what_is_refused_is_not_locked_afterwards(root: Path) -> None:
    folder = recorded.write_run(root, end="stopped")
    with pytest.raises(UserError, match=r"no last\.ckpt"):
        set_up_resumed(root, "otter-3", {})
    assert not folder.lock.is_held_by_other()


def test_nothing_is_left_of_a_new_run_whose_manifest_cannot_be_written(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: RunFolder, manifest: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RunFolder, "write_manifest", fail)
    with pytest.raises(UserError, match="No space left on device"):
        set_up_new(TrainConfig(demo=True), root, "otter-3")
    assert list(root.iterdir()) == []


def test_a_run_that_was_trained_meanwhile_is_not_begun_a_second_time(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(root: Path, name: str | None) -> RunFolder:
        folder = create_run(root, name)
        recorded.append(folder, RunFinished(time=time.time(), status="completed"))
        return folder

    monkeypatch.setattr(run_setup, "create_run", create)
    with pytest.raises(UserError, match="exists already"):
        set_up_new(TrainConfig(demo=True), root, "otter-3")
    folder = RunFolder(root, "otter-3")
    assert folder.state() == "completed"
    assert not folder.lock.is_held_by_other()


def test_a_live_trainer_on_another_machine_is_named_with_what_to_do(root: Path) -> None:
    recorded.write_run(root, process=ELSEWHERE)
    with pytest.raises(UserError, match=r"on another-host\.example: stop it first .* try again in 60 s"):
        set_up_resumed(root, "otter-3", {})


def test_a_trainer_that_has_ended_but_holds_its_lock_is_named_by_the_manifest(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_setup, "WAIT_FOR_LOCK_S", 0.0)
    folder = recorded.write_run(root, end="stopped")
    folder.lock.acquire()
    with pytest.raises(UserError, match=rf"belongs to another trainer \(process {os.getpid()} on "):
        set_up_resumed(root, "otter-3", {})


def test_the_file_that_an_earlier_version_left_in_the_place_of_a_lock_blocks_nothing(root: Path) -> None:
    folder = recorded.write_run(root, process=recorded.dead_process())
    folder.last_checkpoint.touch()
    claim_file = folder.path / "claim"
    claim_file.write_bytes(msgspec.json.encode(recorded.dead_process()))
    assert set_up_resumed(root, "otter-3", {}).resumed
    assert not claim_file.exists()


# Resuming writes to nothing but the run's own files


def make_link(path: Path) -> None:
    path.symlink_to(path.parents[2] / "target")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [make_link, os.mkfifo], ids=["link", "named pipe"])
@pytest.mark.parametrize("name", ["train.log", "events.jsonl"])
def test_a_link_or_a_pipe_in_the_place_of_a_file_is_refused_in_one_line_and_nothing_is_changed(
    root: Path, capsys: pytest.CaptureFixture[str], name: str, make: Callable[[Path], None]
) -> None:
    folder = recorded.write_run(root, process=recorded.dead_process())
    folder.last_checkpoint.touch()
    manifest = folder.manifest_path.read_bytes()
    (folder.path / name).unlink()
    make(folder.path / name)
    assert run(["train", "--resume", "otter-3", "--root", str(root)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    kind = "symbolic link" if make is make_link else "no regular file"
    assert f"{name} ({name} is " in line
    assert kind in line
    assert line.endswith("move it away")
    assert not (root / "target").exists()
    assert folder.manifest_path.read_bytes() == manifest


def test_visuals_that_are_a_link_are_refused_in_one_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = recorded.write_run(root, end="stopped")
    folder.last_checkpoint.touch()
    folder.visuals.rename(root / "elsewhere")
    folder.visuals.symlink_to(root / "elsewhere")
    assert run(["train", "--resume", "otter-3", "--root", str(root)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "visuals/otter-3 is a symbolic link" in line
    assert folder.state() == "stopped"


def test_a_run_of_a_newer_version_is_not_resumed(root: Path) -> None:
    folder = recorded.write_run(root, end="stopped", version=2)
    folder.last_checkpoint.touch()
    with pytest.raises(UserError, match="update facegender-tui"):
        set_up_resumed(root, "otter-3", {})
