"""Run folders: making, listing, judging, stopping and deleting them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import recorded

from facegender.runs.events import Heartbeat, Notice, RunFinished
from facegender.runs.folder import (
    INITIAL,
    MAX_NOTE,
    Manifest,
    RunFolder,
    create_run,
    list_runs,
    open_run,
)
from facegender.runs.lock import LOST_AFTER_S, Process
from facegender.support.errors import UserError

ELSEWHERE = Process(pid=1, host="another-host.example")


# Making and finding


def test_a_run_without_a_name_gets_one_that_is_free(root: Path) -> None:
    made = [create_run(root) for _ in range(20)]
    assert len({folder.name for folder in made}) == 20
    for folder in made:
        assert folder.path.is_dir()
        assert folder.visuals.is_dir()


def test_a_name_that_is_taken_is_refused_with_a_remedy(root: Path) -> None:
    recorded.write_run(root, "otter-3")
    with pytest.raises(
        UserError,
        match="otter-3 exists already: choose another --run, or resume it with: facegender train --resume=otter-3",
    ):
        create_run(root, "otter-3")


def test_a_folder_that_holds_only_the_trainers_output_is_taken_over(root: Path) -> None:
    folder = create_run(root, "otter-3")
    folder.log_path.write_text("importing torch\n")
    assert create_run(root, "otter-3").path == folder.path
    folder.stop_path.touch()
    assert create_run(root, "otter-3").path == folder.path
    folder.write_manifest(recorded.manifest(folder))
    with pytest.raises(UserError, match="exists already"):
        create_run(root, "otter-3")


def test_a_file_in_the_place_of_the_folder_is_refused(root: Path) -> None:
    (root / "checkpoints").mkdir()
    (root / "checkpoints" / "otter-3").write_text("not a folder")
    with pytest.raises(UserError, match="exists already"):
        create_run(root, "otter-3")


def test_a_root_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"cannot write below .* choose another --root"):
        create_run(tmp_path, "otter-3")


@pytest.mark.parametrize("name", ["../x", "..", "a/b", "/tmp/x", "", "a\x1b[2J"])
def test_a_run_name_cannot_lead_out_of_the_root(root: Path, name: str) -> None:
    with pytest.raises(UserError, match="run name"):
        RunFolder(root, name)
    if name:
        with pytest.raises(UserError, match="run name"):
            create_run(root, name)
    assert not list(root.iterdir())


def test_making_the_object_touches_nothing(root: Path) -> None:
    RunFolder(root, "otter-3")
    assert not list(root.iterdir())


def test_runs_are_listed_newest_first(root: Path) -> None:
    for name, created in (("middle", 200.0), ("newest", 300.0), ("oldest", 100.0)):
        recorded.write_run(root, name, epochs_done=0, created=created)
    assert [run.name for run in list_runs(root)] == ["newest", "middle", "oldest"]


def test_what_is_no_run_is_not_listed(root: Path) -> None:
    recorded.write_run(root, "otter-3", epochs_done=0)
    (root / "checkpoints" / "empty").mkdir()
    (root / "checkpoints" / ".hidden").mkdir()
    (root / "checkpoints" / ".gitkeep").touch()
    (root / "checkpoints" / "with space").mkdir()
    (root / "checkpoints" / "with space" / "run.json").write_text("{}")
    assert [run.name for run in list_runs(root)] == ["otter-3"]


def test_a_root_without_runs_lists_none(root: Path) -> None:
    assert list_runs(root) == []
    assert list_runs(root / "nowhere") == []


@pytest.mark.parametrize("file", ["run.json", "events.jsonl", "train.log"])
def test_a_run_counts_from_its_first_file_on_even_a_damaged_one(root: Path, file: str) -> None:
    folder = create_run(root, "otter-3")
    (folder.path / file).write_bytes(b"\x00garbage")
    assert [run.name for run in list_runs(root)] == ["otter-3"]
    assert open_run(root, "otter-3").name == "otter-3"
    assert folder.read_manifest() is None


def test_opening_an_unknown_run_names_those_that_exist(root: Path) -> None:
    with pytest.raises(UserError, match="there are no runs yet; start one with: facegender train --demo --root="):
        open_run(root, "otter-3")
    recorded.write_run(root, "heron-7", epochs_done=0)
    with pytest.raises(UserError, match=r"no run otter-3 in .*: known runs: heron-7"):
        open_run(root, "otter-3")


# The manifest


def test_the_manifest_comes_back_as_it_was_written(folder: RunFolder) -> None:
    written = recorded.manifest(folder)
    folder.write_manifest(written)
    assert folder.read_manifest() == written
    assert [path.name for path in folder.path.iterdir()] == ["run.json"]


def test_the_manifest_is_on_the_disk_before_it_replaces_the_old_one(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = recorded.manifest(folder)
    folder.write_manifest(written)
    flushed: list[Manifest | None] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(folder.read_manifest()))
    newer = msgspec.structs.replace(written, data_digest="new")
    folder.write_manifest(newer)
    assert flushed == [written, newer]  # the file before, and the folder after it is renamed


def test_a_manifest_that_cannot_be_read_is_none(folder: RunFolder) -> None:
    assert folder.read_manifest() is None
    for content in (b"", b"{", b'{"run": 3}', b"\xff\xfe"):
        folder.manifest_path.write_bytes(content)
        assert folder.read_manifest() is None


def test_a_manifest_with_a_field_nested_too_deep_to_decode_is_none_and_hides_no_other_run(folder: RunFolder) -> None:
    recorded.write_run(folder.root, "heron-7")
    folder.write_manifest(recorded.manifest(folder))
    whole = folder.manifest_path.read_bytes().rstrip()
    folder.manifest_path.write_bytes(whole[:-1] + b', "unknown": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    assert folder.read_manifest() is None
    assert {run.name for run in list_runs(folder.root)} == {folder.name, "heron-7"}


@pytest.fixture
def newer(folder: RunFolder) -> dict[str, Any]:
    """The manifest of a version that knows more fields."""
    folder.write_manifest(recorded.manifest(folder))
    plain = json.loads(folder.manifest_path.read_bytes())
    plain["mixed"] = {"with": ["this"]}
    plain["config"]["mixup"] = 0.2
    folder.manifest_path.write_text(json.dumps(plain))
    return plain


def test_fields_of_a_manifest_that_this_version_does_not_know_are_skipped_and_kept(
    folder: RunFolder, newer: dict[str, Any]
) -> None:
    manifest = folder.read_manifest()
    assert manifest is not None
    assert manifest.config.epochs == 5
    assert open_run(folder.root, folder.name).name == folder.name
    folder.write_manifest(msgspec.structs.replace(manifest, data="/elsewhere"))
    assert json.loads(folder.manifest_path.read_bytes()) == {**newer, "data": "/elsewhere"}


def test_a_manifest_of_a_newer_version_is_refused_with_what_to_do(folder: RunFolder, newer: dict[str, Any]) -> None:
    folder.manifest_path.write_text(json.dumps({**newer, "version": 2}))
    with pytest.raises(UserError, match=r"newer version .* update facegender-tui"):
        open_run(folder.root, folder.name)
    assert folder.read_manifest() is None, "what it means is not known"


# Permissions


def modes(folder: RunFolder) -> dict[str, int]:
    """The permissions of a run's folders and of all files in them."""
    paths = [folder.path, folder.visuals, *folder.path.iterdir(), *folder.visuals.iterdir()]
    return {path.name: path.stat().st_mode & 0o777 for path in paths}


def write_files(folder: RunFolder) -> None:
    folder.write_manifest(recorded.manifest(folder))
    folder.request_stop()
    folder.lock.acquire()
    folder.lock.release()
    recorded.add_epoch(folder, 0)


@pytest.fixture
def _umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_umask")
def test_a_run_is_for_the_user_alone(tmp_path: Path) -> None:
    folder = create_run(tmp_path / "root", "a")
    write_files(folder)
    assert {folder.path.stat().st_mode & 0o777, folder.visuals.stat().st_mode & 0o777} == {0o700}
    files = {name: mode for name, mode in modes(folder).items() if name != "a"}
    assert files == dict.fromkeys(("run.json", "stop", "lock", "events.jsonl", "epoch_0.safetensors"), 0o600)


@pytest.mark.usefixtures("_umask")
def test_a_run_below_a_folder_that_a_group_shares_is_shared(tmp_path: Path) -> None:
    for name in ("checkpoints", "visuals"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o2775)
    folder = create_run(tmp_path, "a")
    write_files(folder)
    assert folder.path.stat().st_mode & 0o777 == 0o755
    assert {mode for name, mode in modes(folder).items() if name != "a"} == {0o644}


# Links and pipes in the place of files


def test_stopping_a_run_writes_through_no_link(folder: RunFolder, tmp_path: Path) -> None:
    folder.stop_path.symlink_to(tmp_path / "target")
    with pytest.raises(UserError, match="symbolic link"):
        folder.request_stop()
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("which", ["path", "visuals"])
def test_a_run_with_a_link_in_the_place_of_a_folder_is_not_deleted_by_half(root: Path, which: str) -> None:
    folder = recorded.write_run(root, end="completed")
    linked: Path = getattr(folder, which)
    linked.rename(root / "elsewhere")
    linked.symlink_to(root / "elsewhere")
    with pytest.raises(UserError, match="is a symbolic link: remove the link first"):
        folder.delete()
    assert folder.manifest_path.exists()
    assert folder.frame_epochs() == [0, 1, 2]


# How a run stands


def test_a_folder_with_only_a_fresh_log_is_starting(folder: RunFolder) -> None:
    folder.log_path.touch()
    assert folder.state() == "starting"
    assert folder.state(now=time.time() + LOST_AFTER_S + 5) == "crashed"


def test_a_run_whose_lock_is_held_is_starting_until_its_journal_says_something(folder: RunFolder) -> None:
    folder.write_manifest(recorded.manifest(folder))
    folder.lock.acquire()
    seen = RunFolder(folder.root, folder.name)
    assert seen.state() == "starting"
    recorded.append(folder, Heartbeat(time=time.time()))
    assert seen.state() == "training"


def test_a_run_whose_lock_is_held_lives_however_long_it_says_nothing(root: Path) -> None:
    folder = recorded.write_run(root)
    folder.lock.acquire()
    assert RunFolder(root, folder.name).state(now=time.time() + 10 * LOST_AFTER_S) == "training"


@pytest.mark.parametrize("end", ["completed", "stopped", "failed"])
def test_a_run_whose_journal_has_a_last_line_is_what_that_says(root: Path, end: str) -> None:
    assert recorded.write_run(root, "gone", end=end, process=recorded.dead_process()).state() == end
    assert recorded.write_run(root, "there", end=end).state() == end


def test_a_run_whose_lock_is_free_without_a_last_line_has_crashed(root: Path) -> None:
    folder = recorded.write_run(root)
    folder.lock.acquire()
    folder.lock.release()
    assert folder.state() == "crashed"


def test_a_trainer_that_was_killed_is_noticed_at_once(root: Path) -> None:
    folder = recorded.write_run(root)
    script = "from facegender.runs.lock import RunLock; import pathlib, sys, time\n"
    script += "lock = RunLock(pathlib.Path(sys.argv[1])); lock.acquire(); print('locked', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", script, str(folder.lock.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"locked\n"
        assert folder.state() == "training"
        child.kill()
    assert folder.state() == "crashed"


# Runs of earlier versions had no lock but a file "claim", and more in the manifest about their process.


def earlier_version(root: Path, process: Process) -> RunFolder:
    folder = recorded.write_run(root)
    plain = json.loads(folder.manifest_path.read_bytes())
    plain["process"] = {**msgspec.to_builtins(process), "started": 1.0, "boot": "b", "ticks": 5, "namespace": "pid:[1]"}
    folder.manifest_path.write_text(json.dumps(plain))
    (folder.path / "claim").write_text(json.dumps(plain["process"]))
    return folder


def test_a_run_of_an_earlier_version_whose_process_is_gone_has_crashed(root: Path) -> None:
    assert earlier_version(root, recorded.dead_process()).state() == "crashed"


def test_a_run_of_an_earlier_version_whose_process_number_lives_is_live_as_long_as_it_writes(root: Path) -> None:
    folder = earlier_version(root, Process.this())
    assert folder.state() == "training"
    assert folder.state(now=time.time() + LOST_AFTER_S + 5) == "crashed"


def test_a_run_on_another_host_lives_as_long_as_its_journal_is_written(root: Path) -> None:
    folder = recorded.write_run(root, process=ELSEWHERE, created=1000.0, epochs_done=0)
    recorded.append(folder, Heartbeat(time=time.time()))
    last = time.time()
    assert folder.state(now=last + 1) == "training"
    assert folder.state(now=last + LOST_AFTER_S + 5) == "crashed"
    recorded.append(folder, Heartbeat(time=last))
    os.utime(folder.journal_path, (last + LOST_AFTER_S, last + LOST_AFTER_S))
    assert folder.state(now=last + LOST_AFTER_S + 5) == "training"


def test_a_run_on_another_host_has_as_long_to_start(folder: RunFolder) -> None:
    folder.write_manifest(recorded.manifest(folder, process=ELSEWHERE, created=1000.0))
    os.utime(folder.manifest_path, (1000.0, 1000.0))
    assert folder.state(now=1000.0 + LOST_AFTER_S - 1) == "starting"
    assert folder.state(now=1000.0 + LOST_AFTER_S + 1) == "crashed"


def test_a_resumed_run_is_training_again_although_it_had_ended(root: Path) -> None:
    folder = recorded.write_run(root, end="stopped")
    recorded.append(folder, Notice(time=time.time(), level="info", text="resuming"))
    assert folder.state() == "training"


def test_a_torn_last_line_does_not_hide_how_a_run_stands(root: Path) -> None:
    folder = recorded.write_run(root)
    with folder.journal_path.open("ab") as file:
        file.write(b'{"type":"run_finished","ti')
    assert folder.state() == "training"


# Stop request


def test_a_stop_request_stays_until_it_is_cleared(folder: RunFolder) -> None:
    assert not folder.stop_requested()
    folder.request_stop()
    folder.request_stop()
    assert folder.stop_requested()
    folder.stop_path.unlink()
    assert not folder.stop_requested()


def test_a_stop_request_for_a_run_that_is_gone_says_so(root: Path) -> None:
    with pytest.raises(UserError, match="run otter-3: cannot write the stop request"):
        RunFolder(root, "otter-3").request_stop()


# The log


def test_the_log_tail_is_the_last_lines_without_controls(folder: RunFolder) -> None:
    folder.log_path.write_bytes(
        b"first\n" * 50
        + b"\x1b[31mred\x1b[0m \x07bell\n"
        + b"  1%\r 50%\r100% done\n"
        + b"\n   \n"
        + b"caf\xe9 \xe2\x80\xae reversed\r\n"
        + b"RuntimeError: out of memory"
    )
    tail = folder.log_tail(4)
    assert tail == [
        "\ufffd[31mred\ufffd[0m \ufffdbell",
        "100% done",
        "caf\ufffd \ufffd reversed",
        "RuntimeError: out of memory",
    ]
    assert all(line.isprintable() for line in tail)


def test_the_log_tail_of_a_huge_log_is_read_from_its_end(folder: RunFolder) -> None:
    with folder.log_path.open("wb") as file:
        file.truncate(200 << 20)
        file.seek(0, os.SEEK_END)
        file.write(b"\nthe end\n")
    began = time.perf_counter()
    assert folder.log_tail(1) == ["the end"]
    assert time.perf_counter() - began < 1


def test_a_missing_log_has_no_tail(folder: RunFolder) -> None:
    assert folder.log_tail() == []


# Frames


def test_the_epochs_with_frames_are_listed_in_order_of_their_numbers(folder: RunFolder) -> None:
    assert folder.frame_epochs() == []
    for name in ("epoch_10.safetensors", "epoch_2.safetensors", "epoch_2.png", ".epoch_3.safetensors.9.tmp", "x"):
        (folder.visuals / name).touch()
    assert folder.frame_epochs() == [2, 10]
    assert folder.frame_path(2) == folder.visuals / "epoch_2.safetensors"
    (folder.visuals / "initial.safetensors").touch()
    assert folder.frame_epochs() == [INITIAL, 2, 10]
    assert folder.frame_path(INITIAL) == folder.visuals / "initial.safetensors"
    assert RunFolder(folder.root, "nothing").frame_epochs() == []


# Deleting


def test_deleting_removes_both_folders_and_no_other_run(root: Path) -> None:
    gone = recorded.write_run(root, "gone", end="completed")
    stays = recorded.write_run(root, "stays", end="completed")
    gone.delete()
    assert not gone.path.exists()
    assert not gone.visuals.exists()
    assert stays.path.exists()
    assert stays.frame_epochs() == [0, 1, 2]


def test_a_run_whose_deletion_was_interrupted_leaves_no_pictures_to_a_new_run(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = recorded.write_run(root, end="completed")
    folder.visuals.mkdir(parents=True, exist_ok=True)
    removed: list[Path] = []

    def remove_one(path: Path) -> None:
        removed.append(path)
        raise OSError("killed here")

    monkeypatch.setattr(shutil, "rmtree", remove_one)
    with pytest.raises(UserError):
        folder.delete()
    assert removed == [folder.visuals]
    assert [run.name for run in list_runs(root)] == [folder.name]


def test_a_live_run_is_not_deleted(root: Path) -> None:
    folder = recorded.write_run(root)
    with pytest.raises(UserError, match="run otter-3 is still training: stop it first"):
        folder.delete()
    assert folder.manifest_path.exists()


def test_a_run_without_pictures_can_be_deleted(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=0, end="failed")
    folder.visuals.rmdir()
    folder.delete()
    assert not folder.path.exists()


def test_the_last_line_counts_and_not_an_earlier_one(root: Path) -> None:
    folder = recorded.write_run(root, end="stopped")
    recorded.append(folder, Notice(time=time.time(), level="info", text="resuming"))
    recorded.append(folder, RunFinished(time=time.time(), status="completed"))
    assert folder.state() == "completed"


def files_below(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_a_renamed_run_keeps_all_its_files_and_what_is_known_of_it(root: Path) -> None:
    folder = recorded.write_run(root, "before", end="completed", created=123.0)
    folder.write_note("good")
    manifest, files = folder.read_manifest(), files_below(root)
    renamed = folder.rename("after")
    assert {name.replace("after", "before") for name in files_below(root)} == files
    assert not folder.path.exists()
    assert not folder.visuals.exists()
    assert renamed.read_manifest() == msgspec.structs.replace(manifest, run="after")
    assert (renamed.state(), renamed.read_note(), len(renamed.frame_epochs())) == ("completed", "good", 3)
    assert open_run(root, "after").rename("before").read_manifest() == manifest


@pytest.mark.parametrize(
    ("name", "message"),
    [("taken", "exists already"), ("pictures", "exists already"), ("../x", "run name"), ("", "run name")],
)
def test_a_run_is_not_renamed_to_what_exists_or_cannot_be_a_folder(root: Path, name: str, message: str) -> None:
    folder = recorded.write_run(root, "before", end="completed")
    recorded.write_run(root, "taken", end="completed")
    (root / "visuals" / "pictures").mkdir()
    files = files_below(root)
    with pytest.raises(UserError, match=message):
        folder.rename(name)
    assert files_below(root) == files


def test_a_live_run_is_not_renamed(root: Path) -> None:
    folder = recorded.write_run(root)
    with pytest.raises(UserError, match="still training: stop it first"):
        folder.rename("after")
    assert folder.manifest_path.exists()


@pytest.mark.parametrize("done", [1, 2])
def test_a_rename_that_was_killed_is_completed_when_the_run_is_opened(root: Path, done: int) -> None:
    folder = recorded.write_run(root, "before", end="completed")
    folder.path.rename(root / "checkpoints" / "after")
    if done == 2:
        folder.visuals.rename(root / "visuals" / "after")
    renamed = open_run(root, "after")
    assert renamed.read_manifest().run == "after"
    assert len(renamed.frame_epochs()) == 3
    assert not folder.visuals.exists()


def test_a_copy_of_a_run_does_not_take_the_pictures_of_the_original(root: Path) -> None:
    folder = recorded.write_run(root, "original", end="completed")
    shutil.copytree(folder.path, root / "checkpoints" / "copy")
    assert open_run(root, "copy").frame_epochs() == []
    assert len(folder.frame_epochs()) == 3


def test_a_note_is_one_safe_line_and_a_damaged_file_harmless(folder: RunFolder) -> None:
    assert folder.read_note() == ""
    folder.write_note(" a\n\x1b[2Jb ")
    assert folder.read_note() == "a \ufffd[2Jb"
    folder.note_path.write_bytes(b"\xff\x1b" + b"x" * 10_000)
    assert len(folder.read_note()) == MAX_NOTE
    assert folder.read_note().isprintable()
    folder.note_path.unlink()
    folder.note_path.mkdir()
    assert folder.read_note() == ""
    with pytest.raises(UserError, match="cannot write the note"):
        folder.write_note("x")
