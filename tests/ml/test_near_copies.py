"""Photographs that are in the data folder twice, re-encoded or resized."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from facegender.data import datamodule
from facegender.runs.events import Notice
from facegender.runs.folder import Manifest, RunFolder
from facegender.training.run import train
from tests.ml.conftest import events_of, tiny

NOTICE = "photographs that are near-copies of others and stay on the same side of the split: 6"


@pytest.fixture
def data(tmp_path: Path) -> str:
    """A folder with twelve photographs a class, six of the women in two sizes."""
    for name in ("female", "male"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        for number in range(12):
            noise = np.random.default_rng([number, len(name)]).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            image = Image.fromarray(noise).resize((120, 120), Image.Resampling.BICUBIC)
            image.save(tmp_path / "faces" / name / f"{number}.png")
            if name == "female" and number < 6:
                image.resize((80, 80)).save(tmp_path / "faces" / name / f"{number} smaller.jpg")
    return str(tmp_path / "faces")


def manifest_of(root: Path) -> Manifest:
    manifest = RunFolder(root, "twice").read_manifest()
    assert manifest is not None
    return manifest


def notices(root: Path) -> list[str]:
    return [event.text for event in events_of(root, "twice") if isinstance(event, Notice)]


def test_a_resumed_run_keeps_the_groups_it_began_with(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(demo=False, data=data, epochs=1)
    assert train(config, tmp_path, "twice", show=False) == "completed"
    assert NOTICE in notices(tmp_path)
    groups = manifest_of(tmp_path).near_copies
    assert [len(group) for group in groups] == [2] * 6
    monkeypatch.setattr(datamodule, "find_near_copies", lambda *_: pytest.fail("searched again"))
    assert train(config, tmp_path, resume="twice", changes={"epochs": 2}, show=False) == "completed"
    assert manifest_of(tmp_path).near_copies == groups
    assert notices(tmp_path).count(NOTICE) == 2


def test_a_run_of_a_version_that_grouped_exact_copies_only_keeps_its_split(data: str, tmp_path: Path) -> None:
    config = tiny(demo=False, data=data, epochs=1)
    assert train(config, tmp_path, "twice", show=False) == "completed"
    path = RunFolder(tmp_path, "twice").manifest_path
    recorded = msgspec.json.decode(path.read_bytes())
    del recorded["near_copies"]
    path.write_bytes(msgspec.json.encode(recorded))
    assert train(config, tmp_path, resume="twice", changes={"epochs": 2}, show=False) == "completed"
    assert manifest_of(tmp_path).near_copies == []
    assert notices(tmp_path).count(NOTICE) == 1
