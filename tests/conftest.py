"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from facegender.runs.folder import RunFolder


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
