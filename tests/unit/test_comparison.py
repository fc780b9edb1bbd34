"""What differs between runs, and which runs differ only in their seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import recorded

from facegender.runs.comparison import differences, seed_groups
from facegender.runs.config import TrainConfig
from facegender.runs.folder import Manifest, RunFolder
from facegender.runs.presets import configure


def manifest(given: dict[str, Any] | None = None, **changes: Any) -> Manifest:
    values = {"data": "/photographs", "data_digest": "1234", "config": configure(given or {})}
    return recorded.manifest(RunFolder(Path(), "otter-3"), **{**values, **changes})


def found(*manifests: Manifest | None) -> dict[str, tuple[Any, ...]]:
    return {row.name: row.values for row in differences(manifests)}


def test_only_what_differs_is_listed() -> None:
    assert found(manifest({"learning_rate": 0.1}), manifest({"learning_rate": 0.01})) == {"learning_rate": (0.1, 0.01)}
    assert found(manifest(), manifest()) == {}
    assert [row.label for row in differences([manifest({"batch_size": 1}), manifest()])] == ["batch size"]


def test_a_setting_that_has_no_effect_on_a_run_is_no_difference() -> None:
    tuned = {"recipe": "tuned", "image_size": 512, "epochs": 10, "batch_size": 32, "learning_rate": 1e-3}
    assert list(found(manifest({"step_size": 3}), manifest(tuned))) == ["widths", "recipe"]
    rows = found(manifest({"step_size": 3}), manifest({"step_size": 4}), manifest(tuned))
    assert rows["step_size"] == (3, 4, None)
    assert "widths" not in found(manifest({"network": "resnet18"}), manifest({"widths": (1, 2, 3)}))


def test_other_photographs_at_the_same_place_are_a_difference() -> None:
    assert found(manifest(), manifest(data_digest="5678")) == {"data_digest": ("1234", "5678")}
    assert found(manifest(), manifest(data="/elsewhere")) == {"data": ("/photographs", "/elsewhere")}
    assert found(manifest(), manifest(data_digest="")) == {}


def test_a_run_without_a_manifest_says_nothing() -> None:
    rows = found(manifest({"seed": 1}), None, manifest({"seed": 2}))
    assert rows == {"seed": (1, None, 2)}
    assert differences([None, None]) == differences([]) == []


def test_a_script_has_no_settings_of_this_program() -> None:
    script = manifest(script="train.py", data="script train.py", config=TrainConfig(epochs=3), data_digest="")
    assert list(found(manifest({"learning_rate": 0.1}), script)) == ["data", "epochs"]
    assert found(script, manifest(script="b.py", data="script b.py", config=TrainConfig(epochs=3), data_digest="")) == {
        "data": ("script train.py", "script b.py"),
        "script": ("train.py", "b.py"),
    }


def test_runs_that_differ_only_in_their_seed_are_one_group() -> None:
    runs = [
        manifest({"seed": 1}),
        manifest({"seed": 1, "learning_rate": 0.1}),
        manifest({"seed": 2, "cache": "disk", "workers": 2, "probes": 9, "visualize_every": 3}),
        None,
        manifest({"seed": 1}),
        manifest({"seed": 2, "learning_rate": 0.1}, data="/moved"),
        manifest({"seed": 2}, data_digest="5678"),
        None,
    ]
    assert seed_groups(runs) == [[0, 2, 4], [1, 5], [3], [6], [7]]
    assert seed_groups([]) == []


def test_demo_runs_of_other_seeds_have_other_faces_and_are_one_group_all_the_same() -> None:
    demo = [manifest({"demo": True, "seed": n}, data="demo faces", data_digest=str(n)) for n in range(3)]
    more = manifest({"demo": True, "demo_faces": 99}, data="demo faces", data_digest="0")
    assert seed_groups([*demo, more]) == [[0, 1, 2], [3]]
    assert list(found(*demo)) == ["seed"]


def test_runs_of_one_script_are_not_taken_for_equal() -> None:
    script = manifest(script="train.py", data="script train.py", data_digest="")
    assert seed_groups([script, script]) == [[0], [1]]
