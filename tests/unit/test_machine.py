"""How many processors and how much memory a process may use within its containers' limits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from facegender.support import machine

MIB = 1 << 20


@pytest.fixture(autouse=True)
def processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of eight processors and plenty of memory."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1 << 40}))


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Control groups with no limit yet, below the path that is returned."""
    monkeypatch.setattr(machine, "CONTROL_GROUP", tmp_path)
    monkeypatch.setattr(machine, "_MEMBERSHIP", tmp_path / "membership")
    return tmp_path


def put(group: Path, **files: object) -> None:
    """The files of a control group; two underscores stand for a dot."""
    group.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (group / name.replace("__", ".")).write_text(f"{content}\n")


def test_without_control_groups_the_machine_decides(groups: Path) -> None:
    assert machine.available_processors() == 8
    assert machine.available_memory() == 1 << 40


@pytest.mark.parametrize("limited", ["", "slurm", "slurm/job_7", "slurm/job_7/step_0"])
def test_the_limit_of_any_group_above_counts_in_version_2(groups: Path, limited: str) -> None:
    (groups / "membership").write_text("0::/slurm/job_7/step_0\n")
    for path in ("", "slurm", "slurm/job_7", "slurm/job_7/step_0"):
        put(groups / path, cpu__max="max 100000", memory__max="max", memory__current=5, memory__stat="inactive_file 0")
    put(groups / limited, cpu__max="300000 100000", memory__max=100 * MIB, memory__current=60 * MIB)
    put(groups / limited, memory__stat=f"anon 1\ninactive_file {10 * MIB}")
    assert machine.available_processors() == 3
    assert machine.available_memory() == 50 * MIB


@pytest.mark.parametrize("limited", ["", "user/job"])
def test_the_limit_of_any_group_above_counts_in_version_1(groups: Path, limited: str) -> None:
    (groups / "membership").write_text("9:name=systemd:/\n4:memory:/user/job\n2:cpuacct,cpu:/user/job\n0::/\n")
    for path in ("", "user", "user/job"):
        put(groups / "cpu" / path, **{"cpu.cfs_quota_us": -1, "cpu.cfs_period_us": 100_000})
        put(groups / "memory" / path, memory__limit_in_bytes=9223372036854771712, memory__usage_in_bytes=5)
        put(groups / "memory" / path, memory__stat="total_inactive_file 0")
    put(groups / "cpu" / limited, **{"cpu.cfs_quota_us": 250_000, "cpu.cfs_period_us": 100_000})
    put(groups / "memory" / limited, memory__limit_in_bytes=100 * MIB, memory__usage_in_bytes=60 * MIB)
    put(groups / "memory" / limited, memory__stat=f"total_inactive_file {10 * MIB}")
    assert machine.available_processors() == 2
    assert machine.available_memory() == 50 * MIB


def test_a_container_that_sees_its_own_group_as_the_root_finds_its_limit(groups: Path) -> None:
    (groups / "membership").write_text("0::/docker/0123abcd\n")
    put(groups, cpu__max="50000 100000", memory__max=100, memory__current=200, memory__stat="inactive_file 0")
    assert machine.available_processors() == 1
    assert machine.available_memory() == 0


@pytest.mark.parametrize("name", machine.OPENMP_WAITING)
def test_a_variable_that_the_user_has_set_decides_how_threads_wait(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in machine.OPENMP_WAITING:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "1")
    before = dict(os.environ)
    machine.let_waiting_threads_sleep()
    assert dict(os.environ) == before


def test_the_program_lets_waiting_threads_sleep_before_torch_is_loaded() -> None:
    code = (
        "import atexit, os, sys\n"
        "from facegender.__main__ import main\n"
        "atexit.register(lambda: print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules))\n"
        "sys.argv = ['facegender', 'recipes']\n"
        "main()\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in machine.OPENMP_WAITING}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1] == "passive False"
