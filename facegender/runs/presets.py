"""The defaults of each recipe and what it does. The training code of recipes is in `facegender.network.recipes`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from facegender.runs.config import FIELDS, TrainConfig, option_of
from facegender.runs.networks import RECIPE_NETWORK
from facegender.support.errors import UserError
from facegender.support.fields import to_text

PRESETS: dict[str, dict[str, Any]] = {
    "reference": {},
    "tuned": {
        "image_size": 160,
        "epochs": 80,
        "batch_size": 64,
        "learning_rate": 2e-3,
        "widths": (48, 96, 192),
    },
}
"""Per recipe: the defaults that differ from those of `TrainConfig`, which are the reference recipe's."""

UNUSED: dict[str, tuple[str, ...]] = {"reference": (), "tuned": ("step_size", "gamma")}
"""Per recipe: the fields that it ignores."""

DESCRIPTIONS: dict[str, tuple[str, ...]] = {
    "reference": (
        "three convolutions, a max-pool and two linear layers with dropout 0.5",
        "Adam; the learning rate is multiplied by gamma every step_size epochs",
        "precision auto: bf16 on a GPU that has it, or on a processor where it is faster and runs alone; else 32",
    ),
    "tuned": (
        "a small residual network with global pooling, dropout 0.2",
        "progressive resizing: from 0.6 of the image size to all of it during the first 85 % of the epochs",
        "augmentation in whole batches on the device: crop, rotation, mirroring, blur, colour, random erasing",
        "AdamW with weight decay 0.05; the learning rate rises once and falls once, per step; label smoothing 0.1",
        "a moving average of the weights (EMA) is what is validated, shown and saved",
        "precision auto: bf16 on a GPU that has it; else 32, as small convolutions are slower in bf16 on processors",
    ),
}

LISTED = ("image_size", "epochs", "batch_size", "learning_rate", "step_size", "gamma", "widths", "precision")
"""The fields that `describe` lists."""

FIND_LR_FIELDS = (
    "data", "demo", "demo_faces", "batch_size", "image_size", "widths", "val_split", "seed", "recipe", "network",
    "class_weights", "precision", "accelerator", "workers",
)  # fmt: skip
"""The fields that ``facegender find-lr`` takes."""

RESUME_MAY_CHANGE = (
    "epochs", "patience", "on_nan", "data", "accelerator", "devices", "num_nodes", "strategy", "cache", "workers",
)  # fmt: skip
"""What may change when a run is resumed: how long it trains, on what hardware, and where its photographs are."""


def configure(given: Mapping[str, Any]) -> TrainConfig:
    """Make a configuration: given values come first, then those of the recipe, then the defaults.

    Raises:
        UserError: A field was given that the recipe or the network ignores.
    """
    recipe, network = (given.get(name, FIELDS[name].default) for name in ("recipe", "network"))
    for name in unused_fields(recipe, network):
        if name in given:
            cause = f"the {recipe} recipe" if name in UNUSED[recipe] else f"--network {network}"
            raise UserError(f"{option_of(name)} has no effect with {cause}: leave it out")
    return TrainConfig(**{**PRESETS[recipe], **given})


def unused_fields(recipe: str, network: str) -> tuple[str, ...]:
    """The fields that have no effect on a run."""
    return UNUSED[recipe] if network == RECIPE_NETWORK else (*UNUSED[recipe], "widths")


def default_of(field: str, recipe: str) -> Any:
    """The value of a field that is not given."""
    return PRESETS[recipe].get(field, FIELDS[field].default)


def train_arguments(config: TrainConfig, fields: Collection[str] = FIELDS.keys()) -> list[str]:
    """Return the options of ``facegender train`` for a configuration, without those at the default of the recipe.

    Args:
        fields: Only these.
    """
    unused = unused_fields(config.recipe, config.network)
    return [
        option_of(name) if value is True else f"{option_of(name)}={to_text(value)}"
        for name in FIELDS
        if name in fields and (value := getattr(config, name)) != default_of(name, config.recipe) and name not in unused
    ]


def describe(recipe: str) -> list[str]:
    """What a recipe does and its defaults, as lines."""
    rows = [(name, "not used" if name in UNUSED[recipe] else to_text(default_of(name, recipe))) for name in LISTED]
    defaults = [f"  {option_of(name):<16} {text}" for name, text in rows]
    return [recipe, *(f"  {line}" for line in DESCRIPTIONS[recipe]), *defaults]
