"""Runs that are killed in the middle of something, and go on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from facegender.runs.events import EpochFinished, FrameSaved, Notice, RunStarted
from facegender.runs.folder import RunFolder
from facegender.training.run import train
from tests.ml.conftest import events_of, losses_of, tiny

KILLED_RUN = """
import os, signal, sys
from pathlib import Path
import torch
from facegender.network.module import FaceGenderModule
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

if where == "step":
    FaceGenderModule.training_step = dying(
        FaceGenderModule.training_step, lambda self, *_: self.global_step == 6, lambda *_: None)
elif where == "first epoch":
    FaceGenderModule.training_step = dying(
        FaceGenderModule.training_step, lambda self, *_: self.global_step == 2, lambda *_: None)
elif where == "checkpoint":
    torch.save = dying(torch.save, lambda content, file: content["epoch"] == 1 and "last" in file.name, half)
elif where == "frame":
    frames.write_png = dying(
        frames.write_png, lambda path, picture: path.name == "epoch_1.png",
        lambda path, picture: path.with_name(f".{path.name}.1.tmp").write_bytes(b"half"))
    def training_step(self, *arguments, original=FaceGenderModule.training_step):
        while self.global_step == 8:  # the epoch after that frame's waits for its end
            pass
        return original(self, *arguments)
    FaceGenderModule.training_step = training_step
elif where == "journal":
    JournalWriter.write = dying(
        JournalWriter.write, lambda self, event: getattr(event, "epoch", 0) == 1,
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
    assert {e.epoch for e in resumed if isinstance(e, FrameSaved)} == {0, 1, 2}
    expected = torch.load(RunFolder(trained, "done").last_checkpoint, weights_only=True)["state_dict"]
    found = torch.load(folder.last_checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(value, expected[name]) for name, value in found.items())

    # Nothing half-written is left, and what a frame that was made again shows is what it would have shown.
    assert {path.name for path in folder.path.iterdir()} == {
        path.name for path in RunFolder(trained, "done").path.iterdir()
    }
    for path in RunFolder(trained, "done").visuals.glob("*.png"):
        assert (folder.visuals / path.name).read_bytes() == path.read_bytes()
    assert len(list(folder.visuals.iterdir())) == 9


def test_a_run_that_had_saved_nothing_says_that_it_begins_again(tmp_path: Path) -> None:
    kill("first epoch", tmp_path)
    assert train(tiny(), tmp_path, resume="a", changes={"epochs": 1}, show=False) == "completed"
    texts = [event.text for event in events_of(tmp_path, "a") if isinstance(event, Notice)]
    assert "nothing was saved: beginning again; the run was crashed" in texts


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
