"""What of a run's pictures is selected, and how the keys change it.

Plain data, so that the first screen does not wait for numpy.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec.structs import replace

from facegender.rendering.view_options import SCOPES, VARIANTS, Scope, Variant
from tui.inspect.modes import MODES, ViewMode

Choice = TypeVar("Choice")


class Selection(msgspec.Struct, frozen=True):
    """What of a run's pictures is selected. All numbers count from 0.

    Attributes:
        epoch: The epoch, or None for the latest one.
        layer: Index of the layer.
        probe: Index of the probe photograph.
        mode: The view.
        channel: Index of the channel under the cursor, or None if there is no cursor; it may be beyond the last one.
        zoomed: Show only that channel.
        tile: Without a cursor, a tile of the page to show.
        scope: What shares a scale of colours; None for what is usual in the view.
        variant: The way to show the view; None for the usual one.
        reference: The epoch that "difference" compares with; None for the first one that has pictures.
    """

    epoch: int | None = None
    layer: int = 0
    probe: int = 0
    mode: ViewMode = MODES[0]
    channel: int | None = None
    zoomed: bool = False
    tile: int = 0
    scope: Scope | None = None
    variant: Variant | None = None
    reference: int | None = None

    @property
    def follows_live(self) -> bool:
        """Whether a newer epoch is shown as soon as it has pictures."""
        return self.epoch is None

    def epoch_in(self, frames: tuple[int, ...]) -> int | None:
        """Return the chosen epoch if it is among ``frames``, or else the nearest earlier one; None without frames."""
        if not frames:
            return None
        if self.epoch is None:
            return frames[-1]
        return max((frame for frame in frames if frame <= self.epoch), default=frames[0])

    def moved_epoch(self, frames: tuple[int, ...], by: int) -> Selection:
        """Move by `by` of these epochs. Moving to the last one follows live again."""
        shown = self.epoch_in(frames)
        if shown is None:
            return self
        index = max(0, frames.index(shown) + by)
        return replace(self, epoch=None if index >= len(frames) - 1 and by > 0 else frames[min(index, len(frames) - 1)])

    def moved_layer(self, layers: int, by: int) -> Selection:
        """Move by `by` layers, stopping at either end. The cursor stays at its channel, if the layer has it."""
        layer = min(max(0, self.layer + by), max(0, layers - 1))
        return self if layer == self.layer else replace(self, layer=layer, tile=0)

    def moved_probe(self, probes: int, by: int) -> Selection:
        """Move by `by` probe photographs, wrapping around."""
        return replace(self, probe=(self.probe + by) % max(1, probes))

    def moved_channel(self, channels: int, by: int) -> Selection:
        """Move the cursor by `by` channels, stopping at either end; the first move only shows it, on this page."""
        if self.channel is None:
            return replace(self, channel=min(self.tile, max(0, channels - 1)))
        channel = min(self.channel, channels - 1) + by
        return replace(self, channel=min(max(0, channel), max(0, channels - 1)), tile=0 if self.zoomed else self.tile)

    def next_mode(self) -> Selection:
        """Switch to the next view, wrapping around. The cursor stays at its channel."""
        return replace(self, mode=MODES[(MODES.index(self.mode) + 1) % len(MODES)], zoomed=False, tile=0)

    def next_scope(self) -> Selection:
        """Switch what shares a scale of colours, if several things can, wrapping around."""
        scopes = SCOPES[self.mode.view]
        return replace(self, scope=_after(self.scope, scopes)) if len(scopes) > 1 else self

    def next_variant(self) -> Selection:
        """Switch to the next variant of the view, if it has several, wrapping around."""
        variants = VARIANTS.get(self.mode.view)
        return replace(self, variant=_after(self.variant, variants)) if variants else self

    def frozen(self, epoch: int) -> Selection:
        """Compare with an epoch, or no longer with it if that is the reference already."""
        return replace(self, reference=None if self.reference == epoch else epoch)


def _after(choice: Choice | None, choices: tuple[Choice, ...]) -> Choice:
    """Return the next of several choices, wrapping around; one that is not among them stands for the first."""
    index = choices.index(choice) if choice in choices else 0
    return choices[(index + 1) % len(choices)]
