"""``facegender mistakes``: its table, its lines of JSON and its picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import recorded
from PIL import Image

from facegender.__main__ import run as facegender
from facegender.rendering.contact_sheet import PHOTOGRAPH_PX, SheetEntry
from facegender.runs.config import TrainConfig
from facegender.runs.folder import RunFolder
from facegender.runs.photographs import Photographs, write_photographs
from facegender.runs.predictions import write_predictions

NAMES = ["female/a.png", "female/b.png", "male/\x1b[31mc.png", "male/d.png"]
LABELS = [0, 0, 1, 1]
OF_LABEL = [[0.3, 0.9, 0.1, 0.8], [0.6, 0.7, 0.2, 0.9]]
"""In two epochs."""


@pytest.fixture
def run(root: Path) -> RunFolder:
    """Two epochs of four photographs, one of which is missing on the disk."""
    data = root / "data"
    folder = recorded.write_run(root, end="completed", data=str(data), config=TrainConfig(data=str(data)))
    for name in NAMES[:3]:
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), (200, 0, 0)).save(data / name)
    write_photographs(folder, Photographs(NAMES, []))
    for epoch, of_label in enumerate(OF_LABEL):
        write_predictions(folder.predictions_path(epoch), recorded.predictions(of_label, LABELS, epoch))
    return folder


def called(run: RunFolder, *options: str) -> int:
    return facegender(["mistakes", run.name, "--root", str(run.root), *options])


def listed(run: RunFolder, capsys: pytest.CaptureFixture[str], *options: str) -> list[dict[str, object]]:
    assert called(run, "--json", *options) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_table_has_the_wrong_ones_first_and_no_control_characters(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(run) == 0
    title, _, *rows = capsys.readouterr().out.splitlines()
    assert title == "otter-3, epoch 2: 1 of 4 predictions are wrong"
    assert rows[0].split() == ["1", "wrong", "male", "female", "80.00%", "male/\ufffd[31mc.png"]
    assert [row.split()[1] for row in rows] == ["wrong", "correct", "correct", "correct"]
    assert rows[1].endswith("female/a.png")


def test_json_counts_epochs_from_0_and_lists_all(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    first, *others = listed(run, capsys, "--epoch", "1")
    assert first == {
        "epoch": 0, "index": 2, "file": "male/\ufffd[31mc.png", "label": "male", "predicted": "female", "wrong": True,
        "probability": pytest.approx(0.9), "label_probability": pytest.approx(0.1),
    }  # fmt: skip
    assert [one["index"] for one in others] == [0, 3, 1]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--against", "1"], [0]),
        (["--never-correct"], [2]),
        (["--cell", "female:male", "--epoch", "1"], [0]),
        (["--cell", "male:male"], [3]),
        (["--first", "2"], [2, 0]),
    ],
)
def test_the_filters(
    run: RunFolder, capsys: pytest.CaptureFixture[str], options: list[str], expected: list[int]
) -> None:
    assert [one["index"] for one in listed(run, capsys, *options)] == expected


def test_the_gallery_is_a_picture_also_where_a_photograph_is_gone(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(run, "--gallery", str(tmp_path / "g.png")) == 0
    assert "4 of 4 photographs" in capsys.readouterr().out
    with Image.open(tmp_path / "g.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert picture.width > 4 * 150
    assert (np.abs(pixels - [200, 0, 0]).max(2) < 9).sum() == pytest.approx(3 * 150 * 100, rel=0.05)


def test_the_gallery_holds_no_whole_photographs(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (900, 600)).save(tmp_path / "data" / NAMES[0])
    drawn: list[Image.Image] = []

    def draw(title: str, entries: Sequence[SheetEntry]) -> Image.Image:
        drawn.extend(entry.photograph for entry in entries if entry.photograph is not None)
        return Image.new("RGB", (8, 8))

    monkeypatch.setattr("facegender.rendering.contact_sheet.contact_sheet", draw)
    assert called(run, "--gallery", str(tmp_path / "sheet.png")) == 0
    assert {photograph.size for photograph in drawn} == {(PHOTOGRAPH_PX, 100)}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--epoch", "9"], "has no predictions of epoch 9; it has those of 1, 2"),
        (["--against", "9"], "has no predictions of epoch 9"),
        (["--cell", "female"], "give LABEL:PREDICTED, two of the classes female, male"),
        (["--gallery", "a.jpg"], "a file that ends in .png"),
        (["--gallery", "a.png", "--json"], "exclude each other"),
        (["--gallery", "/nowhere/a.png"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    run: RunFolder, capsys: pytest.CaptureFixture[str], options: list[str], error: str
) -> None:
    assert called(run, *options) == 2
    captured = capsys.readouterr().err
    assert error in captured
    assert captured.count("\n") == 1


def test_a_run_without_predictions_and_one_without_a_list_of_files(
    run: RunFolder, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.photographs_path.unlink()
    assert called(run) == 0
    assert "number 3" in capsys.readouterr().out
    assert called(run, "--gallery", "a.png") == 2
    assert "has no list of its validation photographs" in capsys.readouterr().err
    assert called(recorded.write_run(root, "older", end="completed")) == 2
    assert "has no predictions" in capsys.readouterr().err
