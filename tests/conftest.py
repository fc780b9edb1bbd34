"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from facegender.runs.folder import RunFolder

FACES_VARIABLE = "FACEGENDER_TEST_FACES"


@pytest.fixture(scope="session")
def real_faces() -> Path:
    """Photographs that are no part of the project: ``dev/`` with two classes, ``odd/`` with awkward files."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "faces"
    folder = Path(os.environ.get(FACES_VARIABLE) or beside)
    missing = [name for name in ("dev/female", "dev/male", "odd/MANIFEST.csv") if not (folder / name).exists()]
    if missing:
        pytest.skip(f"no {missing[0]} in {folder}: name a folder that has it with {FACES_VARIABLE}")
    return folder


@pytest.fixture(autouse=True)
def _no_settings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a settings folder of its own, and all tests a cache folder that is not the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root folder without any run."""
    return tmp_path


@pytest.fixture
def folder(root: Path) -> RunFolder:
    """A run folder whose directories exist and are empty."""
    made = RunFolder(root, "otter-3")
    made.path.mkdir(parents=True)
    made.visuals.mkdir(parents=True)
    return made
