"""Photographs as people have them. They are no part of the project; without them these tests are skipped."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from facegender.__main__ import run
from facegender.data.datamodule import FaceDataModule
from tests.ml.conftest import tiny


def verdict(expected: str, kind: str) -> str:
    """What the manifest of the awkward files says of one: "read", "refuse", or "" for either."""
    if "decompression-bomb" in kind:
        return "refuse"
    if "or " in expected or expected in ("library-dependent", "project decides") or "Pillow reads it" in expected:
        return ""
    return "read" if expected.startswith("readable") else "refuse"


def test_every_awkward_file_is_classified_or_refused_with_one_line(
    real_faces: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (real_faces / "odd" / "MANIFEST.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 90
    wrong = []
    for row in rows:
        code = run(["predict", str(real_faces / "odd" / row["path"]), "--root", str(trained)])
        captured = capsys.readouterr()
        out, err = captured.out.splitlines(), captured.err.splitlines()
        answered = len(err) == 1 and "run done, best.ckpt" in err[0]
        classified = code == 0 and len(out) == 3 and out[0].startswith("Predicted: ") and answered
        refused = code == 2 and not out and len(err) == 1 and Path(row["path"]).name in err[0] and err[0].isprintable()
        wanted = verdict(row["expected"], row["kind"])
        if not (classified or refused) or (wanted == "read" and refused) or (wanted == "refuse" and classified):
            wrong.append((row["path"], row["expected"], code, out, err))
    assert wrong == []


def test_a_folder_of_awkward_files_is_trained_on_without_those_that_cannot_be_read(
    real_faces: Path, tmp_path: Path
) -> None:
    data = FaceDataModule(tiny(demo=False, data=str(real_faces / "odd" / "made")), tmp_path)
    data.prepare()
    assert data.photos is not None
    skipped = {file.file: file.reason for file in data.skipped}
    assert skipped["female/Thumbs.db"] == "system file"
    assert skipped["female/empty.jpg"] == "empty file"
    assert all(name.isprintable() and reason.isprintable() for name, reason in skipped.items())
    found = [path for path in (real_faces / "odd" / "made").rglob("*") if path.is_file()]
    assert len(data.photos) + len(data.skipped) == len(found)


def test_the_photographs_are_split_by_class_without_a_duplicate_on_both_sides(real_faces: Path, tmp_path: Path) -> None:
    data = FaceDataModule(tiny(demo=False, data=str(real_faces / "dev")), tmp_path)
    data.prepare()
    decoded = data.photos
    assert decoded is not None
    assert data.skipped == []
    assert np.bincount(decoded.labels).tolist() == [1012, 1012]
    assert data.train_images == {"female": 810, "male": 810}
    assert data.validation_images == {"female": 202, "male": 202}
    assert data.notices == []
    sides: dict[str, set[str]] = {}
    for side, sampler in (("train", data.train_dataloader().sampler), ("validate", data.val_dataloader().sampler)):
        indices = np.concatenate(list(sampler))
        assert len(indices) == len(set(indices.tolist()))
        for index in indices:
            sides.setdefault(decoded.digests[index], set()).add(side)
    assert all(len(both) == 1 for both in sides.values())
