"""What is unhealthy about a network's layers, and ``facegender health``, which prints it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from msgspec import structs

from facegender.__main__ import run
from facegender.runs.events import HealthMeasured, LayerHealth
from facegender.runs.folder import RunFolder
from facegender.runs.health import findings, read_health
from tests import recorded

Capture = pytest.CaptureFixture[str]


def measured(*layers: LayerHealth, **changes: object) -> HealthMeasured:
    return recorded.health_measured(0, layers=list(layers), **changes)


def sound(name: str = "conv1", **changes: object) -> LayerHealth:
    return structs.replace(LayerHealth(name=name, gradient_norm=0.1, update_ratio=1e-3, channels=8), **changes)


def test_a_layer_without_anything_unusual_has_no_finding() -> None:
    assert findings(measured(sound(), sound("conv2", update_ratio=1e-5))) == []


@pytest.mark.parametrize(
    ("changes", "channels", "kind", "text"),
    [
        ({"dead_count": 1, "dead": [2]}, (2,), "dead", "1 of 8 channels is dead (zero on every validation pho"),
        ({"dead_count": 2, "dead": [0, 7]}, (0, 7), "dead", "2 of 8 channels are dead (zero on every validation"),
        ({"saturated": [1]}, (1,), "saturated", "1 of 8 channels stuck at one value on every probe: 2"),
        ({"duplicates": [(0, 3, 0.9961)]}, (0, 3), "duplicates", "filters 1 and 4 are nearly equal"),
        ({"gradient_norm": 0.0, "update_ratio": 0.0}, (), "gradient", "its gradient is zero: it does not learn"),
        ({"update_ratio": 0.25}, (), "update", "a step changes 25% of its weights' norm: the learning rate"),
        ({"update_ratio": 1e-7}, (), "update", "it hardly learns: its updates are 1.0e-07 of its weights"),
    ],
)  # fmt: skip
def test_each_unhealthy_figure_becomes_a_sentence(
    changes: dict[str, object], channels: tuple[int, ...], kind: str, text: str
) -> None:
    (finding,) = findings(measured(sound(), sound("conv2", **changes), sound("conv3")))
    assert (finding.layer, finding.channels, finding.kind) == ("conv2", channels, kind)
    assert finding.text.startswith(text)


def test_what_is_not_known_is_not_unhealthy() -> None:
    assert findings(measured(sound(gradient_norm=math.nan, update_ratio=math.nan))) == []


def test_a_long_list_of_channels_is_shortened_and_counted_in_full() -> None:
    (finding,) = findings(measured(sound(channels=512, dead_count=200, dead=list(range(64)))))
    assert finding.text.endswith(": 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 188 more")
    assert len(finding.channels) == 64


def test_the_first_layer_that_is_not_finite_comes_first() -> None:
    found = findings(measured(sound(dead_count=1, dead=[0]), sound("conv2"), first_not_finite="conv2"))
    assert [(finding.layer, finding.kind) for finding in found] == [("conv2", "not finite"), ("conv1", "dead")]


def test_of_epochs_that_were_trained_again_only_the_last_time_counts(tmp_path: Path) -> None:
    folder, count = recorded.write_run(tmp_path), 3
    recorded.append(folder, *map(recorded.health_measured, range(count)))
    again = recorded.run_started(start_epoch=count - 1, resumed=True)
    recorded.append(folder, again)
    assert list(read_health(folder)) == list(range(count - 1))
    recorded.append(folder, recorded.health_measured(count - 1, step=99))
    assert read_health(folder)[count - 1].step == 99


# The command


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = recorded.write_run(tmp_path)
    recorded.append(folder, *map(recorded.health_measured, range(3)))
    return folder


def test_the_newest_epoch_is_printed_with_its_findings(folder: RunFolder, capsys: Capture) -> None:
    assert run(["health", folder.name, "--root", str(folder.root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["layer", "gradient", "update/weights", "channels", "dead", "stuck", "duplicates"]
    assert lines[2].split() == ["conv2", "2.00e-01", "2.00e-03", "6", "1", "0", "0"]
    assert any(line.startswith("epoch ") and line.endswith("problems found in 3 layers") for line in lines)
    assert "  conv2: 1 of 6 channels is dead (zero on every validation photograph): 3" in lines
    assert "  conv3: filters 2 and 5 are nearly equal (cosine similarity 0.995)" in lines


def test_a_healthy_epoch_says_so_in_one_line(folder: RunFolder, capsys: Capture) -> None:
    recorded.append(folder, recorded.health_measured(40, layers=[sound(), sound("conv2")]))
    assert run(["health", folder.name, "--root", str(folder.root)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "epoch 41: no problems found in 2 layers"


def test_an_epoch_is_chosen_and_a_missing_one_is_refused_with_those_there_are(
    folder: RunFolder, capsys: Capture
) -> None:
    last = max(read_health(folder))
    assert run(["health", folder.name, "--epoch", "1", "--json", "--root", str(folder.root)]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["run"], row["epoch"], row["layers"][1]["dead"]) == (folder.name, 0, [2])
    assert [finding["kind"] for finding in row["findings"]] == ["saturated", "dead", "duplicates"]
    assert run(["health", folder.name, "--epoch", "77", "--root", str(folder.root)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"--epoch 77: run {folder.name} has measurements of epochs 1 to {last + 1}")


def test_a_run_of_an_earlier_version_says_that_it_has_no_figures(tmp_path: Path, capsys: Capture) -> None:
    folder = RunFolder(tmp_path, "old")
    folder.path.mkdir(parents=True)
    recorded.append(folder, recorded.run_started(), recorded.epoch_finished(0))
    assert run(["health", "old", "--root", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "run old has no measurements of its layers" in line


def test_names_of_layers_cannot_control_the_terminal(folder: RunFolder, capsys: Capture) -> None:
    recorded.append(folder, recorded.health_measured(50, layers=[sound("evil\x1b[2J", dead_count=1, dead=[0])]))
    for arguments in ([], ["--json"]):
        assert run(["health", folder.name, *arguments, "--root", str(folder.root)]) == 0
        assert "\x1b" not in capsys.readouterr().out


def test_a_gradient_many_times_that_of_the_epochs_before_explodes() -> None:
    before = [measured(sound(gradient_norm=norm)) for norm in (0.1, 0.2, 0.15)]
    (finding,) = findings(measured(sound(gradient_norm=3.0)), before)
    assert (finding.layer, finding.kind) == ("conv1", "gradient")
    assert finding.text == "its gradient explodes: 3.0e+00, 20 times the median of the epochs before"
    assert findings(measured(sound(gradient_norm=1.0)), before) == []
    assert findings(measured(sound(gradient_norm=3.0)), before[:2]) == []
