"""Runs that are killed in the middle of something, and go on as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy

from facegender.__main__ import run
from facegender.data.demo.faces import write_demo_faces
from facegender.runs.events import (
    AnyEvent,
    CheckpointSaved,
    EpochFinished,
    FrameSaved,
    Notice,
    PredictionsSaved,
    RunFinished,
    RunStarted,
    encode,
)
from facegender.runs.folder import INITIAL, RunFolder
from facegender.training.run import train
from tests.ml.conftest import STEPS_PER_EPOCH, events_of, losses_of, predictions_of, tiny

KILLED_RUN = """
import os, signal, sys, time
from pathlib import Path
import torch
from facegender.network.module import FaceGenderModule
from facegender.runs.folder import RunFolder
from facegender.runs.journal import JournalWriter
from facegender.training.threads import frames
from facegender.training.run import train
from tests.ml.conftest import tiny

torch.set_num_threads(1)
where, root = sys.argv[1], Path(sys.argv[2])

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def dying(original, when, write):
    def replacement(*arguments, **options):
        if when(*arguments):
            write(*arguments)
            die()
        return original(*arguments, **options)
    return replacement

def half(content, file):
    file.write(b"half")
    file.flush()

def wait_until_saved(epoch):
    while b'"file":"last.ckpt","epoch":%d' % epoch not in RunFolder(root, "a").journal_path.read_bytes():
        time.sleep(0.01)

if where == "step":
    FaceGenderModule.training_step = dying(
        FaceGenderModule.training_step, lambda self, *_: self.global_step == 6, lambda *_: wait_until_saved(0))
elif where == "first epoch":
    FaceGenderModule.training_step = dying(
        FaceGenderModule.training_step, lambda self, *_: self.global_step == 2, lambda *_: None)
elif where == "checkpoint":
    torch.save = dying(torch.save, lambda content, file: content["epoch"] == 1 and "last" in file.name, half)
elif where == "frame":
    def half_a_picture(path, picture):
        wait_until_saved(1)
        path.with_name(f".{path.name}.1.tmp").write_bytes(b"half")
    frames.write_png = dying(frames.write_png, lambda path, picture: path.name == "epoch_1.png", half_a_picture)
    def training_step(self, *arguments, original=FaceGenderModule.training_step):
        while self.global_step == 8:  # the epoch after that frame's waits for its end
            pass
        return original(self, *arguments)
    FaceGenderModule.training_step = training_step
elif where == "journal":
    last = RunFolder(root, "a").last_checkpoint
    JournalWriter.write = dying(
        JournalWriter.write, lambda self, event: getattr(event, "epoch", 0) == 1 and last.exists(),
        lambda self, event: self._file.write(b'{"type":"st'))
train(tiny(), root, "a", show=False)
"""


def kill(where: str, root: Path) -> RunFolder:
    repository = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    line = [sys.executable, "-c", KILLED_RUN, where, str(root)]
    done = subprocess.run(line, env=environment, timeout=120, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return RunFolder(root, "a")


def epochs(events: list[Any]) -> dict[int, tuple[Any, ...]]:
    return {
        e.epoch: (e.step, e.train_loss, e.train_accuracy, e.validation_loss, e.confusion, e.learning_rate, e.best)
        for e in events
        if isinstance(e, EpochFinished)
    }


def predictions_of_both(root: Path, trained: Path) -> list[list[dict[str, Any]]]:
    """What all epochs of a run and of the uninterrupted one predicted, as plain values and arrays."""
    runs = predictions_of(root, "a"), predictions_of(trained, "done")
    return [list(map(msgspec.structs.asdict, predictions)) for predictions in runs]


@pytest.mark.parametrize(
    ("where", "goes_on_at"), [("step", 1), ("checkpoint", 1), ("frame", 2), ("journal", 1), ("first epoch", 0)]
)
def test_killed_and_resumed_is_the_same_as_uninterrupted(
    tmp_path: Path, trained: Path, where: str, goes_on_at: int
) -> None:
    folder = kill(where, tmp_path)
    assert folder.state() == "crashed"
    assert train(tiny(), tmp_path, resume="a", show=False) == "completed"

    straight, resumed = events_of(trained, "done"), events_of(tmp_path, "a")
    assert losses_of(resumed) == losses_of(straight)
    assert epochs(resumed) == epochs(straight)
    assert [e.start_epoch for e in resumed if isinstance(e, RunStarted)][-1] == goes_on_at
    assert {e.epoch for e in resumed if isinstance(e, FrameSaved)} - {INITIAL} == {0, 1, 2}
    expected = torch.load(RunFolder(trained, "done").last_checkpoint, weights_only=True)["state_dict"]
    found = torch.load(folder.last_checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(value, expected[name]) for name, value in found.items())

    # Nothing half-written is left, and what a frame that was made again shows is what it would have shown.
    assert {path.name for path in folder.path.iterdir()} == {
        path.name for path in RunFolder(trained, "done").path.iterdir()
    }
    for path in RunFolder(trained, "done").visuals.glob("epoch_*.png"):
        assert (folder.visuals / path.name).read_bytes() == path.read_bytes()
    np.testing.assert_equal(*predictions_of_both(tmp_path, trained))
    assert len(list(folder.visuals.glob("[!i]*"))) == 12


def crash(root: Path, keep: Callable[[AnyEvent], bool]) -> RunFolder:
    """Make the completed run "a" look as if its process had been killed after its last checkpoint.

    Args:
        keep: Tells which lines had reached the journal by then.
    """
    folder = RunFolder(root, "a")
    events = [event for event in events_of(root, "a") if keep(event)]
    folder.journal_path.write_bytes(b"".join(map(encode, events)))
    assert folder.state() == "crashed"
    return folder


LOST: dict[str, Callable[[AnyEvent], bool]] = {
    "how it ended": lambda event: isinstance(event, RunFinished),
    "the last frame and the last predictions": lambda event: (
        isinstance(event, RunFinished) or (isinstance(event, FrameSaved | PredictionsSaved) and event.epoch == 2)
    ),
    "all about the last epoch": lambda event: (
        isinstance(event, RunFinished)
        or (isinstance(event, FrameSaved | PredictionsSaved | EpochFinished | CheckpointSaved) and event.epoch == 2)
    ),
}


@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
def test_a_run_that_was_killed_after_its_last_checkpoint_is_completed_without_training(
    tmp_path: Path, trained: Path, lost: Callable[[AnyEvent], bool], at_step: Any
) -> None:
    assert train(tiny(), tmp_path, "a", show=False) == "completed"
    folder = crash(tmp_path, lambda event: not lost(event))
    if lost is not LOST["how it ended"]:
        for path in folder.visuals.glob("epoch_2[._]*"):
            path.unlink()
    checkpoint = folder.last_checkpoint.read_bytes()
    at_step(3 * STEPS_PER_EPOCH, lambda: pytest.fail("was trained"))
    assert run(["train", "--resume", "a", "--root", str(tmp_path)]) == 0

    assert folder.state() == "completed"
    straight, resumed = events_of(trained, "done"), events_of(tmp_path, "a")
    assert epochs(resumed) == epochs(straight)
    assert sorted(e.epoch for e in resumed if isinstance(e, FrameSaved)) == [INITIAL, 0, 1, 2]
    assert sorted((e.file, e.epoch) for e in resumed if isinstance(e, CheckpointSaved)) == sorted(
        (e.file, e.epoch) for e in straight if isinstance(e, CheckpointSaved)
    )
    assert folder.last_checkpoint.read_bytes() == checkpoint
    for path in RunFolder(trained, "done").visuals.glob("epoch_*.png"):
        assert (folder.visuals / path.name).read_bytes() == path.read_bytes()
    np.testing.assert_equal(*predictions_of_both(tmp_path, trained))
    assert run(["train", "--resume", "a", "--root", str(tmp_path)]) == 2  # it has completed, and there is nothing to do


def test_a_run_that_lacks_only_its_last_line_is_completed_without_its_photographs(tmp_path: Path) -> None:
    write_demo_faces(tmp_path / "faces", 10, 32, 1)
    config = tiny(demo=False, data=str(tmp_path / "faces"), epochs=1)
    assert train(config, tmp_path, "a", show=False) == "completed"
    crash(tmp_path, lambda event: not isinstance(event, RunFinished))
    shutil.rmtree(tmp_path / "faces")
    assert train(tiny(), tmp_path, resume="a", show=False) == "completed"


def test_a_run_that_was_killed_when_its_patience_was_over_is_completed(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        planned = iter([0.9, 0.5, 0.5])
        patch.setattr(MulticlassAccuracy, "compute", lambda self: torch.tensor(next(planned)))
        assert train(tiny(epochs=9, patience=2, visualize_every=5), tmp_path, "a", show=False) == "completed"
    lost = (RunFinished, FrameSaved)
    folder = crash(tmp_path, lambda event: not (isinstance(event, lost) and getattr(event, "epoch", 2) == 2))
    for path in folder.visuals.glob("epoch_2*"):
        path.unlink()
    assert train(tiny(), tmp_path, resume="a", show=False) == "completed"
    assert folder.frame_epochs() == [INITIAL, 0, 2]


def test_an_epoch_that_a_crash_has_kept_from_the_journal_is_reported_when_the_run_resumes(
    tmp_path: Path, trained: Path
) -> None:
    assert train(tiny(epochs=2), tmp_path, "a", show=False) == "completed"
    folder = crash(tmp_path, lambda event: not isinstance(event, RunFinished) and getattr(event, "epoch", 0) < 1)
    manifest = folder.read_manifest()
    assert manifest is not None
    folder.write_manifest(msgspec.structs.replace(manifest, config=tiny()))
    assert train(tiny(), tmp_path, resume="a", show=False) == "completed"
    assert epochs(events_of(tmp_path, "a")) == epochs(events_of(trained, "done"))


def test_predictions_that_neither_a_file_nor_the_checkpoint_has_are_a_notice(tmp_path: Path) -> None:
    assert train(tiny(), tmp_path, "a", show=False) == "completed"

    def kept(event: AnyEvent) -> bool:
        return not isinstance(event, RunFinished | PredictionsSaved) or getattr(event, "epoch", 1) == 0

    folder = crash(tmp_path, kept)
    for epoch in (1, 2):
        folder.predictions_path(epoch).unlink()
    assert train(tiny(), tmp_path, resume="a", show=False) == "completed"
    assert folder.prediction_epochs() == [0, 2]
    texts = [event.text for event in events_of(tmp_path, "a") if isinstance(event, Notice)]
    assert "the predictions of epoch 2 are missing: they had not been written when the run ended" in texts


def test_a_run_that_had_saved_nothing_says_that_it_begins_again(tmp_path: Path) -> None:
    kill("first epoch", tmp_path)
    assert train(tiny(), tmp_path, resume="a", changes={"epochs": 1}, show=False) == "completed"
    texts = [event.text for event in events_of(tmp_path, "a") if isinstance(event, Notice)]
    assert "nothing was saved: beginning again; the run had crashed" in texts


def test_a_signal_after_the_run_has_ended_changes_nothing(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "facegender", "train", "--demo", "--demo-faces=10", "--image-size=32", "--widths=4,8,8",
         "--epochs=1", "--accelerator=cpu", "--run=a", f"--root={tmp_path}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    journal = RunFolder(tmp_path, "a").journal_path
    end = time.monotonic() + 120
    while not (journal.exists() and b'"run_finished"' in journal.read_bytes()):
        assert time.monotonic() < end
        time.sleep(0.02)
    while child.poll() is None:
        child.terminate()
        time.sleep(0.01)
    assert child.returncode == 0
