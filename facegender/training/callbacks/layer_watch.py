"""What a recorder collects of a network's layers during an epoch, while training and validation run as they would."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn

from facegender.interpret.activations import LayerActivation, numpy_of
from facegender.interpret.health import UpdateSampler, layer_health, sampled_steps, weight_health
from facegender.interpret.layers import Layer
from facegender.interpret.top_patches import ChannelTotals, ChannelTracker, LayerUnits, merged
from facegender.runs.events import HealthMeasured
from facegender.runs.frames import LayerFrame


class LayerWatch:
    """Gradients and updates at some steps of an epoch, and what excites each channel during its validation.

    Nothing waits for the device. `close` removes the hooks.

    Attributes:
        is_measuring: The gradients of a step were measured, and its update has yet to be.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        """Watch one layer or more of the network that is validated."""
        self._layers = layers
        self._updates = UpdateSampler([layer.name for layer in layers])
        self._sampled: frozenset[int] = frozenset()
        self._step = 0
        self._tracker: ChannelTracker | None = None
        self._hooks = contextlib.ExitStack()
        self._counted = False
        self._stats: dict[str, Tensor] = {}
        self._units: Mapping[str, LayerUnits] = {}
        self._validated_step: int | None = None
        self._stats_step: int | None = None
        self.is_measuring = False

    def begin_epoch(self, step: int, steps: float) -> None:
        """Forget the epoch before.

        Args:
            step: Optimiser steps of this epoch that are done; more than 0 where a run resumes within it.
            steps: Optimiser steps of the epoch; infinite if unknown.
        """
        self._step, self._sampled = step, sampled_steps(steps)
        self._updates.take()
        self._units, self._validated_step, self.is_measuring = {}, None, False

    def step_is_due(self) -> bool:
        """Count an optimiser step, and say whether it is one to measure."""
        self._step += 1
        return self._step - 1 in self._sampled

    def before_optimiser_step(self, trained: nn.Module) -> None:
        """Measure the gradients.

        Args:
            trained: The network that is trained, whose layers have the same names.
        """
        self.is_measuring = True
        self._updates.before_step(trained)

    def after_batch(self, trained: nn.Module) -> None:
        """Measure the update of the step."""
        self.is_measuring = False
        self._updates.after_step(trained)

    def begin_validation(self) -> None:
        """Watch the forward passes that follow."""
        self.close()
        self._tracker = ChannelTracker(self._layers)
        self._hooks = self._tracker.watch()

    def add_batch(self, indices: Tensor) -> None:
        """Count a batch that the network has just seen, see `ChannelTracker.add`."""
        if self._tracker is not None and self._tracker.add(indices):
            self._counted = True

    def end_validation(self, trainer: Trainer, pl_module: LightningModule, step: int) -> None:
        """Combine what all processes have seen; they call it together.

        Args:
            step: Steps before the validation.
        """
        # A process that could not watch takes part all the same, because the others would wait for it.
        tracker, counted = self._tracker or ChannelTracker(self._layers), self._counted
        self.close()
        if trainer.world_size > 1:
            of_all = [pl_module.all_gather(total) for total in tracker.totals]
            tracker.totals = merged([ChannelTotals(*shares) for shares in zip(*of_all, strict=True)])
        if counted:
            self._units, self._validated_step = tracker.result(), step

    def add_frame(self, activations: Sequence[LayerActivation], step: int) -> Mapping[str, LayerUnits]:
        """Take the activations of the probes after a step.

        Returns:
            What excites the channels, by layer; empty if the weights have not been validated.
        """
        self._stats, self._stats_step = {layer.name: layer.stats for layer in activations}, step
        return self._units if step == self._validated_step else {}

    def health(self, epoch: int, step: int) -> Callable[[], HealthMeasured]:
        """Examine the weights; what is returned waits for the device and makes the event."""
        now, layers, units = time.time(), self._layers, self._units
        stats = self._stats if step == self._stats_step else {}
        weights, updates = weight_health(layers), self._updates.take()

        def measured() -> HealthMeasured:
            unit_arrays = {name: numpy_of(unit.units) for name, unit in units.items()}
            stat_arrays = {name: numpy_of(stat) for name, stat in stats.items()}
            healths, first_not_finite = layer_health(layers, weights, updates, unit_arrays, stat_arrays)
            return HealthMeasured(time=now, epoch=epoch, step=step, layers=healths, first_not_finite=first_not_finite)

        return measured

    def close(self) -> None:
        """Remove the hooks."""
        self._hooks.close()
        self._tracker, self._counted = None, False


def with_units(layers: Sequence[LayerFrame], units: Mapping[str, LayerUnits]) -> list[LayerFrame]:
    """Add what excites the channels to the layers of a frame, where it is known."""
    added = []
    for layer in layers:
        arrays = units[layer.name].arrays() if layer.name in units else (None, None)
        added.append(msgspec.structs.replace(layer, units=arrays[0], top=arrays[1]))
    return added
