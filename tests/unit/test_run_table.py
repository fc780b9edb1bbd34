"""The columns of the table of runs, sorting, and what fits into a line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import recorded
from rich.cells import cell_len

from facegender.runs.run_table import COLUMNS, find_column, fit_cell, fit_columns, natural_widths, sort_runs
from facegender.runs.summary import RunSummary, summarise
from facegender.support.errors import UserError

NOW = 2_000_000.0


def cells(*runs: RunSummary) -> dict[str, list[str]]:
    return {name: [column.cell(run, NOW) for run in runs] for name, column in COLUMNS.items()}


def test_every_column_shows_what_is_known_of_a_run(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=3, end="stopped", created=NOW - 7200)
    folder.write_note("the first one")
    assert {name: texts[0] for name, texts in cells(summarise(folder)).items()} == {
        "run": "otter-3", "state": "stopped", "epochs": "3/5", "best": "0.620", "at": "3", "loss": "0.580",
        "lowest": "0.580", "train": "0.480", "lr": "0.001", "batch": "32", "size": "24", "recipe": "reference",
        "network": "recipe", "duration": "00:00:06", "age": "2 h", "seed": "42", "note": "the first one",
        "data": "/photographs",
    }  # fmt: skip


def test_what_is_unknown_is_an_empty_cell() -> None:
    shown = {name: texts[0] for name, texts in cells(RunSummary(run="a", state="crashed")).items()}
    assert {name for name, text in shown.items() if text} == {"run", "state", "epochs"}
    assert cells(RunSummary(run="a", state="crashed", duration_s=math.inf))["duration"][0] == ""


def test_runs_are_sorted_with_the_unknown_last_in_both_directions() -> None:
    runs = [
        RunSummary(run=name, state="completed", best_accuracy=best)
        for name, best in (("b", 0.5), ("A", math.nan), ("c", 0.9), ("d", 0.5))
    ]

    def names(column: str, **options: bool) -> str:
        return "".join(run.run for run in sort_runs(runs, find_column(column), NOW, **options))

    assert names("best") == "bdcA"
    assert names("best", descending=True) == "cbdA"
    assert names("run") == "Abcd"
    assert names("NAME", descending=True) == "dcbA"


def test_an_unknown_column_lists_those_that_exist() -> None:
    with pytest.raises(UserError, match=r"there is no column 'speed': the columns are run, state, epochs, .*, data$"):
        find_column("speed")


@pytest.mark.parametrize("room", [20, 36, 60, 80, 120, 300])
def test_the_columns_that_matter_most_fit_into_the_line(room: int) -> None:
    long = RunSummary(
        run="a-very-long-name-of-a-run-that-somebody-has-typed", state="completed", epochs_done=10, epochs=10,
        best_accuracy=0.9, best_epoch=3, learning_rate=1e-3, network="efficientnet_v2_s", recipe="tuned",
        note="我的第一个 run " * 20, data="/a/long/path" * 9, created=NOW - 60,
    )  # fmt: skip
    texts = cells(long, RunSummary(run="b", state="failed"))
    widths = fit_columns(natural_widths(texts), room)
    line = "  ".join(fit_cell(name, texts[name][0], width) for name, width in widths.items())
    assert cell_len(line) <= room
    assert list(widths) == [name for name in COLUMNS if name in widths]
    assert {"run", "state"} <= set(widths) or room < 36
    assert room < 60 or {"best", "epochs", "lr", "age"} <= set(widths)
    assert room < 80 or widths["note"] >= 12
    assert "batch" not in widths  # no run has one


def test_a_wide_line_shortens_nothing() -> None:
    texts = cells(RunSummary(run="a" * 64, state="failed", note="n" * 300, data="d" * 300))
    widths = fit_columns(natural_widths(texts), 10_000)
    assert (widths["run"], widths["note"], widths["data"]) == (64, 300, 300)


def test_a_cell_is_cut_at_its_end_and_a_path_at_its_beginning() -> None:
    assert fit_cell("note", "abcdefgh", 5) == "abcd…"
    assert fit_cell("data", "/some/where/faces", 6) == "…faces"
    assert fit_cell("note", "我的第一个", 6) == "我的 …"
    assert fit_cell("note", "ab", 4) == "ab  "
    assert fit_cell("lr", "0.1", 6) == "   0.1"
