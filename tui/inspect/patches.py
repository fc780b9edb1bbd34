"""The patches of channels: made by another process when they are wanted, and kept for a while."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from cachetools import LRUCache

from facegender.support.errors import UserError
from tui.inspect.request import LayerPicture, LayerRequest
from tui.inspect.selection import Selection

KEPT = 20

_Key = tuple[int | None, int, int]
"""Epoch, layer and channel."""


class PatchSource(Protocol):
    """Makes the patches of photographs that excite a channel most, see `facegender.runs.patches`."""

    @property
    def is_warm(self) -> bool:
        """Whether an answer takes no longer than a moment."""

    async def patches(self, epoch: int, layer: str, channel: int) -> Path:
        """Return the file of patches of a channel, counted from 0.

        Raises:
            UserError: There are none; the message says why, in one line.
        """


class ChannelPatches:
    """The patches of one run's channels.

    Attributes:
        source: Makes them; None if nothing does.
    """

    def __init__(self) -> None:
        self.source: PatchSource | None = None
        self._known: LRUCache[_Key, Path | str] = LRUCache(KEPT)

    def clear(self) -> None:
        """Forget all patches."""
        self._known.clear()

    def of(self, selection: Selection) -> Path | str | None:
        """Return the file of the patches of a selected channel, or why there are none yet; None if none are wanted.

        Args:
            selection: With the epoch that is shown.
        """
        top = selection.mode.view == "top"
        if not top and not (selection.zoomed and selection.mode.has_cursor):
            return None
        known = self._known.get(_key(selection))
        if known is None and top and self.source is not None:
            cold = "" if self.source.is_warm else "; the first time takes some seconds"
            return f"the patches are being made{cold}…"
        return known

    def missing(self, picture: LayerPicture) -> bool:
        """Whether the patches of the shown channel should be made: the view shows them, or they cost little."""
        selection = picture.request.selection
        if self.source is None or picture.cursor is None or _key(selection) in self._known:
            return False
        return selection.mode.view == "top" or (selection.zoomed and self.source.is_warm)

    async def make(self, picture: LayerPicture) -> None:
        """Have the patches of the shown channel made."""
        selection = picture.request.selection
        if self.source is None or selection.epoch is None or picture.cursor is None:
            return
        layer = picture.layers[min(selection.layer, len(picture.layers) - 1)]
        try:
            self._known[_key(selection)] = await self.source.patches(selection.epoch, layer, picture.cursor)
        except UserError as error:
            self._known[_key(selection)] = f"the patches cannot be shown: {error}"

    def discard(self, request: LayerRequest) -> None:
        """Forget the patches that a request could not read: their file may have been removed."""
        self._known.pop(_key(request.selection), None)


def _key(selection: Selection) -> _Key:
    return selection.epoch, selection.layer, selection.channel or 0
