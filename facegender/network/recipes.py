"""Recipes: which network is trained, and how. What each sets of a configuration is in `facegender.runs.presets`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, StepLR

from facegender.network.augment import Augmentation
from facegender.network.model import FaceGenderNet
from facegender.network.residual import ResidualNet
from facegender.runs.config import TrainConfig


@dataclass(frozen=True)
class Recipe:
    """How one recipe trains.

    Attributes:
        network: Image size, widths and number of classes to a network of random weights.
        optimiser: Parameters and configuration to an optimiser.
        schedule: Optimiser, configuration and the steps of the whole run to a schedule.
        interval: How often the schedule is stepped; only for "step" the number of steps is known.
        augmentation: Changes photographs before a training step, or None.
        side: Image size, epoch and epochs of the whole run to the side that a training step sees; None for all of it.
        label_smoothing: Share of each label that is spread over all classes, in [0, 1).
        ema_decay: Of the moving average of the weights, which is validated, shown and saved in their place; or None.
        min_bf16_speedup: How many times as fast as in single precision a processor has to multiply in bf16 for training
            to gain from it; None: however fast that is, it loses more by converting. Any GPU that has bf16 gains.
    """

    network: Callable[[int, Sequence[int], int], nn.Module]
    optimiser: Callable[[Iterable[nn.Parameter], TrainConfig], Optimizer]
    schedule: Callable[[Optimizer, TrainConfig, int], LRScheduler]
    interval: Literal["epoch", "step"] = "epoch"
    augmentation: Augmentation | None = None
    side: Callable[[int, int, int], int] | None = None
    label_smoothing: float = 0.0
    ema_decay: float | None = None
    min_bf16_speedup: float | None = None


# The reference recipe ------------------------------------------------------------------------------------------------


def _adam(parameters: Iterable[nn.Parameter], config: TrainConfig) -> Optimizer:
    parameters = list(parameters)
    return torch.optim.Adam(parameters, lr=config.learning_rate, fused=_fused(parameters))


def _step(optimiser: Optimizer, config: TrainConfig, steps: int) -> LRScheduler:
    return StepLR(optimiser, step_size=config.step_size, gamma=config.gamma)


# Large convolutions and a linear layer of millions of weights, that is multiplication and memory.
REFERENCE = Recipe(network=FaceGenderNet, optimiser=_adam, schedule=_step, min_bf16_speedup=1.2)


# The tuned recipe ----------------------------------------------------------------------------------------------------

WEIGHT_DECAY = 0.05
WARM_UP = 0.15
"""Share of the steps in which the learning rate rises."""
LOWEST = 0.01
"""Share of the learning rate at the first step and after the last."""


def _residual(image_size: int, widths: Sequence[int], classes: int) -> nn.Module:
    return ResidualNet(widths, classes)


def _adamw(parameters: Iterable[nn.Parameter], config: TrainConfig) -> Optimizer:
    """Weights decay; biases and the scales of normalisations, which have one dimension, do not."""
    parameters = list(parameters)
    groups = [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=_fused(parameters))


def _one_cycle(optimiser: Optimizer, config: TrainConfig, steps: int) -> LRScheduler:
    """Up in a line, down in half a cosine; a run that is given more epochs goes on on the longer curve.

    After Smith and Topin, "Super-Convergence", 2018, https://arxiv.org/abs/1708.07120. torch's own `OneCycleLR` keeps
    the number of steps in its state and ends with an error beyond it.
    """

    def share(step: int) -> float:
        return lr_factor(step, steps)

    return LambdaLR(optimiser, share)


def lr_factor(step: int, steps: int) -> float:
    """What the learning rate is multiplied with at a step, counted from 0, of so many."""
    rising = max(1.0, WARM_UP * steps)
    if step < rising:
        return LOWEST + (1 - LOWEST) * step / rising
    done = min(1.0, (step - rising) / max(1.0, steps - rising))
    return LOWEST + (1 - LOWEST) * (1 + math.cos(math.pi * done)) / 2


SMALLEST_SIDE = 0.6
"""Share of the image size that training begins with."""
GROWN_AFTER = 0.85
"""Share of the epochs after which it sees all of it."""
SIDE_STEP_PX = 8
LEAST_SIDE_PX = 32
"""Where a batch of a single photograph still leaves normalisations four values: the network divides the side by 16."""


def growing_side(image_size: int, epoch: int, epochs: int) -> int:
    """Small photographs first, which cost less and teach the coarse things, then larger ones.

    After Tan and Le, "EfficientNetV2: Smaller Models and Faster Training", 2021, https://arxiv.org/abs/2104.00298
    """
    grown = min(1.0, epoch / max(1.0, GROWN_AFTER * epochs))
    share = SMALLEST_SIDE + (1 - SMALLEST_SIDE) * grown
    return min(image_size, max(LEAST_SIDE_PX, round(share * image_size / SIDE_STEP_PX) * SIDE_STEP_PX))


TUNED = Recipe(
    network=_residual,
    optimiser=_adamw,
    schedule=_one_cycle,
    interval="step",
    augmentation=Augmentation(),
    side=growing_side,
    label_smoothing=0.1,
    ema_decay=0.99,
    min_bf16_speedup=None,  # many small convolutions, each between two conversions
)

RECIPES: dict[str, Recipe] = {"reference": REFERENCE, "tuned": TUNED}


def build_network(recipe: str, image_size: int, widths: Sequence[int], classes: int) -> nn.Module:
    """A recipe's network.

    Raises:
        LookupError: There is no such recipe.
        ValueError: The image size or a width leaves nothing to classify.
    """
    return RECIPES[recipe].network(image_size, widths, classes)


def _fused(parameters: Sequence[nn.Parameter]) -> bool | None:
    """One kernel for all parameters; torch has it for CUDA and the CPU, elsewhere its own choice is as good."""
    return True if {parameter.device.type for parameter in parameters} <= {"cuda", "cpu"} else None
