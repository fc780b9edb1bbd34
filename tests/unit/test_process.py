"""Telling a process from others, and knowing when one cannot be seen from here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest
import recorded

from facegender.runs import process as module
from facegender.runs.folder import Manifest, RunFolder
from facegender.runs.process import LOST_AFTER_S, Process

only_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


def old(path: Path, age_s: float = LOST_AFTER_S + 5) -> None:
    os.utime(path, (time.time() - age_s,) * 2)


def test_this_process_is_alive_and_a_killed_one_is_gone_at_once() -> None:
    assert Process.this().presence() == "alive"
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    process = Process.of(child.pid)
    assert process.presence() == "alive"
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert process.presence() == "gone"


@only_linux
def test_a_wall_clock_that_was_set_does_not_make_a_live_process_another(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process.this()
    original = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: original(self) + 3600)
    assert process.presence() == "alive"


def test_a_process_is_known_by_its_start_where_the_system_tells_no_ticks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_PROC", tmp_path / "none")
    process = Process.this()
    assert (process.boot, process.ticks) == ("", -1)
    assert process.presence() == "alive"
    assert msgspec.structs.replace(process, started=process.started - 60).presence() == "gone"
    assert msgspec.structs.replace(process, pid=2**22 + 1).presence() == "gone"


@pytest.mark.parametrize("field", ["host", "boot", "namespace"])
@only_linux
def test_a_process_of_another_machine_boot_or_container_is_out_of_sight(field: str) -> None:
    assert msgspec.structs.replace(Process.this(), **{field: "another"}).presence() == "out of sight"


@only_linux
def test_a_process_that_proc_hides_is_out_of_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(pid: int, number: int) -> None:
        raise PermissionError

    process = msgspec.structs.replace(Process.this(), pid=2**22 + 1)
    monkeypatch.setattr(os, "kill", kill)
    assert process.presence() == "out of sight"


def test_manifests_that_tell_less_of_the_process_are_still_read(folder: RunFolder) -> None:
    written = recorded.manifest(folder)
    plain = msgspec.to_builtins(written)
    for field in ("boot", "ticks", "namespace"):
        del plain["process"][field]
    read = msgspec.json.decode(msgspec.json.encode(plain), type=Manifest)
    assert read.process.presence() == "alive"
    folder.write_manifest(read)
    assert folder.state() == "starting"


@only_linux
def test_a_run_in_a_container_lives_as_long_as_its_journal_is_written(root: Path) -> None:
    inside = msgspec.structs.replace(Process.this(), pid=2**22 + 1, namespace="pid:[1]")
    folder = recorded.write_run(root, process=inside)
    assert folder.state() == "training"
    old(folder.journal_path)
    old(folder.manifest_path)
    assert folder.state() == "crashed"


def test_a_trainer_whose_clock_is_wrong_is_judged_by_the_file_system_s(root: Path) -> None:
    elsewhere = Process(pid=1, started=0.0, host="another-host.example")
    folder = recorded.write_run(root, epochs_done=0, process=elsewhere, created=1000.0)
    recorded.append(folder, recorded.epoch_started(0, time=1001.0))
    assert folder.state() == "training"
    recorded.append(folder, recorded.epoch_started(1, time=time.time() + 86_400))
    for path in (folder.journal_path, folder.manifest_path):
        old(path)
    assert folder.state() == "crashed"
