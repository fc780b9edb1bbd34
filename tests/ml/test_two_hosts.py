"""A run on two hosts: two network namespaces of this machine, joined by a cable, with one folder for both."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from facegender.runs.events import EpochFinished, RunFinished, RunStarted
from facegender.runs.folder import list_runs
from tests.ml.conftest import events_of, kinds, losses_of

CABLE = "cable"
ADDRESSES = ("10.77.0.1", "10.77.0.2")
OPTIONS = [
    "--demo", "--demo-faces=17", "--image-size=32", "--widths=4,8,8", "--batch-size=4", "--probes=2", "--epochs=1",
    "--accelerator=cpu", "--precision=32", "--run=a",
]  # fmt: skip


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=20)


@contextlib.contextmanager
def two_hosts() -> Iterator[list[str]]:
    """Two namespaces that reach each other at `ADDRESSES` and nothing else; gone afterwards, with their cable."""
    names = [f"fg{os.getpid()}{end}" for end in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", names[0], "link", "add", CABLE, "type", "veth", "peer", "name", CABLE, "netns", names[1])
        for name, address in zip(names, ADDRESSES, strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", CABLE)
            ip("-n", name, "link", "set", CABLE, "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True, timeout=20)


def names_in_use() -> set[str]:
    listed = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True, timeout=20).stdout
    return {line.split()[0] for line in listed.splitlines()}


@pytest.fixture(autouse=True)
def _possible() -> None:
    if shutil.which("ip") is None:
        pytest.skip("needs `ip` of iproute2")
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("needs root to make network namespaces")
    try:
        with two_hosts():
            pass
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine makes no network namespaces: {error.stderr.strip()}")


@contextlib.contextmanager
def torchrun(host: str, rank: int, root: Path) -> Iterator[subprocess.Popen[str]]:
    """The launcher of one host; it and what it started are gone afterwards."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": CABLE,
        "FACEGENDER_CACHE": str(root.parent / f"cache{rank}"),
    }
    # Without the two dashes the launcher takes --run for one of its own options.
    command = [
        "ip", "netns", "exec", host, sys.executable, "-m", "torch.distributed.run",
        "--nnodes=2", "--nproc-per-node=1", f"--node-rank={rank}", f"--master-addr={ADDRESSES[0]}",
        "--master-port=29400", "-m", "--", "facegender", "train", *OPTIONS, "--root", str(root),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=environment, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        # The launcher starts each worker in a session of its own, and ends them when it is asked to end.
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_nothing_is_left_of_the_hosts_after_an_error() -> None:
    before, during = names_in_use(), set()

    def fail_in_between() -> None:
        with two_hosts():
            during.update(names_in_use())
            raise RuntimeError("in between")

    with pytest.raises(RuntimeError, match="in between"):
        fail_in_between()
    assert len(during - before) == 2
    assert names_in_use() == before


def test_two_hosts_train_one_run_and_one_of_them_writes_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with two_hosts() as hosts, torchrun(hosts[0], 0, root) as first, torchrun(hosts[1], 1, root) as second:
        outputs = [process.communicate(timeout=180)[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), "\n".join(outputs)

    (folder,) = list_runs(root)
    assert (folder.name, folder.state()) == ("a", "completed")
    assert [path.name for path in (root / "visuals").iterdir()] == ["a"]
    events = events_of(root, "a")
    assert (kinds(events).count("run_started"), kinds(events)[-1]) == (1, "run_finished")
    (started,) = [event for event in events if isinstance(event, RunStarted)]
    (epoch,) = [event for event in events if isinstance(event, EpochFinished)]
    (finished,) = [event for event in events if isinstance(event, RunFinished)]
    assert finished.status == "completed"

    # Of 34 faces 6 validate, in batches of 4 on one host: each is counted once, whichever host looked at it.
    count = sum(started.validation_images.values())
    assert count == 34 - sum(started.train_images.values())
    assert sum(map(sum, epoch.confusion)) == count
    assert [sum(row) for row in epoch.confusion] == [started.validation_images[name] for name in epoch.classes]
    # Each host trains half of the photographs, 14 in batches of 4, and only the first one's steps are in the journal.
    assert started.steps_per_epoch == 4
    assert sorted(losses_of(events)) == [1, 2, 3, 4]
