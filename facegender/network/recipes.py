"""Recipes: what makes an optimiser and a schedule of a configuration, whose defaults are the `reference` recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, StepLR

from facegender.runs.config import TrainConfig


@dataclass(frozen=True)
class Recipe:
    """How one recipe trains.

    Attributes:
        optimiser: Parameters and configuration to an optimiser.
        schedule: Optimiser and configuration to a schedule that is stepped once an epoch.
    """

    optimiser: Callable[[Iterable[nn.Parameter], TrainConfig], Optimizer]
    schedule: Callable[[Optimizer, TrainConfig], LRScheduler]


def _adam(parameters: Iterable[nn.Parameter], config: TrainConfig) -> Optimizer:
    parameters = list(parameters)
    # One kernel for all parameters; torch has it for CUDA and the CPU, elsewhere its own choice is as good.
    fused = True if {parameter.device.type for parameter in parameters} <= {"cuda", "cpu"} else None
    return torch.optim.Adam(parameters, lr=config.learning_rate, fused=fused)


def _step(optimiser: Optimizer, config: TrainConfig) -> LRScheduler:
    return StepLR(optimiser, step_size=config.step_size, gamma=config.gamma)


RECIPES: dict[str, Recipe] = {"reference": Recipe(optimiser=_adam, schedule=_step)}
