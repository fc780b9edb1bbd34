"""What is no regular file is refused at once, wherever a run folder is read."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import recorded

from facegender.runs.folder import RunFolder, list_runs
from facegender.runs.frames import FrameUnreadable, open_frame
from facegender.runs.photographs import read_photographs
from facegender.runs.summary import summarise
from facegender.support.files import MAX_BYTES, NotRegular, open_regular, read_regular, replacing
from tui.host.processes import Trainers
from tui.run.state import RunState

pytestmark = pytest.mark.timeout(20)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_folder(path: Path) -> None:
    path.mkdir()


def make_link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_socket(path: Path) -> None:
    # Its path may be longer than a socket's name can be.
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


Maker = Callable[[Path], None]
KINDS = pytest.mark.parametrize("make", [make_pipe, make_folder, make_link_to_device, make_socket])


@KINDS
def test_what_is_no_regular_file_is_not_opened(tmp_path: Path, make: Maker) -> None:
    path = tmp_path / "file"
    make(path)
    with pytest.raises(OSError, match="file"):
        open_regular(path)
    with pytest.raises(OSError, match="file"):
        open_regular(path, append=True)


def test_a_refused_file_stays_open_nowhere(tmp_path: Path) -> None:
    make_pipe(tmp_path / "pipe")
    with (tmp_path / "before").open("wb") as before:
        free = before.fileno()
    with pytest.raises(NotRegular):
        open_regular(tmp_path / "pipe")
    with (tmp_path / "after").open("wb") as after:
        assert after.fileno() == free


def test_a_regular_file_is_appended_to_and_read_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for text in (b"one ", b"two"):
        with open_regular(tmp_path / "file", append=True) as file:
            assert os.get_blocking(file.fileno())
            file.write(text)
    assert read_regular(tmp_path / "link") == b"one two"


def test_a_file_too_large_for_memory_is_not_read_as_a_whole(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "a")
    folder.path.mkdir(parents=True)
    for path in (folder.photographs_path, folder.manifest_path):
        path.touch()
        os.truncate(path, MAX_BYTES + 1)
        with pytest.raises(OSError, match="File too large"):
            read_regular(path)
    assert (read_photographs(folder), folder.read_manifest()) == (None, None)


def test_nothing_is_appended_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(NotRegular, match="link is a symbolic link"):
        open_regular(tmp_path / "link", append=True)
    assert (tmp_path / "file").read_text() == "precious"


@KINDS
@pytest.mark.parametrize("name", ["run.json", "events.jsonl", "train.log", "lock"])
def test_a_run_folder_with_something_else_in_the_place_of_a_file_is_looked_at_without_waiting(
    root: Path, make: Maker, name: str
) -> None:
    folder = recorded.write_run(root, process=recorded.dead_process())
    path = folder.path / name
    path.unlink(missing_ok=True)
    make(path)
    assert [run.name for run in list_runs(root)] == [folder.name]
    # Without a manifest there is no process to ask about, and the log is fresh.
    state = "starting" if name == "run.json" else "crashed"
    assert folder.state() == state
    folder.lock.is_held_by_other()
    folder.log_tail()
    assert summarise(folder).state == state


@KINDS
def test_the_interface_follows_such_a_run_without_waiting(root: Path, make: Maker) -> None:
    from tui.run.follow import inspect_folder

    folder = RunFolder(root, "otter-3")
    folder.path.mkdir(parents=True)
    for path in (folder.manifest_path, folder.journal_path, folder.log_path):
        make(path)
    state = inspect_folder(RunState(folder.name), folder)
    assert state.exists
    assert state.log_tail == ()


@KINDS
def test_a_frame_that_is_no_regular_file_is_unreadable(tmp_path: Path, make: Maker) -> None:
    make(tmp_path / "epoch_0.safetensors")
    with pytest.raises(FrameUnreadable, match="no regular file"), open_frame(tmp_path / "epoch_0.safetensors"):
        pass


@KINDS
def test_a_trainer_is_not_started_into_such_a_log(root: Path, make: Maker) -> None:
    from facegender.support.errors import UserError

    folder = recorded.write_run(root, end="stopped")
    folder.last_checkpoint.touch()
    folder.log_path.unlink()
    make(folder.log_path)
    with pytest.raises(UserError, match="cannot start the trainer"):
        Trainers().resume(folder)


# Replacing a file


def test_replacing_leaves_the_old_file_and_no_temporary_after_an_exception(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("old")

    def interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of the new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [found.name for found in tmp_path.iterdir()] == ["run.json"]
    assert path.read_text() == "old"


def test_replacing_shows_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == path.parent
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [found.name for found in tmp_path.iterdir()] == ["run.json"]


def test_two_threads_can_replace_the_same_file_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    both_are_writing = threading.Barrier(2, timeout=10)
    errors = []

    def write(text: str) -> None:
        try:
            with replacing(path) as temporary:
                temporary.write_text(text)
                both_are_writing.wait()
                assert temporary.read_text() == text
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(text,)) for text in ("one", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert path.read_text() in ("one", "other")
    assert [found.name for found in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize("durable", [True, False])
def test_a_durable_replacement_flushes_the_file_before_and_the_folder_after_it_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    path = tmp_path / "last.ckpt"
    path.write_text("old")
    flushed = []

    def fsync(descriptor: int, flush: Callable[[int], None] = os.fsync) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        flushed.append((kind, path.read_text()))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with replacing(path, durable=durable) as temporary:
        temporary.write_text("new")
    assert flushed == ([("file", "old"), ("folder", "new")] if durable else [])
