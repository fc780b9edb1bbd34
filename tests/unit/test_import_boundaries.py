"""What may import what: the interface starts at once because it never meets torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
HEAVY = (
    "torch",
    "torchvision",
    "pytorch_lightning",
    "lightning",
    "torchmetrics",
    "matplotlib",
    "kagglehub",
    "textual_image",
)


def loaded_by(imports: str) -> set[str]:
    """The top-level packages that a fresh interpreter has after some imports."""
    code = f"import sys\n{imports}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.splitlines()[-1].split())  # what the imports print comes before


def test_the_interface_is_imported_without_torch() -> None:
    loaded = loaded_by("import tui.app, tui.__main__")
    assert not loaded.intersection(HEAVY)
    assert "textual" in loaded


def test_run_folders_are_imported_without_torch_and_without_a_screen() -> None:
    modules = [path.stem for path in (PROJECT / "facegender" / "runs").glob("*.py") if path.stem != "__init__"]
    assert "journal" in modules
    loaded = loaded_by("import " + ", ".join(f"facegender.runs.{module}" for module in modules))
    assert not loaded.intersection((*HEAVY, "textual", "textual_plot", "tui", "rich"))


def test_the_process_that_makes_thumbnails_starts_without_anything_heavy() -> None:
    assert not loaded_by("import facegender.thumbnail_server").intersection((*HEAVY, "numpy"))


def test_the_terminal_is_asked_before_anything_heavy_is_imported() -> None:
    loaded = loaded_by("import tui.__main__, facegender.support.machine")
    assert not loaded.intersection((*HEAVY, "textual", "numpy", "PIL", "psutil"))


def test_charts_are_drawn_without_masked_arrays_whose_import_would_delay_the_first_ones() -> None:
    draw = """
import numpy as np
from rich.style import Style
from tui.run.curves import Curve
from tui.widgets.plotting import Plot
curve = Curve("train", np.arange(100.0), np.r_[np.nan, np.ones(99)], "$train")
assert Plot((curve,), (0.0, 100.0), "steps", None, False, Style(), lambda _: Style()).strips(80, 20)
assert "numpy.ma" not in sys.modules
"""
    assert "numpy" in loaded_by(draw)


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["networks"], ["recipes"], ["runs"]])
def test_help_and_lists_are_printed_without_anything_heavy(arguments: list[str]) -> None:
    loaded = loaded_by(f"from facegender.__main__ import run\nrun({arguments})")
    assert not loaded.intersection(HEAVY)
    assert "typer" in loaded


def test_the_contracts_of_the_project_file_are_kept() -> None:
    command = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("import-linter is not installed; it is in the dev extra")
    done = subprocess.run([command, "--no-cache"], cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
