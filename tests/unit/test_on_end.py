"""The user's own command at the end of a run."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import recorded

from facegender.training.on_end import run_on_end

Capture = pytest.CaptureFixture[str]


def test_the_command_finds_the_facts_of_the_run_in_its_environment(root: Path, capfd: Capture) -> None:
    folder = recorded.write_run(root, epochs_done=3, end="failed")
    out = root / "out"
    run_on_end(f"env | grep ^FACEGENDER_ | sort > {out}", folder, "failed", "no\nroom; touch x")
    facts = dict(line.split("=", 1) for line in out.read_text().splitlines())
    facts = {name: value for name, value in facts.items() if name in facts and name != "FACEGENDER_CACHE"}
    assert facts == {
        "FACEGENDER_RUN": folder.name,
        "FACEGENDER_STATUS": "failed",
        "FACEGENDER_ERROR": "no room; touch x",
        "FACEGENDER_FOLDER": str(folder.path.absolute()),
        "FACEGENDER_EPOCHS_DONE": "3",
        "FACEGENDER_EPOCHS": "5",
        "FACEGENDER_BEST_EPOCH": "3",
        "FACEGENDER_BEST_ACCURACY": "0.6200",
        "FACEGENDER_VALIDATION_LOSS": "0.5800",
    }
    assert capfd.readouterr() == ("", "")


def test_a_run_without_an_epoch_has_empty_facts(root: Path, capfd: Capture) -> None:
    folder = recorded.write_run(root, epochs_done=0)
    run_on_end('echo "[$FACEGENDER_BEST_EPOCH$FACEGENDER_BEST_ACCURACY$FACEGENDER_ERROR]"', folder, "stopped")
    assert capfd.readouterr().out == "[]\n"


def test_a_command_that_fails_is_one_line(root: Path, capfd: Capture) -> None:
    folder = recorded.write_run(root)
    run_on_end("exit 3", folder, "completed")
    assert capfd.readouterr().err == f"facegender: run {folder.name}: --on-end failed with exit code 3: exit 3\n"


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(root: Path, capfd: Capture) -> None:
    folder, pid_file = recorded.write_run(root), root / "pid"
    began = time.monotonic()
    run_on_end(f"sh -c 'echo $$ > {pid_file}; sleep 100; true'; true", folder, "completed", limit_s=1.0)
    assert time.monotonic() - began < 20
    assert "--on-end was ended after 1 s" in capfd.readouterr().err
    pid = int(pid_file.read_text())
    until = time.monotonic() + 20
    while _is_alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    assert not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").exists() and ") Z " not in Path(f"/proc/{pid}/stat").read_text()
