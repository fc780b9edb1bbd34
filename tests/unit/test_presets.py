"""The defaults of each recipe, and that given values override them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from facegender.__main__ import run
from facegender.runs.config import FIELDS, RECIPES, TrainConfig, validate
from facegender.runs.presets import PRESETS, configure, default_of, describe
from facegender.support.errors import UserError

Capture = pytest.CaptureFixture[str]


def test_without_a_recipe_the_configuration_is_that_of_the_reference_recipe() -> None:
    assert configure({}) == configure({"recipe": "reference"}) == TrainConfig()
    assert PRESETS["reference"] == {}


def test_a_recipe_sets_its_own_values_and_what_is_given_overrides_them() -> None:
    tuned = configure({"recipe": "tuned"})
    assert all(getattr(tuned, name) == value for name, value in PRESETS["tuned"].items())
    # Also a value that is the default of the reference recipe counts as given.
    given = configure({"recipe": "tuned", "image_size": 512, "epochs": 3})
    assert (given.image_size, given.epochs, given.batch_size) == (512, 3, tuned.batch_size)


def test_every_recipe_sets_values_within_their_limits() -> None:
    for recipe in RECIPES:
        validate(configure({"recipe": recipe}))
        assert not any(FIELDS[name].check(value) for name, value in PRESETS[recipe].items())


def test_a_setting_that_the_recipe_ignores_is_refused() -> None:
    with pytest.raises(UserError, match=r"^--step-size has no effect with the tuned recipe: leave it out$"):
        configure({"recipe": "tuned", "step_size": 3})


def test_the_recipes_are_printed_with_their_defaults(capsys: Capture) -> None:
    assert run(["recipes"]) == 0
    out = capsys.readouterr().out
    for recipe in RECIPES:
        assert "\n".join(describe(recipe)) in out
    assert f"--image-size     {default_of('image_size', 'tuned')}" in out
    assert "--gamma          not used" in out


def test_options_override_a_file_and_a_file_overrides_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[TrainConfig] = []
    monkeypatch.setattr(
        "facegender.training.run.train", lambda config, *rest, **more: seen.append(config) or "completed"
    )
    (tmp_path / "run.toml").write_text('recipe = "tuned"\nepochs = 7\nbatch-size = 9\n')
    root = ["--root", str(tmp_path)]
    assert run(["train", "--config", str(tmp_path / "run.toml"), "--batch-size=32", *root]) == 0
    assert run(["train", "--recipe=tuned", *root]) == 0
    assert run(["train", *root]) == 0
    file, tuned, plain = seen
    assert (file.recipe, file.epochs, file.batch_size) == ("tuned", 7, 32)
    assert file.image_size == default_of("image_size", "tuned")
    assert tuned == configure({"recipe": "tuned"})
    assert plain == TrainConfig()


def test_printing_the_recipes_needs_no_torch() -> None:
    code = "import sys; from facegender.__main__ import run; run(['recipes']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, env=dict(os.environ)).returncode == 0
