"""At most one trainer works on a run folder, whatever an earlier one left behind."""

from __future__ import annotations

import os
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import recorded

from facegender.__main__ import run
from facegender.runs.config import TrainConfig
from facegender.runs.events import RunFinished
from facegender.runs.folder import RunFolder, create_run, list_runs
from facegender.runs.lock import ClaimFile, Held
from facegender.runs.process import LOST_AFTER_S, Process
from facegender.support.errors import UserError
from facegender.training import run_lock as claiming
from facegender.training.run_lock import claim_new, claim_resume

ELSEWHERE = Process(pid=1, started=0.0, host="another-host.example")


def leave(folder: RunFolder, process: Process | None, age_s: float = 0.0) -> None:
    """A claim that another process made."""
    folder.claim.path.write_bytes(msgspec.json.encode(process) if process else b"")
    os.utime(folder.claim.path, (time.time() - age_s,) * 2)


def at_once(count: int, action: Callable[[], object]) -> list[object]:
    """What came of the same action in many threads that begin together."""
    results: list[object] = []
    barrier = threading.Barrier(count)

    def act() -> None:
        barrier.wait()
        try:
            results.append(action())
        except (Held, UserError) as error:
            results.append(error)

    threads = [threading.Thread(target=act) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_a_claim_is_held_until_it_is_released(folder: RunFolder) -> None:
    folder.claim.take()
    other = RunFolder(folder.root, folder.name)
    assert other.claim.is_held()
    with pytest.raises(Held, match=f"process {os.getpid()}"):
        other.claim.take()
    other.claim.release()
    assert folder.claim.is_held()
    folder.claim.release()
    assert not folder.claim.is_held()
    assert list(folder.path.iterdir()) == []
    other.claim.take()


@pytest.mark.parametrize("stale", [False, True])
def test_of_many_at_once_one_gets_it(folder: RunFolder, stale: bool) -> None:
    for _ in range(5):
        if stale:
            leave(folder, recorded.dead_process())
        results = at_once(8, lambda: ClaimFile(folder.claim.path, []).take())
        assert len([result for result in results if result is None]) == 1
        assert [path.name for path in folder.path.iterdir()] == ["claim"]
        folder.claim.path.unlink()


def test_what_a_dead_process_left_is_taken_over_at_once(folder: RunFolder) -> None:
    leave(folder, recorded.dead_process())
    assert not folder.claim.is_held()
    folder.claim.take()
    assert msgspec.json.decode(folder.claim.path.read_bytes(), type=Process) == Process.this()


def test_a_holder_on_another_machine_is_gone_when_it_has_written_nothing_for_a_while(folder: RunFolder) -> None:
    leave(folder, ELSEWHERE, age_s=LOST_AFTER_S + 5)
    folder.journal_path.touch()
    with pytest.raises(Held, match=r"another-host\.example"):
        folder.claim.take()
    os.utime(folder.journal_path, (0, 0))
    folder.claim.take()


def test_a_claim_that_is_being_written_is_respected_for_a_while(folder: RunFolder) -> None:
    leave(folder, None)
    with pytest.raises(Held):
        folder.claim.take()
    leave(folder, None, age_s=LOST_AFTER_S + 5)
    folder.claim.take()


def test_nobody_removes_a_claim_that_was_taken_over(folder: RunFolder) -> None:
    folder.claim.take()
    leave(folder, ELSEWHERE)
    folder.claim.release()
    assert folder.claim.path.exists()


def test_who_was_killed_while_taking_over_does_not_block_the_run_for_ever(folder: RunFolder) -> None:
    leave(folder, recorded.dead_process())

    class Killed(BaseException):
        pass

    def replace(self: ClaimFile, stale: bytes, content: bytes) -> bool:
        (folder.path / f".claim.{zlib.crc32(stale):08x}").touch()
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClaimFile, "_replace", replace)
        with pytest.raises(Killed):
            folder.claim.take()
    with pytest.raises(Held):
        folder.claim.take()
    (right,) = (path for path in folder.path.iterdir() if path.name.startswith(".claim"))
    os.utime(right, (0, 0))
    folder.claim.take()
    assert [path.name for path in folder.path.iterdir()] == ["claim"]


def test_a_folder_with_nothing_but_a_claim_is_no_run_yet_and_free_when_its_holder_is_gone(root: Path) -> None:
    folder = create_run(root, "otter-3")
    folder.claim.take()
    assert list_runs(root) == []
    with pytest.raises(UserError, match="exists already"):
        create_run(root, "otter-3")
    leave(folder, recorded.dead_process())
    assert create_run(root, "otter-3").path == folder.path


def test_a_claim_does_not_change_how_a_run_stands_but_keeps_it_from_being_deleted(root: Path) -> None:
    folder = recorded.write_run(root, end="stopped")
    folder.claim.take()
    assert folder.state() == "stopped"
    with pytest.raises(UserError, match="still training"):
        folder.delete()
    folder.claim.release()
    folder.delete()


# Trainers


def test_of_two_new_trainers_of_one_name_one_gets_the_folder(root: Path) -> None:
    for number in range(5):
        results = at_once(4, lambda number=number: claim_new(TrainConfig(demo=True), root, f"run-{number}"))
        assert len([result for result in results if not isinstance(result, Exception)]) == 1
        assert all("run-" in str(result) for result in results)


def test_of_two_that_resume_a_run_one_gets_it(root: Path) -> None:
    folder = recorded.write_run(root, end="stopped")
    folder.last_checkpoint.touch()
    results = at_once(4, lambda: claim_resume(root, "otter-3", {}))
    assert len([result for result in results if not isinstance(result, Exception)]) == 1
    assert all("stop it first" in str(result) for result in results if isinstance(result, Exception))
    assert folder.state() == "training"


def test_a_trainer_too_many_is_one_line_and_exit_code_2(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(claiming, "PATIENCE_S", 0.0)
    folder = recorded.write_run(root, "otter-3", end="stopped")
    folder.last_checkpoint.touch()
    journal = folder.journal_path.read_bytes()
    folder.claim.take()
    create_run(root, "heron-7").claim.take()
    for option, name in (("--resume", "otter-3"), ("--run", "heron-7")):
        assert run(["train", "--demo", option, name, "--root", str(root)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert name in line
    assert folder.journal_path.read_bytes() == journal
    assert not (root / "checkpoints" / "heron-7" / "run.json").exists()


def test_a_run_that_has_just_ended_is_resumed_as_soon_as_its_trainer_lets_go(root: Path) -> None:
    folder = recorded.write_run(root, end="stopped")
    folder.last_checkpoint.touch()
    folder.claim.take()
    threading.Timer(0.2, folder.claim.release).start()
    claim = claim_resume(root, "otter-3", {})
    assert claim.ended is not None
    claim.release()
    claim.release()
    assert not folder.claim.is_held()


def test_what_is_refused_leaves_no_claim_behind(root: Path) -> None:
    folder = recorded.write_run(root, end="stopped")
    with pytest.raises(UserError, match=r"no last\.ckpt"):
        claim_resume(root, "otter-3", {})
    assert not folder.claim.path.exists()


def test_a_run_that_was_trained_meanwhile_is_not_begun_a_second_time(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(root: Path, name: str | None) -> RunFolder:
        folder = create_run(root, name)
        recorded.append(folder, RunFinished(time=time.time(), status="completed"))
        return folder

    monkeypatch.setattr(claiming, "create_run", create)
    with pytest.raises(UserError, match="exists already"):
        claim_new(TrainConfig(demo=True), root, "otter-3")
    assert not (root / "checkpoints" / "otter-3" / "claim").exists()


def test_a_live_trainer_on_another_machine_is_named_with_what_to_do(root: Path) -> None:
    recorded.write_run(root, process=ELSEWHERE)
    with pytest.raises(UserError, match=r"on another-host\.example: stop it first .* try again in 60 s"):
        claim_resume(root, "otter-3", {})
