"""How runs end, and how they go on."""

from __future__ import annotations

import errno
import logging
import os
import shlex
import signal
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from facegender.__main__ import run
from facegender.data.datamodule import FaceDataModule
from facegender.network.module import FaceGenderModule
from facegender.runs.events import (
    CheckpointSaved,
    EpochFinished,
    EpochStarted,
    Event,
    Notice,
    RequestDone,
    RunFinished,
    RunStarted,
)
from facegender.runs.folder import RunFolder, create_run
from facegender.runs.journal import JournalWriter
from facegender.runs.lock import Process
from facegender.support.errors import UserError
from facegender.training.run import train
from facegender.training.stop import StopSwitch
from facegender.training.threads.frames import FrameThread
from tests.ml.conftest import STEPS_PER_EPOCH, events_of, kinds, losses_of, tiny

At = Callable[[int, Callable[[], None]], None]


def terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


def weights(root: Path, run: str) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(RunFolder(root, run).last_checkpoint, weights_only=True)["state_dict"]
    return state


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_its_batch_with_everything_saved(tmp_path: Path, at_step: At, number: int) -> None:
    handlers = [signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    at_step(5, lambda: signal.raise_signal(number))
    assert train(tiny(), tmp_path, "a", show=False) == "stopped"
    folder = RunFolder(tmp_path, "a")
    events = events_of(tmp_path, "a")
    assert sorted(losses_of(events)) == [1, 2, 3, 4, 5, 6]
    assert isinstance(events[-1], RunFinished)
    assert (events[-1].status, events[-1].error, folder.state()) == ("stopped", "", "stopped")
    checkpoint = torch.load(folder.last_checkpoint, weights_only=True)
    assert checkpoint["global_step"] == 6
    assert checkpoint["resume_at"] | {"epoch": 1, "batch": 2, "devices": 1} == checkpoint["resume_at"]
    assert [signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)] == handlers


def test_a_stop_request_ends_the_run_and_is_gone_afterwards(
    tmp_path: Path, at_step: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, noticed = RunFolder(tmp_path, "a"), threading.Event()
    original = StopSwitch.request

    def request(self: StopSwitch, reason: str) -> None:
        original(self, reason)
        noticed.set()

    monkeypatch.setattr(StopSwitch, "request", request)

    def ask() -> None:
        folder.request_stop()
        assert noticed.wait(20)

    at_step(2, ask)
    assert train(tiny(), tmp_path, "a", show=False) == "stopped"
    assert sorted(losses_of(events_of(tmp_path, "a"))) == [1, 2, 3]
    assert not folder.stop_requested()


def test_a_stop_at_an_epochs_last_batch_validates_and_ends_with_the_epoch(tmp_path: Path, at_step: At) -> None:
    at_step(STEPS_PER_EPOCH - 1, terminate)
    assert train(tiny(), tmp_path, "a", show=False) == "stopped"
    finished = [event for event in events_of(tmp_path, "a") if isinstance(event, EpochFinished)]
    assert [event.epoch for event in finished] == [0]
    checkpoint = torch.load(RunFolder(tmp_path, "a").last_checkpoint, weights_only=True)
    assert checkpoint["resume_at"] | {"epoch": 1, "batch": 0, "devices": 1} == checkpoint["resume_at"]


def test_a_stop_at_the_very_last_batch_is_a_completed_run(tmp_path: Path, at_step: At) -> None:
    at_step(3 * STEPS_PER_EPOCH - 1, terminate)
    assert train(tiny(), tmp_path, "a", show=False) == "completed"


@pytest.mark.parametrize("step", [1, STEPS_PER_EPOCH - 1, STEPS_PER_EPOCH + 2])
def test_interrupted_and_resumed_is_the_same_as_uninterrupted(tmp_path: Path, trained: Path, step: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        original = FaceGenderModule.training_step

        def training_step(self: FaceGenderModule, batch: Any, batch_idx: int) -> Any:
            if self.global_step == step:
                terminate()
            return original(self, batch, batch_idx)

        patch.setattr(FaceGenderModule, "training_step", training_step)
        assert train(tiny(), tmp_path, "a", show=False) == "stopped"
    assert train(tiny(), tmp_path, resume="a", show=False) == "completed"

    straight, resumed = events_of(trained, "done"), events_of(tmp_path, "a")
    assert losses_of(resumed) == losses_of(straight)
    fields = ("epoch", "step", "train_loss", "train_accuracy", "validation_loss", "confusion", "learning_rate", "best")

    def epochs(events: list[Any]) -> list[list[Any]]:
        return [[getattr(e, name) for name in fields] for e in events if isinstance(e, EpochFinished)]

    assert epochs(resumed) == epochs(straight)
    second = [event for event in resumed if isinstance(event, RunStarted)][1]
    assert second.resumed
    assert (second.start_epoch, second.start_step) == (divmod(step + 1, STEPS_PER_EPOCH)[0], step + 1)
    expected = weights(trained, "done")
    assert all(torch.equal(value, expected[name]) for name, value in weights(tmp_path, "a").items())


def test_a_completed_run_goes_on_with_more_epochs_and_keeps_its_best_score(tmp_path: Path) -> None:
    train(tiny(epochs=2), tmp_path, "a", show=False)
    assert train(tiny(), tmp_path, resume="a", changes={"epochs": 4}, show=False) == "completed"
    events = events_of(tmp_path, "a")
    assert [event.epoch for event in events if isinstance(event, EpochFinished)] == [0, 1, 2, 3]
    best = -1.0
    for event in events:
        if isinstance(event, EpochFinished):
            assert event.best == (event.validation_accuracy > best)
            best = max(best, event.validation_accuracy)
    manifest = RunFolder(tmp_path, "a").read_manifest()
    assert manifest is not None
    assert manifest.config.epochs == 4
    (change,) = (event for event in events if isinstance(event, RequestDone))
    assert (change.request, change.epochs, change.step) == ("set", 4, 2 * STEPS_PER_EPOCH)
    assert change.outcome == "4 epochs are planned instead of 2"


def test_a_resumed_schedule_goes_on_where_it_was(tmp_path: Path) -> None:
    train(tiny(epochs=1, step_size=1), tmp_path, "a", show=False)
    train(tiny(), tmp_path, resume="a", changes={"epochs": 3}, show=False)
    rates = [event.learning_rate for event in events_of(tmp_path, "a") if isinstance(event, EpochStarted)]
    assert rates == pytest.approx([1e-3, 1e-4, 1e-5])


def test_a_crashed_run_is_resumed_from_its_last_epoch(tmp_path: Path, trained: Path) -> None:
    train(tiny(epochs=2), tmp_path, "a", show=False)
    folder = RunFolder(tmp_path, "a")
    manifest = folder.read_manifest()
    assert manifest is not None
    gone = Process(pid=2**22 - 3, host=manifest.process.host)
    folder.write_manifest(msgspec.structs.replace(manifest, process=gone, config=tiny(epochs=3)))
    lines = folder.journal_path.read_bytes().splitlines(keepends=True)
    folder.journal_path.write_bytes(b"".join(lines[:-1]) + b'{"type":"steps","ti')
    assert folder.state() == "crashed"
    assert train(tiny(), tmp_path, resume="a", show=False) == "completed"
    assert losses_of(events_of(tmp_path, "a")) == losses_of(events_of(trained, "done"))


def refused(root: Path, **arguments: Any) -> str:
    with pytest.raises(UserError) as caught:
        train(tiny(), root, show=False, **arguments)
    return str(caught.value)


def test_runs_that_cannot_be_resumed_say_why_and_stay_as_they_were(tmp_path: Path, at_step: At) -> None:
    train(tiny(epochs=2), tmp_path, "a", show=False)
    folder = RunFolder(tmp_path, "a")
    assert "train it longer with: facegender train --resume=a --epochs=4" in refused(tmp_path, resume="a")
    assert "--batch-size cannot change" in refused(tmp_path, resume="a", changes={"batch_size": 8, "epochs": 5})
    assert "no run b" in refused(tmp_path, resume="b")
    assert "exclude each other" in refused(tmp_path, resume="a", run="c")
    folder.last_checkpoint.write_bytes(b"not a checkpoint")
    assert "last.ckpt is no checkpoint" in refused(tmp_path, resume="a", changes={"epochs": 5})
    assert folder.state() == "completed"
    folder.last_checkpoint.unlink()
    assert "no last.ckpt" in refused(tmp_path, resume="a", changes={"epochs": 5})
    manifest = folder.read_manifest()
    assert manifest is not None
    folder.lock.acquire()
    lines = folder.journal_path.read_bytes().splitlines(keepends=True)
    folder.journal_path.write_bytes(b"".join(lines[:-1]))
    assert "stop it first" in refused(tmp_path, resume="a")


def test_a_run_killed_between_its_first_best_and_last_checkpoint_begins_again(tmp_path: Path) -> None:
    train(tiny(epochs=1), tmp_path, "a", show=False)
    folder = RunFolder(tmp_path, "a")
    lines = folder.journal_path.read_bytes().splitlines(keepends=True)
    (best,) = (number for number, line in enumerate(lines) if b'"best.ckpt"' in line)
    folder.journal_path.write_bytes(b"".join(lines[: best + 1]))
    folder.last_checkpoint.unlink()
    assert train(tiny(), tmp_path, resume="a", show=False) == "completed"


def no_connection(self: FaceDataModule) -> Any:
    raise RuntimeError("NCCL error: unhandled system error, connection refused")


def full_gpu(*arguments: Any) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def no_memory(path: Path) -> None:
    raise MemoryError


@pytest.mark.parametrize(
    ("name", "fault", "line"),
    [
        ("facegender.data.datamodule.FaceDataModule.train_dataloader", no_connection, "RuntimeError: NCCL error"),
        (
            "pytorch_lightning.strategies.SingleDeviceStrategy.load_optimizer_state_dict",
            full_gpu,
            "out of memory: lower",
        ),
        ("pytorch_lightning.strategies.SingleDeviceStrategy.model_to_device", full_gpu, "out of memory: lower"),
        ("facegender.training.resume.read_checkpoint", no_memory, "out of memory: lower"),
    ],
    ids=["connection refused", "full GPU while the checkpoint is restored", "full GPU", "no memory"],
)
def test_what_the_machine_refuses_before_the_first_batch_is_not_blamed_on_the_checkpoint(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    name: str,
    fault: Any,
    line: str,
) -> None:
    train(tiny(epochs=1), tmp_path, "a", show=False)
    before = RunFolder(tmp_path, "a").last_checkpoint.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(name, fault)
        assert train(tiny(), tmp_path, resume="a", changes={"epochs": 2}, show=False) == "failed"
    (error,) = capfd.readouterr().err.splitlines()
    assert error.startswith(f"facegender: run a failed: {line}")
    assert RunFolder(tmp_path, "a").last_checkpoint.read_bytes() == before
    assert train(tiny(), tmp_path, resume="a", show=False) == "completed"


def test_a_disk_that_does_not_return_the_checkpoint_is_not_blamed_on_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny(epochs=1), tmp_path, "a", show=False)

    def fail(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr("facegender.training.resume.read_checkpoint", fail)
    message = refused(tmp_path, resume="a", changes={"epochs": 2})
    assert "last.ckpt cannot be read" in message
    assert "(Input/output error): check the disk and resume again" in message
    assert RunFolder(tmp_path, "a").state() == "completed"


def test_fewer_epochs_than_were_trained_are_refused(tmp_path: Path, at_step: At) -> None:
    at_step(STEPS_PER_EPOCH, terminate)
    train(tiny(), tmp_path, "a", show=False)
    assert "has trained 1 epoch already" in refused(tmp_path, resume="a", changes={"epochs": 1})
    assert RunFolder(tmp_path, "a").state() == "stopped"


def test_a_failure_is_one_line_and_its_traceback_is_in_the_log_only(
    tmp_path: Path, at_step: At, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ValueError("the moon\nis full")

    at_step(5, fail)
    assert train(tiny(), tmp_path, "a", show=False) == "failed"
    folder = RunFolder(tmp_path, "a")
    last = events_of(tmp_path, "a")[-1]
    assert isinstance(last, RunFinished)
    assert (last.status, last.error) == ("failed", "ValueError: the moon is full")
    captured = capfd.readouterr()
    assert captured.err.splitlines() == ["facegender: run a failed: ValueError: the moon is full"]
    assert captured.out == ""
    assert "Traceback" in folder.log_path.read_text()
    assert folder.state() == "failed"


def test_a_second_interrupt_ends_at_once_and_says_that_nothing_was_saved(
    tmp_path: Path, at_step: At, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    at_step(STEPS_PER_EPOCH + 1, interrupt)
    assert train(tiny(), tmp_path, "a", show=False) == "failed"
    assert "interrupted twice" in capfd.readouterr().err
    assert sorted(losses_of(events_of(tmp_path, "a"))) == [1, 2, 3, 4, 5]
    assert signal.getsignal(signal.SIGINT) == before


def test_a_stop_request_while_photographs_are_prepared_is_obeyed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path, "a")

    def prepare(self: FaceDataModule) -> None:
        folder.request_stop()
        until = time.monotonic() + 60
        while time.monotonic() < until:
            time.sleep(0.01)

    monkeypatch.setattr(FaceDataModule, "prepare", prepare)
    assert train(tiny(), tmp_path, "a", show=False) == "stopped"
    assert folder.state() == "stopped"
    assert not folder.stop_requested()


def test_a_stop_request_from_before_the_trainer_began_is_obeyed(tmp_path: Path, at_step: At) -> None:
    at_step(0, lambda: pytest.fail("was trained"))
    folder = create_run(tmp_path, "a")
    folder.log_path.touch()
    folder.request_stop()
    assert train(tiny(), tmp_path, "a", show=False) == "stopped"
    events = events_of(tmp_path, "a")
    assert isinstance(events[-1], RunFinished)
    assert events[-1].status == folder.state() == "stopped"
    assert not folder.stop_requested()
    assert not folder.lock.is_held_by_other()
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert notices[-1].endswith("resuming starts from the beginning")


def test_a_run_that_ends_waits_for_a_stuck_disk_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr(FrameThread, "close", lambda self, timeout_s=60.0: closed.append(timeout_s))
    folder = create_run(tmp_path, "a")
    folder.request_stop()
    assert train(tiny(), tmp_path, "a", show=False) == "stopped"
    assert len(closed) == 1


def test_a_log_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    folder = create_run(tmp_path, "a")
    folder.log_path.mkdir()
    with pytest.raises(UserError, match=r"train\.log \(Is a directory\): move it away"):
        train(tiny(), tmp_path, "a", show=False)
    assert not folder.lock.is_held_by_other()


def test_a_trainer_holds_its_lock_while_it_trains(tmp_path: Path, at_step: At) -> None:
    refusals = []
    at_step(1, lambda: refusals.append(refused(tmp_path, resume="a")))
    assert train(tiny(epochs=1), tmp_path, "a", show=False) == "completed"
    assert "is training right now: stop it first" in refusals[0]
    assert not RunFolder(tmp_path, "a").lock.is_held_by_other()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_says_what_to_lower(
    tmp_path: Path, at_step: At, capfd: pytest.CaptureFixture[str], error: Exception
) -> None:
    def fail() -> None:
        raise error

    at_step(0, fail)
    assert train(tiny(), tmp_path, "a", show=False) == "failed"
    assert "out of memory: lower --batch-size or --image-size" in capfd.readouterr().err


def test_a_failed_run_can_be_resumed(tmp_path: Path, trained: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        original = FaceGenderModule.training_step

        def training_step(self: FaceGenderModule, batch: Any, batch_idx: int) -> Any:
            if self.global_step == 6:
                raise ValueError("once")
            return original(self, batch, batch_idx)

        patch.setattr(FaceGenderModule, "training_step", training_step)
        assert train(tiny(), tmp_path, "a", show=False) == "failed"
    assert train(tiny(), tmp_path, resume="a", show=False) == "completed"
    assert losses_of(events_of(tmp_path, "a")) == losses_of(events_of(trained, "done"))


def test_bad_data_leaves_no_folder_behind_unless_somebody_made_it_before(tmp_path: Path) -> None:
    config = tiny(demo=False, data=str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="no such folder"):
        train(config, tmp_path, "a", show=False)
    assert not RunFolder(tmp_path, "a").path.exists()
    folder = create_run(tmp_path, "b")
    folder.log_path.touch()
    with pytest.raises(UserError, match="no such folder"):
        train(config, tmp_path, "b", show=False)
    last = events_of(tmp_path, "b")[-1]
    assert isinstance(last, RunFinished)
    assert last.status == "failed"
    assert "no such folder" in last.error


def test_half_precision_on_a_processor_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--precision 16 needs an NVIDIA GPU"):
        train(tiny(precision="16"), tmp_path, "a", show=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_devices_that_are_not_there_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--accelerator cuda") as caught:
        train(tiny(accelerator="cuda"), tmp_path, "a", show=False)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_that_cannot_be_saved_keeps_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = torch.save

    def save(content: Any, path: Any) -> None:
        original(content, path)
        if content["epoch"] == 1:
            raise RuntimeError("PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", save)
    assert train(tiny(epochs=2), tmp_path, "a", show=False) == "failed"
    folder = RunFolder(tmp_path, "a")
    assert torch.load(folder.last_checkpoint, weights_only=True)["epoch"] == 0
    assert not [path for path in folder.path.iterdir() if path.name.endswith(".tmp")]
    assert any("could not be saved" in event.text for event in events_of(tmp_path, "a") if "notice" in kinds([event]))  # type: ignore[union-attr]


def test_a_checkpoint_is_on_the_disk_before_it_replaces_the_one_before_and_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str, bool]] = []
    fsync, replace, write = os.fsync, Path.replace, JournalWriter.write

    def note(what: str, name: str) -> None:
        done.append(
            (what, name.removeprefix(".").partition(".ckpt")[0], threading.current_thread().name == "MainThread")
        )

    def noted_fsync(descriptor: int) -> None:
        note("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        note("replace", target.name)
        return replace(self, target)

    def noted_write(self: JournalWriter, *events: Event) -> None:
        for event in events:
            if isinstance(event, CheckpointSaved):
                note("announce", event.file)
        write(self, *events)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    monkeypatch.setattr(JournalWriter, "write", noted_write)
    assert train(tiny(epochs=1, visualize_every=0), tmp_path, "a", show=False) == "completed"
    for name in ("best", "last"):
        steps = [(what, in_main) for what, file, in_main in done if file == name]
        assert steps == [("fsync", False), ("replace", False), ("announce", False)]
    folder_flushes = [index for index, (what, name, _) in enumerate(done) if (what, name) == ("fsync", "a")]
    assert any(done[index - 1][:2] == ("replace", "last") for index in folder_flushes)


def test_a_stopped_run_says_how_to_resume_it_from_anywhere(
    tmp_path: Path, at_step: At, capfd: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "my runs"
    root.mkdir()
    at_step(1, terminate)
    assert train(tiny(), root, "a") == "stopped"
    (line,) = [line for line in capfd.readouterr().out.splitlines() if line.startswith("resume with: ")]
    words = shlex.split(line.removeprefix("resume with: "))
    assert words == ["facegender", "train", "--resume", "a", f"--root={root}"]
    assert run(words[1:]) == 0


def test_warnings_and_records_go_to_the_log(tmp_path: Path, at_step: At, capfd: pytest.CaptureFixture[str]) -> None:
    def speak() -> None:
        warnings.warn("a warning to keep", stacklevel=1)
        logging.getLogger("somebody").error("a record to keep")

    at_step(1, speak)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        train(tiny(epochs=1), tmp_path, "a", show=False)
    log = RunFolder(tmp_path, "a").log_path.read_text()
    assert "a warning to keep" in log
    assert "a record to keep" in log
    assert "to keep" not in capfd.readouterr().err


def test_without_a_terminal_each_epoch_is_one_plain_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert train(tiny(epochs=2), tmp_path, "a") == "completed"
    lines = capfd.readouterr().out.splitlines()
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert [line.split("  ")[0] for line in epochs] == ["epoch 1 of 2", "epoch 2 of 2"]
    assert all(" images/s" in line and "validation accuracy" in line for line in epochs)
    assert any(line.startswith("completed: 2 epochs, best validation accuracy") for line in lines)
    assert any(line.endswith("(2 epochs of feature maps; epoch_0 is epoch 1)") for line in lines)
    assert any(line.endswith("best.ckpt") for line in lines)
    assert epochs[0] in RunFolder(tmp_path, "a").log_path.read_text()
