"""``facegender show``: a view of a layer in a terminal, as a file, or as numbers."""

from __future__ import annotations

import json
import os
import pty
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from msgspec import structs
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from facegender.__main__ import run
from facegender.cli.pictures import require_terminal
from facegender.rendering import view_options
from facegender.runs.folder import INITIAL, RunFolder
from facegender.runs.frames import write_frame
from facegender.support.errors import UserError
from tests import recorded
from tests.terminal import in_terminal

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return recorded.write_run(tmp_path)


def show(folder: RunFolder, *arguments: str) -> int:
    return run(["show", folder.name, *arguments, "--root", str(folder.root)])


def test_a_wrong_view_or_scale_is_answered_with_those_that_there_are(folder: RunFolder, capsys: Capture) -> None:
    for option, kind in (("--view", view_options.View), ("--scale", view_options.Scope)):
        assert show(folder, option, "other") == 2
        said = capsys.readouterr().err
        assert all(f"'{name}'" in said for name in get_args(kind))


def test_a_picture_is_written_and_its_title_printed(folder: RunFolder, tmp_path: Path, capsys: Capture) -> None:
    target = tmp_path / "a.png"
    assert show(folder, "--output", str(target)) == 0
    assert capsys.readouterr().out == f"{target}: otter-3 · epoch 3 (step 15) · conv1 · feature maps\n"
    with Image.open(target) as picture:
        assert picture.format == "PNG"


def test_a_gif_plays_all_epochs(folder: RunFolder, tmp_path: Path, capsys: Capture) -> None:
    assert show(folder, "--view", "filters", "--layer", "2", "--output", str(tmp_path / "a.gif")) == 0
    assert "3 epochs, the last is otter-3 · epoch 3 (step 15) · conv2 · filters" in capsys.readouterr().out
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 3


def test_the_numbers_count_from_0_and_have_scales_and_statistics(folder: RunFolder, capsys: Capture) -> None:
    arguments = ("--epoch", "2", "--layer", "conv3", "--channel", "4", "--probe", "2", "--json")
    assert show(folder, *arguments) == 0
    row = json.loads(capsys.readouterr().out)
    assert [row[name] for name in ("epoch", "layer", "channel", "probe", "view")] == [1, "conv3", 3, 1, "maps"]
    stats = recorded.frame(1).layers[2].stats[1, 3]
    (found,) = row["statistics"]
    assert found["channel"] == 3
    assert [found[name] for name in ("mean", "min", "max", "zero")] == pytest.approx(stats[[0, 2, 3, 4]].tolist())
    (tile,) = row["tiles"]
    assert (tile["label"], tile["low"], tile["high"]) == ("4", found["min"], found["max"])


def test_the_difference_is_to_the_first_epoch_unless_another_is_named(folder: RunFolder, capsys: Capture) -> None:
    assert show(folder, "--view", "difference", "--json") == 0
    assert json.loads(capsys.readouterr().out)["reference"] == 0
    assert show(folder, "--view", "difference", "--reference", "2", "--json") == 0
    assert json.loads(capsys.readouterr().out)["reference"] == 1
    write_frame(folder.frame_path(INITIAL), structs.replace(recorded.frame(0), epoch=INITIAL))
    assert show(folder, "--view", "difference", "--json") == 0
    assert json.loads(capsys.readouterr().out)["reference"] == INITIAL


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "standard output is not a terminal: write a file with --output picture.png"),
        (("--output", "a.jpg"), "--output a.jpg: give a file that ends in .png or .gif"),
        (("--output", "a.gif", "--epoch", "1"), "--epoch: a GIF plays all epochs; leave it out, or write a .png"),
        (("--output", "a.png", "--json"), "--json and --output exclude each other: give one of them"),
        (("--output", "/nowhere/a.png"), "--output /nowhere/a.png: cannot be written (No such file or directory)"),
        (("--json", "--epoch", "7"), "--epoch 7: run otter-3 has pictures of epochs 1 to 3"),
        (("--json", "--epoch", "0"), "--epoch 0: run otter-3 has pictures of epochs 1 to 3"),
        (("--json", "--view", "difference", "--reference", "3"), "--reference 3: is the shown epoch itself"),
        (("--json", "--view", "difference", "--reference", "9"), "--reference 9: run otter-3 has pictures of epochs"),
        (("--json", "--reference", "1"), "--reference belongs to --view difference: leave it out, or give that view"),
        (("--json", "--view", "difference", "--epoch", "1"), "run otter-3: there is no other epoch to"),
        (("--json", "--layer", "conv9"), "--layer conv9: run otter-3 has conv1 (1), conv2 (2), conv3 (3)"),
        (("--json", "--layer", "4"), "--layer 4: run otter-3 has conv1 (1), conv2 (2), conv3 (3)"),
        (("--json", "--layer", "a\x1b[2J"), "--layer a\ufffd[2J: run otter-3 has conv1 (1)"),
        (("--json", "--channel", "5"), "--channel 5: conv1 has 4 channels"),
        (("--json", "--view", "cam", "--channel", "3"), "--channel 3: with --view cam it is a class: female (1)"),
        (("--json", "--probe", "3"), "--probe 3: run otter-3 has 2 probe photographs"),
    ],
)  # fmt: skip
def test_what_does_not_exist_is_one_line_with_what_does(
    folder: RunFolder, capsys: Capture, arguments: tuple[str, ...], problem: str
) -> None:
    assert show(folder, *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(f"facegender: {problem}")


@pytest.mark.parametrize("name", ["maps/conv1", "maps/conv1/low", "stats/conv1", "probe/images", "probe/probabilities"])
@pytest.mark.parametrize("damage", [lambda tensor: tensor.astype(np.int16), lambda tensor: tensor.reshape(-1)])
def test_a_frame_whose_tensors_are_something_else_is_one_line(
    folder: RunFolder, capsys: Capture, name: str, damage: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
) -> None:
    rewrite(folder.frame_path(2), lambda tensors: tensors | {name: damage(tensors[name])})
    assert show(folder, "--json", "--view", "cam" if name == "probe/images" else "maps") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("facegender: run otter-3: epoch_2.safetensors cannot be read (has ")
    assert name in line


def test_a_frame_whose_channels_or_classes_contradict_each_other_is_one_line(
    folder: RunFolder, capsys: Capture
) -> None:
    for name in ("maps/conv1/low", "probe/probabilities"):
        write_frame(folder.frame_path(2), recorded.frame(2))
        rewrite(folder.frame_path(2), lambda tensors, name=name: tensors | {name: tensors[name][:, :1].copy()})
        assert show(folder, "--json") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "epoch_2.safetensors cannot be read (has " in line


def rewrite(path: Path, change: Callable[[dict[str, npt.NDArray[Any]]], dict[str, npt.NDArray[Any]]]) -> None:
    with safe_open(path, "numpy") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    save_file(change(tensors), path, metadata)


def test_a_terminal_without_a_size_is_one_line_with_a_remedy() -> None:
    other_end, terminal = pty.openpty()
    with (
        os.fdopen(terminal, "w") as stream,
        pytest.raises(UserError, match="its size: type `stty rows 24 columns 80`, or"),
    ):
        require_terminal(stream, "write a file")
    os.close(other_end)


def test_a_run_without_pictures_says_so(folder: RunFolder, capsys: Capture) -> None:
    shutil.rmtree(folder.visuals)
    assert show(folder, "--json") == 2
    assert "run otter-3 has no pictures yet: they are recorded when an epoch ends" in capsys.readouterr().err


def test_a_damaged_frame_is_one_line(folder: RunFolder, capsys: Capture) -> None:
    folder.frame_path(2).write_bytes(b"x" * 99)
    assert show(folder, "--json") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("facegender: run otter-3: epoch_2.safetensors cannot be read")


# In a terminal


@pytest.mark.parametrize(
    ("graphics", "sign"), [("halfblock", "▀".encode()), ("sixel", b"\x1bP"), ("kitty", b"\x1b_Ga=p")]
)
def test_the_picture_is_drawn_as_the_terminal_takes_it(folder: RunFolder, graphics: str, sign: bytes) -> None:
    code, out = in_terminal("show", folder.name, "--graphics", graphics, "--root", str(folder.root))
    assert code == 0, out
    assert sign in out
    assert b"\x1b[c" not in out  # the terminal was not asked
    text = out.decode()
    assert "otter-3 · epoch 3 (step 15) · conv1 · feature maps" in text
    assert "4 tiles, row by row; each tile on its own scale" in text


def test_a_terminal_that_does_not_answer_gets_half_blocks(folder: RunFolder) -> None:
    code, out = in_terminal("show", folder.name, "--root", str(folder.root))
    assert code == 0, out
    assert "▀".encode() in out
