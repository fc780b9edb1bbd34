"""Charts and ``facegender report``."""

from __future__ import annotations

import warnings
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import rc_context
from msgspec import structs
from PIL import Image

from facegender.__main__ import run
from facegender.rendering import charts
from facegender.rendering.charts import Curve, NamedPredictions, Report
from facegender.runs.events import RequestDone
from facegender.runs.folder import RunFolder
from facegender.runs.predictions import Predictions as RecordedPredictions
from facegender.runs.predictions import write_predictions
from tests.recorded import CLASSES, append, write_run

Capture = pytest.CaptureFixture[str]
ODD_NAMES = ["$x^2$", "a$b$c$", r"\$\frac{", "_hidden", "性別 🙂", "x" * 100, "<&>\x1b", ""]


def answers(name: str = "run", classes: int = 2, count: int = 60) -> NamedPredictions:
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, count)
    logits = random.normal(size=(count, classes)) + np.eye(classes)[labels]
    return NamedPredictions(name=name, classes=[f"c{label}$" for label in range(classes)], logits=logits, labels=labels)


def report_of(names: list[str]) -> Report:
    curves = [Curve(run=at, epochs=[1, 2, 3], values=[1.0, float("nan"), at]) for at, name in enumerate(names)]
    return Report(
        title=names[0],
        runs=names,
        note=names[0],
        loss=curves,
        accuracy=curves,
        predictions=[(at, answers(name, 2 + 28 * (at == 1))) for at, name in enumerate(names)],
        table=[["setting", *names], ["learning rate", *names]],
    )


@pytest.mark.parametrize("ending", [".pdf", ".png", ".svg"])
def test_no_name_breaks_a_report(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"report{ending}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        charts.save(charts.report_figure(report_of(ODD_NAMES)), path)
    if ending == ".png":
        with Image.open(path) as image:
            assert min(image.size) > 1000
    elif ending == ".svg":
        ElementTree.fromstring(path.read_text(encoding="utf-8"))
    else:
        assert path.read_bytes().startswith(b"%PDF")


def test_runs_differ_by_colour_and_marker_and_parts_by_dashes() -> None:
    figure = charts.new_figure(5, 4)
    axes = figure.subplots()
    curves = [
        Curve(run=at, epochs=[1, 2], values=[0, 1], dashed=dashed)
        for at in range(charts.MAX_RUNS)
        for dashed in (False, True)
    ]
    charts.draw_curves(axes, curves, "loss")
    solid, dashed = axes.lines[::2], axes.lines[1::2]
    assert len({(line.get_color(), str(line.get_marker())) for line in solid}) == charts.MAX_RUNS
    assert {line.get_linestyle() for line in solid} == {"-"}
    assert {line.get_linestyle() for line in dashed} == {"--"}


def test_names_appear_as_they_are_and_not_as_mathematics() -> None:
    figure = charts.new_figure(4, 4)
    axes = figure.subplots()
    charts.draw_confusion(axes, answers("$x$"))
    title, label = axes.title, axes.get_xticklabels()[0]
    assert (title.get_text(), label.get_text()) == (r"\$x\$", r"c0\$")
    figure.draw_without_rendering()


def recorded_run(root: Path, name: str, *, predictions: bool = True) -> RunFolder:
    folder = write_run(root, name, end="completed")
    if predictions:
        one = answers()
        empty = np.empty(0)
        write_predictions(
            folder.predictions_path(2),
            RecordedPredictions(
                epoch=2, classes=CLASSES, logits=one.logits.astype(np.float32), labels=one.labels,
                margins=empty.astype(np.float32), train_labels=empty.astype(np.int64),
            ),
        )  # fmt: skip
    return folder


def test_a_report_of_runs_is_written_also_where_one_recorded_no_predictions(tmp_path: Path, capsys: Capture) -> None:
    recorded_run(tmp_path, "a")
    recorded_run(tmp_path, "b", predictions=False)
    target = tmp_path / "out.pdf"
    assert run(["report", "a", "b", "--output", str(target), "--root", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{target}: a, b\n"
    assert "run b has no predictions: they are recorded when" in captured.err
    assert target.read_bytes().startswith(b"%PDF")


def test_a_report_marks_what_was_changed_while_a_run_was_trained(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path, "a")
    change = RequestDone(time=2.0, request="set", done=True, outcome="changed", step=7, learning_rate=1e-4)
    append(folder, change, structs.replace(change, learning_rate=None, epochs=9), structs.replace(change, done=False))
    target = tmp_path / "out.svg"
    with rc_context({"svg.fonttype": "none"}):
        assert run(["report", "a", "--output", str(target), "--root", str(tmp_path)]) == 0
    texts = [text.text for text in ElementTree.fromstring(target.read_text("utf-8")).iter() if text.text]
    assert texts.count("lr 0.0001") == texts.count("9 epochs") == 2  # in either chart


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("report.doc", "give a file that ends in .pdf, .png or .svg"),
        ("folder.pdf", "is not a regular file"),
        ("none/report.pdf", "No such file or directory"),
    ],
)
def test_a_report_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: Capture, output: str, problem: str
) -> None:
    recorded_run(tmp_path, "a")
    (tmp_path / "folder.pdf").mkdir()
    assert run(["report", "a", "--output", str(tmp_path / output), "--root", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert problem in line


def test_the_curve_of_a_learning_rate_search_is_drawn(tmp_path: Path) -> None:
    rates = np.geomspace(1e-5, 1, 50)
    losses = 1 + np.log10(rates) ** 2 / 100
    for suggested in (None, 1e-3):
        charts.save(charts.learning_rate_figure(rates, losses, losses, suggested), tmp_path / "lr.png")
    assert Image.open(tmp_path / "lr.png").width > 500
