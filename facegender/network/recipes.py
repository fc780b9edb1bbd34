"""Recipes: which network is trained, and how. `facegender.runs.presets` has the defaults that each recipe sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, StepLR

from facegender.network.augment import Augmentation
from facegender.network.model import FaceGenderNet
from facegender.network.residual import ResidualNet
from facegender.runs.config import TrainConfig
from facegender.runs.networks import NETWORKS, RECIPE_NETWORK, network_problem, size_problem


@dataclass(frozen=True)
class Recipe:
    """How one recipe trains.

    Attributes:
        network: Makes a network of random weights from image size, widths and number of classes.
        optimiser: Makes an optimiser from parameters and configuration.
        schedule: Makes a learning rate schedule from optimiser, configuration and the optimiser steps of the whole run.
        interval: Whether the schedule advances each epoch or each step; the number of steps is only passed for "step".
        augmentation: Augments each training batch, or None.
        side: Computes the side of the training images from image size, epoch, epochs and the smallest side that the
            network takes; None for the image size.
        label_smoothing: Share of each label that is spread evenly over all classes, in [0, 1).
        ema_decay: Decay of the moving average of the weights, which then is the network that is validated, shown and
            saved; None for no average.
        min_bf16_speedup: How many times faster than in float32 a CPU must multiply matrices in bf16 for training to
            gain from it; None if it never does, because conversions cost more. GPUs that have bf16 always gain.
    """

    network: Callable[[int, Sequence[int], int], nn.Module]
    optimiser: Callable[[Iterable[nn.Parameter], TrainConfig], Optimizer]
    schedule: Callable[[Optimizer, TrainConfig, int], LRScheduler]
    interval: Literal["epoch", "step"] = "epoch"
    augmentation: Augmentation | None = None
    side: Callable[[int, int, int, int], int] | None = None
    label_smoothing: float = 0.0
    ema_decay: float | None = None
    min_bf16_speedup: float | None = None


# The reference recipe ------------------------------------------------------------------------------------------------


def _adam(parameters: Iterable[nn.Parameter], config: TrainConfig) -> Optimizer:
    return torch.optim.Adam(parameters, lr=config.learning_rate, fused=True)


def _step(optimiser: Optimizer, config: TrainConfig, steps: int) -> LRScheduler:
    return StepLR(optimiser, step_size=config.step_size, gamma=config.gamma)


# Its time goes into large matrix products and the memory traffic of millions of weights; bf16 speeds up both.
REFERENCE = Recipe(network=FaceGenderNet, optimiser=_adam, schedule=_step, min_bf16_speedup=1.2)


# The tuned recipe ----------------------------------------------------------------------------------------------------

WEIGHT_DECAY = 0.05
WARM_UP_SHARE = 0.15
"""Share of the steps during which the learning rate rises."""
MIN_LR_FACTOR = 0.01
"""Factor of the learning rate at the first step and after the last."""


def _adamw(parameters: Iterable[nn.Parameter], config: TrainConfig) -> Optimizer:
    """AdamW without weight decay for biases and normalisation parameters, which have one dimension."""
    parameters = list(parameters)
    groups = [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def _one_cycle(optimiser: Optimizer, config: TrainConfig, steps: int) -> LRScheduler:
    """One cycle: a linear warm-up, then a cosine decay. A run resumed with more epochs continues on the longer cycle.

    Smith and Topin, "Super-Convergence", 2018, https://arxiv.org/abs/1708.07120. torch's `OneCycleLR` stores the number
    of steps in its state and fails beyond it.
    """
    return LambdaLR(optimiser, partial(lr_factor, steps=steps))


def stretch_schedule(schedule: LRScheduler, steps: int) -> None:
    """Stretch a schedule to a run of ``steps`` steps, and set the learning rate of the next step accordingly."""
    assert isinstance(schedule, LambdaLR)
    schedule.lr_lambdas = [partial(lr_factor, steps=steps) for _ in schedule.base_lrs]
    for group, base in zip(schedule.optimizer.param_groups, schedule.base_lrs, strict=True):
        group["lr"] = base * lr_factor(schedule.last_epoch, steps)


def lr_factor(step: int, steps: int) -> float:
    """Factor of the learning rate at a step, counted from 0, of a run of ``steps`` steps."""
    warm_up = max(1.0, WARM_UP_SHARE * steps)
    if step < warm_up:
        return MIN_LR_FACTOR + (1 - MIN_LR_FACTOR) * step / warm_up
    progress = min(1.0, (step - warm_up) / max(1.0, steps - warm_up))
    return MIN_LR_FACTOR + (1 - MIN_LR_FACTOR) * (1 + math.cos(math.pi * progress)) / 2


INITIAL_SIDE_SHARE = 0.6
"""Side of the training images in the first epoch, as a share of the image size."""
FULL_SIDE_AFTER = 0.85
"""Share of the epochs after which training uses the whole image size."""
SIDE_STEP_PX = 8
MIN_SIDE_PX = 32
"""The network divides the side by 16, and batch normalisation of a single photograph needs more than one value."""


def growing_side(image_size: int, epoch: int, epochs: int, min_side: int = MIN_SIDE_PX) -> int:
    """Side of the training images in an epoch: small ones first, which cost less and teach coarse features.

    Progressive learning of Tan and Le, "EfficientNetV2: Smaller Models and Faster Training", 2021,
    https://arxiv.org/abs/2104.00298
    """
    progress = min(1.0, epoch / max(1.0, FULL_SIDE_AFTER * epochs))
    share = INITIAL_SIDE_SHARE + (1 - INITIAL_SIDE_SHARE) * progress
    return min(image_size, max(min_side, round(share * image_size / SIDE_STEP_PX) * SIDE_STEP_PX))


TUNED = Recipe(
    network=lambda image_size, widths, classes: ResidualNet(widths, classes),
    optimiser=_adamw,
    schedule=_one_cycle,
    interval="step",
    augmentation=Augmentation(),
    side=growing_side,
    label_smoothing=0.1,
    ema_decay=0.99,
    min_bf16_speedup=None,  # many small convolutions, each with two conversions
)

RECIPES: dict[str, Recipe] = {"reference": REFERENCE, "tuned": TUNED}


def training_side(config: TrainConfig, epoch: int) -> int | None:
    """Side in pixels of the training images in an epoch; None for the image size."""
    side, network = RECIPES[config.recipe].side, NETWORKS.get(config.network)
    if side is None or (network is not None and network.patch):
        return None
    return side(config.image_size, epoch, config.epochs, network.min_image_size if network else MIN_SIDE_PX)


def build_network(
    recipe: str, image_size: int, widths: Sequence[int], classes: int, network: str = RECIPE_NETWORK
) -> nn.Module:
    """Make a network with random weights.

    Args:
        widths: For the recipe's own network.
        classes: Number of logits.
        network: A name in `NETWORKS`, or `RECIPE_NETWORK` for the recipe's own.

    Raises:
        LookupError: There is no such recipe.
        ValueError: The widths are not three positive numbers; there is no such network, or the image size is not one
            of its own.
    """
    if len(widths) != 3 or min(widths) < 1:
        raise ValueError(f"widths must be three positive numbers, not {tuple(widths)}")
    own = RECIPES[recipe].network
    if problem := network_problem(network) or size_problem(network, image_size):
        raise ValueError(problem)
    return own(image_size, widths, classes) if network == RECIPE_NETWORK else _torchvision(network, image_size, classes)


def _torchvision(name: str, image_size: int, classes: int) -> nn.Module:
    from torchvision.models import get_model  # takes a second to import, and few runs need it

    options: dict[str, Any] = {}
    if name.startswith("vit"):
        options["image_size"] = image_size
    elif name.startswith("maxvit"):
        options["input_size"] = (image_size, image_size)
    elif name in ("googlenet", "inception_v3"):  # which otherwise return the logits of auxiliary classifiers as well
        options.update(aux_logits=False, init_weights=True)
    device = torch.get_default_device()
    # A RegNet computes its widths with tensors and reads them, which the device "meta" cannot do.
    with torch.device("cpu" if name.startswith("regnet") else device):
        network: nn.Module = get_model(name, weights=None, num_classes=classes, **options)
    return network.to(device)
