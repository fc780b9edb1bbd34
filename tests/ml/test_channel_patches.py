"""The photographs that excite a channel most: cut from the run's photographs by the classify process."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from facegender.__main__ import run
from facegender.channel_patches import PADDING, PHOTOGRAPH_PX, checkpoint_for
from facegender.classify_server import ClassifyServer
from facegender.data.demo.photograph import draw_demo_photograph
from facegender.runs.events import CheckpointSaved
from facegender.runs.folder import RunFolder
from facegender.runs.frames import Frame, LayerFrame, TopPatches, write_frame
from facegender.runs.patches import Patches, read_patches
from facegender.runs.protocol import Answer, ChannelRequest, Request
from tests import recorded

Capture = pytest.CaptureFixture[str]

NAMES = ["female/demo_00001.jpg", "male/demo_00000.jpg", "male/demo_00003.jpg"]
SIDE = 32
"""Of the photographs that the tiny network was trained on; conv1 sees 7 px at a stride of 2."""


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> RunFolder:
    """A run whose second epoch tells of three photographs that excite the first channel of conv1."""
    shutil.copytree(trained, tmp_path / "root")
    folder = RunFolder(tmp_path / "root", "done")
    write_top(folder, image=[2, 0, 1], at=[(8, 8), (0, 0), (15, 15)])
    write_names(folder, NAMES)
    return folder


def write_names(folder: RunFolder, names: list[str]) -> None:
    folder.photographs_path.unlink(missing_ok=True)
    folder.photographs_path.write_bytes(msgspec.json.encode({"validation": names, "train": []}))


def write_top(folder: RunFolder, image: list[int], at: list[tuple[int, int]]) -> None:
    """Write the frame of the second epoch; the lists are filled up as those of a run with few photographs."""
    empty = 9 - len(image)
    top = TopPatches(
        value=np.array([[*np.linspace(3, 1, len(image)), *[0] * empty]] * 4, np.float32),
        image=np.array([image + [-1] * empty] * 4, np.int32),
        at=np.array([at + [(0, 0)] * empty] * 4, np.int16),
    )
    random = np.random.default_rng(0)
    layer = LayerFrame(
        name="conv1",
        maps=random.random((1, 4, 16, 16), dtype=np.float32),
        filters=random.random((4, 3, 7, 7), dtype=np.float32),
        stats=np.zeros((1, 4, 5), np.float32),
        top=top,
    )
    frame = recorded.frame(1, probes=1)
    write_frame(folder.frame_path(1), msgspec.structs.replace(frame, layers=[layer], maps_of={"conv1": "conv1"}))
    assert isinstance(frame, Frame)


def answer_of(folder: RunFolder, epoch: int = 1, layer: str = "conv1", channel: int = 0) -> Answer:
    server = ClassifyServer(folder.root, folder.root / "frames")
    return server.answer(Request(id=5, run="done", patches=ChannelRequest(epoch=epoch, layer=layer, channel=channel)))


def patches_of(folder: RunFolder) -> Patches:
    answer = answer_of(folder)
    assert answer.ok, answer.error
    assert answer.id == 5
    return read_patches(Path(answer.frame))


def test_patches_are_what_the_channel_sees_of_each_photograph(folder: RunFolder) -> None:
    patches = patches_of(folder)
    assert patches.patches.shape == (3, 7, 7, 3)
    assert patches.photographs.shape == (3, PHOTOGRAPH_PX, PHOTOGRAPH_PX, 3)
    assert list(patches.names) == ["demo_00003.jpg", "demo_00001.jpg", "demo_00000.jpg"]
    assert list(patches.labels) == ["male", "female", "male"]
    assert patches.values.tolist() == [3, 2, 1]
    assert all(re.fullmatch(r"(female|male) \d+\.\d\d%", answer) for answer in patches.answers)
    manifest = folder.read_manifest()
    assert manifest is not None
    pixels = np.asarray(draw_demo_photograph(NAMES[2], SIDE, manifest.config.seed))
    # Row and column 8 at a stride of 2, with a padding of 3.
    assert np.array_equal(patches.patches[0], pixels[13:20, 13:20])
    scale = PHOTOGRAPH_PX / SIDE
    assert patches.boxes[0].tolist() == [round(13 * scale), round(13 * scale), round(20 * scale), round(20 * scale)]


def test_a_patch_at_the_edge_is_padded(folder: RunFolder) -> None:
    patches = patches_of(folder)
    assert (patches.patches[1][:3] == PADDING).all()
    assert (patches.patches[1][:, :3] == PADDING).all()
    assert patches.boxes[1].tolist() == [0, 0, 12, 12]
    assert patches.boxes[2].max() == PHOTOGRAPH_PX


def test_photographs_of_a_folder_are_read_by_their_names(folder: RunFolder, tmp_path: Path) -> None:
    as_photographs(folder, tmp_path / "faces")
    (tmp_path / "faces" / "female").mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (40, 60), (number, 100, 200)).save(tmp_path / "faces" / "female" / f"{number}.png")
    write_names(folder, [f"female/{number}.png" for number in range(3)])
    patches = patches_of(folder)
    assert patches.patches[0][3, 3].tolist() == [2, 100, 200]
    assert list(patches.names) == ["2.png", "0.png", "1.png"]


def as_photographs(folder: RunFolder, data: Path) -> None:
    """Make a run on demo faces one on photographs."""
    manifest = folder.read_manifest()
    assert manifest is not None
    config = msgspec.structs.replace(manifest.config, demo=False, data=str(data))
    folder.write_manifest(msgspec.structs.replace(manifest, config=config, data=str(data)))


def test_photographs_that_are_gone_are_named_with_their_folder(folder: RunFolder, tmp_path: Path) -> None:
    as_photographs(folder, tmp_path / "gone")
    answer = answer_of(folder)
    assert not answer.ok
    assert answer.error == (
        "male/demo_00003.jpg: no such file, as the folder is not there; "
        f"the photographs of run done were in {tmp_path / 'gone'}"
    )


@pytest.mark.parametrize("name", ["../../secret.png", "/etc/passwd"])
def test_names_that_lead_out_of_the_folder_are_refused(folder: RunFolder, tmp_path: Path, name: str) -> None:
    as_photographs(folder, tmp_path)
    write_names(folder, [name] * 3)
    assert "not a name below the folder of the photographs" in answer_of(folder).error


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda folder: folder.photographs_path.unlink(), "run done has no list of its photographs"),
        (lambda folder: folder.photographs_path.write_text("{}"), "photographs.json is missing or cannot be read"),
        (lambda folder: write_names(folder, ["female/demo_00001.jpg"]), "does not fit the pictures of epoch 2"),
        (lambda folder: write_names(folder, ["nobody.jpg"] * 3), "no demo face is named nobody.jpg"),
        (lambda folder: folder.frame_path(1).unlink(), "epoch_1.safetensors does not exist"),
        (lambda folder: write_top(folder, [], []), "does not fit the pictures of epoch 2"),
    ],
)
def test_what_is_missing_is_said_in_one_line(folder: RunFolder, change: object, error: str) -> None:
    assert callable(change)
    change(folder)
    answer = answer_of(folder)
    assert not answer.ok
    assert error in answer.error
    assert "\n" not in answer.error


def test_pictures_that_do_not_tell_what_excites_a_layer_say_so(folder: RunFolder) -> None:
    answer = answer_of(folder, layer="conv2")
    assert answer.error == "run done, epoch 2: top patches: not recorded in this epoch: look at another one"
    assert "epoch_1.safetensors" in answer_of(folder, channel=99).error


def test_the_checkpoint_of_the_epoch_answers_if_there_still_is_one(folder: RunFolder) -> None:
    recorded.append(folder, CheckpointSaved(time=2000.0, file="best.ckpt", epoch=1, step=8))
    assert checkpoint_for(folder, 1) == folder.best_checkpoint
    assert checkpoint_for(folder, 0) == folder.last_checkpoint


# In the shell


def test_show_writes_the_patches_with_value_label_and_answer(folder: RunFolder, capsys: Capture) -> None:
    target = folder.root / "top.png"
    arguments = ["show", "done", "--view", "top", "--epoch", "2", "--root", str(folder.root)]
    assert run([*arguments, "--output", str(target)]) == 0
    assert "done · epoch 2 · conv1 · top patches of channel 1" in capsys.readouterr().out
    with Image.open(target) as picture:
        assert picture.format == "PNG"
    assert run([*arguments, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert [(tile["label"], tile["high"]) for tile in row["tiles"]] == [
        ("demo_00003.jpg", 3), ("demo_00001.jpg", 2), ("demo_00000.jpg", 1),
    ]  # fmt: skip
    assert re.fullmatch(r"3 demo_00003.jpg: labelled male, predicted (fe)?male \d+\.\d\d%", row["notes"][0])


def test_show_says_in_one_line_why_there_are_no_patches(folder: RunFolder, capsys: Capture) -> None:
    arguments = ["show", "done", "--view", "top", "--root", str(folder.root)]
    assert run([*arguments, "--epoch", "2", "--output", "a.gif"]) == 2
    assert run([*arguments, "--output", "a.gif"]) == 2
    folder.photographs_path.unlink()
    assert run([*arguments, "--epoch", "2", "--json"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[1].endswith("--output a.gif: --view top has no GIF; write a .png")
    assert "run done has no list of its photographs" in lines[2]
    assert len(lines) == 3
