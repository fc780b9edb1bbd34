"""What each recipe sets of a configuration, unless it is given otherwise. How it trains is in `facegender.network`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facegender.runs.config import FIELDS, RECIPES, TrainConfig, option_of
from facegender.support.errors import UserError

SETTINGS: dict[str, dict[str, Any]] = {
    "reference": {},
    "tuned": {
        "image_size": 160,
        "epochs": 80,
        "batch_size": 64,
        "learning_rate": 2e-3,
        "widths": (48, 96, 192),
    },
}
"""By recipe: the fields whose defaults differ from those of `TrainConfig`, which are the reference recipe's."""

UNUSED: dict[str, tuple[str, ...]] = {"reference": (), "tuned": ("step_size", "gamma")}
"""By recipe: fields that mean nothing to it."""

ABOUT: dict[str, tuple[str, ...]] = {
    "reference": (
        "three convolutions, a pool and two linear layers with dropout 0.5",
        "Adam; every step_size epochs the learning rate is multiplied with gamma",
        "precision auto: bf16 on a GPU that has it, and on a processor that multiplies faster in it, if alone; else 32",
    ),
    "tuned": (
        "a small residual network with global pooling, dropout 0.2",
        "photographs grow from 0.6 of the image size to all of it in the first 85 % of the epochs",
        "crops, turns, mirrors, blurs, recolours and partly covers the photographs, by whole batches on the device",
        "AdamW with weight decay 0.05; the learning rate rises and falls once, step by step; label smoothing 0.1",
        "a moving average of the weights is what is validated, shown and saved",
        "precision auto: bf16 on a GPU that has it; else 32, as small convolutions are slower in bf16 on processors",
    ),
}

SHOWN = ("image_size", "epochs", "batch_size", "learning_rate", "step_size", "gamma", "widths", "precision")


def configured(given: Mapping[str, Any]) -> TrainConfig:
    """A configuration of what was given, of what its recipe sets, and of the defaults, in this order.

    Raises:
        UserError: Something was given that means nothing to the recipe.
    """
    recipe = given.get("recipe", FIELDS["recipe"].default)
    for name in UNUSED[recipe]:
        if name in given:
            raise UserError(f"{option_of(name)} means nothing to the {recipe} recipe: leave it out")
    return TrainConfig(**{**SETTINGS[recipe], **given})


def default_of(field: str, recipe: str) -> Any:
    """What a field is if it is not given."""
    return SETTINGS[recipe].get(field, FIELDS[field].default)


def described(recipe: str) -> list[str]:
    """What a recipe does and sets, a line each."""
    rows = [(name, "not used" if name in UNUSED[recipe] else shown(default_of(name, recipe))) for name in SHOWN]
    settings = [f"  {option_of(name):<16} {text}" for name, text in rows]
    return [recipe, *(f"  {line}" for line in ABOUT[recipe]), *settings]


def shown(value: Any) -> str:
    """A value as it would be typed."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


assert set(SETTINGS) == set(UNUSED) == set(ABOUT) == set(RECIPES)
