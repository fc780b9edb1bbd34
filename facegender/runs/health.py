"""What is unhealthy about the layers of a network: the rules, for the command line and the interface alike."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from facegender.runs.events import HealthMeasured, LayerHealth, RunStarted
from facegender.runs.folder import RunFolder
from facegender.runs.journal import read_kinds
from facegender.support.text import counted

Kind = Literal["not finite", "dead", "saturated", "duplicates", "gradient", "update"]

MAX_UPDATE_RATIO = 0.1
"""Change of a layer's weights in one step over their norm, above which training is likely to diverge. About 1e-3 is
usual with SGD (https://cs231n.github.io/neural-networks-3/#ratio) and up to some 1e-2 with Adam."""
MIN_SHARE_OF_MEDIAN = 1e-3
"""A layer whose weights change this much less than those of the median layer hardly learns. An absolute limit would
report every layer at the end of a schedule."""
MAX_GROWTH = 10.0
"""A gradient or an update ratio that is this many times its median over the epochs before explodes."""
EPOCHS_BEFORE = 20
"""Epochs that this median is taken over."""
MIN_EPOCHS_BEFORE = 3
"""After fewer epochs nothing is reported."""
MAX_NAMED = 12
"""Channels that a sentence names."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something unhealthy.

    Attributes:
        layer: Name of the convolution.
        channels: The channels that it is about, counted from 0; empty if it is about the whole layer.
        kind: What was found.
        text: A sentence without the layer's name; channels are counted from 1 there.
    """

    layer: str
    channels: tuple[int, ...] = ()
    kind: Kind
    text: str


def read_health(folder: RunFolder) -> dict[int, HealthMeasured]:
    """Read what a run's journal says of its layers, by epoch, counted from 0, ascending.

    Of an epoch that was trained again, only the last time counts.
    """
    found: dict[int, HealthMeasured] = {}
    for event in read_kinds(folder.journal_path, RunStarted, HealthMeasured):
        if isinstance(event, RunStarted):
            found = {epoch: health for epoch, health in found.items() if epoch < event.start_epoch}
        elif isinstance(event, HealthMeasured):
            found[event.epoch] = event
    return dict(sorted(found.items()))


def findings(health: HealthMeasured, before: Sequence[HealthMeasured] = ()) -> list[Finding]:
    """List what is unhealthy: first the layer where numbers stop being finite, then layer by layer.

    Args:
        health: Of the epoch to examine.
        before: The epochs before it, ascending; of them the last `EPOCHS_BEFORE` count.
    """
    found: list[Finding] = []
    past: dict[str, list[LayerHealth]] = {}
    for epoch in before[-EPOCHS_BEFORE:]:
        for layer in epoch.layers:
            past.setdefault(layer.name, []).append(layer)
    if health.first_not_finite:
        text = "the first layer with a NaN or an infinity in its weights, gradients or activations"
        found.append(Finding(layer=health.first_not_finite, kind="not finite", text=text))
    ratios = [layer.update_ratio for layer in health.layers if math.isfinite(layer.update_ratio)]
    median = statistics.median(ratios) if ratios else math.nan
    for layer in health.layers:
        found += _layer_findings(layer, median)
        found += _explosions(layer, past.get(layer.name, []))
    return found


def _explosions(layer: LayerHealth, past: Sequence[LayerHealth]) -> Iterator[Finding]:
    """Yield what of one layer is many times what it was in the epochs before."""
    figures: tuple[tuple[Kind, str, float, list[float]], ...] = (
        ("gradient", "gradient", layer.gradient_norm, [one.gradient_norm for one in past]),
        ("update", "update-to-weight ratio", layer.update_ratio, [one.update_ratio for one in past]),
    )
    for kind, name, value, earlier in figures:
        known = [one for one in earlier if math.isfinite(one)]
        if len(known) < MIN_EPOCHS_BEFORE:
            continue
        median = statistics.median(known)
        if median > 0 and value > MAX_GROWTH * median:
            text = f"its {name} explodes: {value:.1e}, {value / median:.0f} times the median of the epochs before"
            yield Finding(layer=layer.name, kind=kind, text=text)


def _layer_findings(layer: LayerHealth, median_ratio: float) -> Iterator[Finding]:
    """Yield what is unhealthy about one layer. Comparisons with a number that is not known (NaN) find nothing."""
    if layer.dead_count:
        share = f"{layer.dead_count} of {counted(layer.channels, 'channel')}"
        verb = "is" if layer.dead_count == 1 else "are"
        text = f"{share} {verb} dead (zero on every validation photograph): {_named(layer.dead, layer.dead_count)}"
        yield Finding(layer=layer.name, channels=tuple(layer.dead), kind="dead", text=text)
    if layer.saturated:
        share = f"{len(layer.saturated)} of {counted(layer.channels, 'channel')}"
        text = f"{share} stuck at one value on every probe: {_named(layer.saturated, len(layer.saturated))}"
        yield Finding(layer=layer.name, channels=tuple(layer.saturated), kind="saturated", text=text)
    for first, second, similarity in layer.duplicates:
        text = f"filters {first + 1} and {second + 1} are nearly equal (cosine similarity {similarity:.3f})"
        yield Finding(layer=layer.name, channels=(first, second), kind="duplicates", text=text)
    if layer.gradient_norm == 0:
        yield Finding(layer=layer.name, kind="gradient", text="its gradient is zero: it does not learn")
    elif layer.update_ratio > MAX_UPDATE_RATIO:
        text = f"a step changes {layer.update_ratio:.0%} of its weights' norm: the learning rate may be too high"
        yield Finding(layer=layer.name, kind="update", text=text)
    elif layer.update_ratio < MIN_SHARE_OF_MEDIAN * median_ratio:
        text = (
            f"it hardly learns: its updates are {layer.update_ratio:.1e} of its weights, the median {median_ratio:.1e}"
        )
        yield Finding(layer=layer.name, kind="update", text=text)


def _named(channels: list[int], count: int) -> str:
    """Name channels, counted from 1, as far as there is room."""
    numbers = ", ".join(str(channel + 1) for channel in channels[:MAX_NAMED])
    more = count - min(MAX_NAMED, len(channels))
    return f"{numbers} and {more} more" if more > 0 else numbers
