"""Checkpoints that somebody else made, or something has damaged: one line, and everything stays as it was."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from PIL import Image

from facegender.__main__ import run
from facegender.classifier import load_classifier
from facegender.network.checkpoint_file import DamagedCheckpoint, read_checkpoint
from facegender.runs.folder import RunFolder
from facegender.runs.lock import Process
from facegender.support.errors import UserError
from facegender.training.run import train
from facegender.training.stop import StopSwitch
from tests.ml.conftest import STEPS_PER_EPOCH, tiny

Capture = pytest.CaptureFixture[str]
Spoil = Callable[[Any], Any]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the run "a", which was stopped in its second epoch."""
    root = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        asked = iter([False] * STEPS_PER_EPOCH + [True])
        requested = property(lambda self: next(asked, True), lambda self, value: None)
        patch.setattr(StopSwitch, "requested", requested, raising=False)
        assert train(tiny(), root, "a", show=False) == "stopped"
    return root


def put(*path: Any, value: Any) -> Spoil:
    """Puts a value somewhere into a checkpoint; `DROP` takes out what is there."""

    def spoil(checkpoint: Any) -> None:
        *above, last = path
        for key in above:
            checkpoint = checkpoint[key]
        if value is DROP:
            del checkpoint[last]
        else:
            checkpoint[last] = value

    return spoil


DROP = object()
STOPPING = ("callbacks", "EarlyStopping")
OPTIMISER = ("optimizer_states", 0)

SPOILED = {
    "no place": put("resume_at", value=DROP),
    "place of strings": put("resume_at", value={"epoch": "1", "batch": "1"}),
    "negative epoch": put("resume_at", "epoch", value=-1),
    "negative batch": put("resume_at", "batch", value=-1),
    "epoch of a float": put("resume_at", "epoch", value=1.0),
    "epoch of a truth": put("resume_at", "epoch", value=True),
    "nan epoch": put("resume_at", "epoch", value=float("nan")),
    "huge epoch": put("resume_at", "epoch", value=10**30),
    "another epoch": put("resume_at", "epoch", value=0),
    "huge batch": put("resume_at", "batch", value=10**6),
    "place is a list": put("resume_at", value=[1, 1]),
    "no step": put("global_step", value=DROP),
    "step of a string": put("global_step", value="five\x1b[2J"),
    "no weights": put("state_dict", value=DROP),
    "weights of a string": put("state_dict", value="weights"),
    "a weight less": put("state_dict", "network.conv1.weight", value=DROP),
    "a weight of a string": put("state_dict", "network.conv1.weight", value="w"),
    "another width": put("state_dict", "network.conv1.weight", value=torch.zeros(5, 3, 7, 7)),
    "another kind": put("state_dict", "network.conv1.weight", value=torch.zeros(4, 3, 7, 7, dtype=torch.int64)),
    "another number of classes": put("state_dict", "network.fc2.bias", value=torch.zeros(3)),
    "huge": put("state_dict", "network.conv1.weight", value=torch.zeros(1).expand(2**40)),
    "no optimiser": put("optimizer_states", value=DROP),
    "no state of the optimiser": put("optimizer_states", value=[]),
    "optimiser of strings": put(*OPTIMISER, value={"state": "x", "param_groups": "y"}),
    "moments of another shape": put(*OPTIMISER, "state", 0, "exp_avg", value=torch.zeros(2)),
    "moments of strings": put(*OPTIMISER, "state", 0, "exp_avg", value="x"),
    "moments missing": put(*OPTIMISER, "state", 0, value={}),
    "rate of a string": put(*OPTIMISER, "param_groups", 0, "lr", value="fast"),
    "no rate": put(*OPTIMISER, "param_groups", 0, "lr", value=DROP),
    "nan rate": put(*OPTIMISER, "param_groups", 0, "lr", value=float("nan")),
    "other parameters": put(*OPTIMISER, "param_groups", 0, "params", value=[0, 1]),
    "no schedule": put("lr_schedulers", value=[]),
    "schedule of strings": put("lr_schedulers", 0, "base_lrs", value=["x"]),
    "no loops": put("loops", value=DROP),
    "loops of strings": put("loops", "fit_loop", value="x"),
    "loops that are done": put("loops", "fit_loop", "epoch_progress", "current", "completed", value=10**6),
    "progress of strings": put("loops", "fit_loop", "epoch_progress", "current", value={"ready": "x"}),
    "a negative count": put("loops", "fit_loop", "epoch_progress", "current", "ready", value=-5),
    "a count of a string": put("loops", "fit_loop", "epoch_progress", "total", "ready", value="x"),
    "no callbacks": put("callbacks", value=DROP),
    "callbacks of strings": put("callbacks", value="x"),
    "best of a string": put(*STOPPING, "best_score", value="0.9"),
    "patience of a string": put(*STOPPING, "wait_count", value="1"),
    "no early stopping and no predecessor of it": put(*STOPPING, value=DROP),
    "devices that are no count": put("resume_at", "devices", value=-1),
    "sums of strings": put("epoch_so_far", value=["a", "b", "c"]),
    "too few sums": put("epoch_so_far", value=[1.0]),
    "no sums": put("epoch_so_far", value=DROP),
    "no version": put("pytorch-lightning_version", value=DROP),
    "version of a number": put("pytorch-lightning_version", value=3),
}


def refuse(root: Path, capsys: Capture) -> None:
    """Resuming gives one safe line and leaves the run as it was, but for a notice in its journal."""
    folder = RunFolder(root, "a")
    kept = [path for path in folder.path.iterdir() if path.name not in ("events.jsonl", "train.log", "lock")]
    before = {path.name: path.read_bytes() for path in kept}
    state, journal = folder.state(), folder.journal_path.read_bytes()
    capsys.readouterr()
    assert run(["train", "--resume", "a", "--root", str(root)]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("facegender: ")
    assert line.isprintable()
    assert len(line) < 400
    after = [path for path in folder.path.iterdir() if path.name not in ("events.jsonl", "train.log", "lock")]
    assert {path.name: path.read_bytes() for path in after} == before
    assert folder.state() == state
    text = folder.journal_path.read_bytes()
    assert text.startswith(journal.rstrip(b"\n"))
    assert text.endswith(b"}\n")
    assert not folder.lock.is_held_by_other()


def copy_of(root: Path, target: Path) -> RunFolder:
    shutil.copytree(root, target, dirs_exist_ok=True)
    return RunFolder(target, "a")


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_a_checkpoint_that_makes_no_sense_is_refused_and_the_run_stays_stopped(
    stopped: Path, tmp_path: Path, capsys: Capture, spoil: Spoil
) -> None:
    folder = copy_of(stopped, tmp_path)
    checkpoint = torch.load(folder.last_checkpoint, weights_only=True)
    spoil(checkpoint)
    torch.save(checkpoint, folder.last_checkpoint)
    assert folder.state() == "stopped"
    refuse(tmp_path, capsys)


def test_a_value_that_only_training_uses_fails_the_run_in_one_line_and_keeps_the_checkpoint(
    stopped: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = copy_of(stopped, tmp_path)
    checkpoint = torch.load(folder.last_checkpoint, weights_only=True)
    checkpoint["lr_schedulers"][0]["step_size"] = "x"
    torch.save(checkpoint, folder.last_checkpoint)
    before = folder.last_checkpoint.read_bytes()
    assert run(["train", "--resume", "a", "--root", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("facegender: run a failed: TypeError")
    assert folder.last_checkpoint.read_bytes() == before


def test_the_unspoiled_checkpoint_is_resumed(stopped: Path, tmp_path: Path) -> None:
    folder = copy_of(stopped, tmp_path)
    checkpoint = torch.load(folder.last_checkpoint, weights_only=True)
    torch.save(checkpoint, folder.last_checkpoint)
    assert train(tiny(), tmp_path, resume="a", show=False) == "completed"


class Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("/nonexistent/evil"),))


def repacked(data: bytes, target: Path, compression: int, pickled: bytes = b"") -> None:
    target.with_suffix(".old").write_bytes(data)
    with zipfile.ZipFile(target.with_suffix(".old")) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, pickled if pickled and name.endswith("data.pkl") else old.read(name))
    target.with_suffix(".old").unlink()


DAMAGED: dict[str, Callable[[Path, bytes], Any]] = {
    "empty": lambda path, data: path.write_bytes(b""),
    "text": lambda path, data: path.write_bytes(b"not a checkpoint"),
    "half": lambda path, data: path.write_bytes(data[: len(data) // 2]),
    "its end missing": lambda path, data: path.write_bytes(data[:-10]),
    "zeros": lambda path, data: path.write_bytes(b"\0" * len(data)),
    "a pickle": lambda path, data: path.write_bytes(pickle.dumps({"resume_at": {"epoch": 1, "batch": 1}})),
    "an evil pickle": lambda path, data: path.write_bytes(pickle.dumps(Evil())),
    "an evil archive": lambda path, data: repacked(data, path, zipfile.ZIP_STORED, pickle.dumps(Evil(), 2)),
    "a bomb": lambda path, data: repacked(data, path, zipfile.ZIP_DEFLATED, b"\x80\x02]" + b"N0" * 50_000_000 + b"."),
    "old format": lambda path, data: torch.save({"a": 1}, path, _use_new_zipfile_serialization=False),
    "a tensor": lambda path, data: torch.save(torch.zeros(3), path),
    "a list": lambda path, data: torch.save([1, 2], path),
    "a sparse tensor": lambda path, data: torch.save({"a": torch.eye(3).to_sparse()}, path),
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_checkpoint_is_refused_and_a_crashed_run_stays_crashed(
    stopped: Path, tmp_path: Path, capsys: Capture, damage: Callable[[Path, bytes], Any]
) -> None:
    folder = copy_of(stopped, tmp_path)
    manifest = folder.read_manifest()
    assert manifest is not None
    gone = Process(pid=2**22 - 3, host=manifest.process.host)
    folder.write_manifest(msgspec.structs.replace(manifest, process=gone))
    lines = folder.journal_path.read_bytes().splitlines(keepends=True)
    folder.journal_path.write_bytes(b"".join(lines[:-1]))
    damage(folder.last_checkpoint, folder.last_checkpoint.read_bytes())
    assert folder.state() == "crashed"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning would be a second line at a terminal
        with pytest.raises(DamagedCheckpoint):
            read_checkpoint(folder.last_checkpoint)
    refuse(tmp_path, capsys)


@pytest.mark.parametrize(
    "classes",
    [[1, 2], ["female", "female"], ["female"], [], "xy\x00", ["a", ""], [None, "a"], ["a", "b" * 1000], {"a": 1}, 7],
)
def test_a_checkpoint_without_names_of_classes_is_refused(
    stopped: Path, tmp_path: Path, capsys: Capture, classes: Any
) -> None:
    checkpoint = torch.load(RunFolder(stopped, "a").last_checkpoint, weights_only=True)
    checkpoint["hyper_parameters"]["classes"] = classes
    torch.save(checkpoint, tmp_path / "x.ckpt")
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    for command in (["predict", str(tmp_path / "a.png"), "--checkpoint"], ["export"]):
        assert run([*command, str(tmp_path / "x.ckpt"), "--root", str(tmp_path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "not a checkpoint of this network" in line


def test_what_a_stranger_named_the_classes_and_the_files_cannot_control_a_terminal(
    stopped: Path, tmp_path: Path, capsys: Capture
) -> None:
    checkpoint = torch.load(RunFolder(stopped, "a").last_checkpoint, weights_only=True)
    checkpoint["hyper_parameters"]["classes"] = ["fe\x1b[2J\x9bmale\u202e", "ma\nle\x7f"]
    path = tmp_path / "x\x9b\u2028\x7f.ckpt"
    torch.save(checkpoint, path)
    Image.new("RGB", (40, 40)).save(tmp_path / "a\x1b\x9b\x7f\u202e\n.png")
    picture = str(tmp_path / "a\x1b\x9b\x7f\u202e\n.png")
    for form in ([], ["--json"], ["--csv"]):
        assert run(["predict", picture, picture, "--checkpoint", str(path), "--root", str(tmp_path), *form]) == 0
        out = capsys.readouterr().out
        assert all(line.isprintable() for line in out.splitlines() if line)
        if form == ["--json"]:
            assert json.loads(out.splitlines()[0])["file"] == picture
            assert json.loads(out.splitlines()[0])["checkpoint"] == str(path)
    assert run(["export", str(path), "--output", str(tmp_path / "x\x9b.pth"), "--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out.rstrip("\n").isprintable()


def test_a_pipe_in_the_place_of_a_checkpoint_holds_nobody_up(stopped: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy"
    shutil.copytree(stopped, copied)
    last = RunFolder(copied, "a").last_checkpoint
    last.unlink()
    os.mkfifo(last)
    with pytest.raises(UserError, match="no checkpoint to resume from"):
        train(tiny(), copied, resume="a", show=False)
    with pytest.raises(UserError, match="not a checkpoint"):
        load_classifier(last)
