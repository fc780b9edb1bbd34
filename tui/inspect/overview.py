"""Several layers at once: on a large terminal, the layers around the selected one, one above the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from msgspec.structs import replace
from rich.text import Text
from textual import events, work
from textual.app import ComposeResult

from tui.graphics.textual_internals import Column
from tui.inspect.browser import LayerBrowser
from tui.inspect.modes import MODES
from tui.inspect.request import LayerPicture, LayerRequest
from tui.inspect.selection import Selection
from tui.widgets.layers import LayerChosen

MAX_LAYERS = 3
MIN_ROWS = 22
"""Of the pane of a layer."""
OF_ANY_LAYER = ("maps", "filters", "average", "difference")
"""Views that each layer has of its own; beside the others the maps are shown."""
POLL_S = 0.02
TURN_LIMIT_S = 2.0
"""How long a layer waits for the picture of the one before it."""
CACHE_BYTES = 6 << 20


def layers_around(selected: int, layers: int, count: int) -> list[int]:
    """Return the ``count`` layers nearest to the selected one, without it, ascending; fewer if there are fewer."""
    first = min(max(0, selected - count // 2), max(0, layers - count - 1))
    return [layer for layer in range(first, min(layers, first + count + 1)) if layer != selected][:count]


class LayerOverview(Column):
    """Shows the layers around the selected one, from the top to the bottom in their order."""

    DEFAULT_CSS = """
    LayerOverview { height: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__(id="overview")
        self._panes = tuple(_LayerPane() for _ in range(MAX_LAYERS))
        self._followed: LayerBrowser | None = None
        self._wanted: object = None

    def compose(self) -> ComposeResult:
        """A pane for each layer."""
        yield from self._panes

    def follow(self, browser: LayerBrowser) -> None:
        """Show other layers of the epoch, the view and the probe that a pane shows."""
        self._followed = browser
        count = min(MAX_LAYERS, self.size.height // MIN_ROWS)
        shown = layers_around(browser.selection.layer, len(browser.layers), count)
        for number, pane in enumerate(self._panes):
            pane.display = number < len(shown)
        wanted = shown, _LayerPane.source(browser)
        if wanted != self._wanted:
            self._wanted = wanted
            self._show_in_turn(browser, shown)

    @work(exclusive=True, group="overview")
    async def _show_in_turn(self, browser: LayerBrowser, layers: Sequence[int]) -> None:
        """Show one layer after the other: several threads that compose and encode at a time would delay the keys."""
        before = browser
        for pane, layer in zip(self._panes, layers, strict=False):
            until_s = time.monotonic() + TURN_LIMIT_S
            while not before.is_shown and time.monotonic() < until_s:
                await asyncio.sleep(POLL_S)
            pane.mirror(browser, layer)
            before = pane

    def on_resize(self) -> None:
        """Show as many layers as there is room for."""
        self._wanted = None
        if self._followed is not None:
            self.follow(self._followed)


class _LayerPane(LayerBrowser, can_focus=False):
    """The tiles of one layer, without photograph and cursor. A click selects the layer."""

    def __init__(self) -> None:
        super().__init__("", cache_bytes=CACHE_BYTES)

    @staticmethod
    def source(browser: LayerBrowser) -> object:
        """Return what changes when another picture is to be mirrored."""
        selection = replace(browser.selection, channel=None, zoomed=False, tile=0)
        return selection, browser._path_of, browser._frames, browser._times, browser.layers

    def mirror(self, browser: LayerBrowser, layer: int) -> None:
        """Show a layer of what another pane shows."""
        selection = browser.selection
        mode = selection.mode if selection.mode.view in OF_ANY_LAYER else MODES[0]
        scope, variant = (selection.scope, selection.variant) if mode is selection.mode else (None, None)
        self.selection = replace(
            selection, layer=layer, mode=mode, scope=scope, variant=variant, channel=None, zoomed=False, tile=0
        )
        self._path_of, self._frames, self._times = browser._path_of, browser._frames, browser._times
        self._layers, self._within = browser.layers, browser._within
        self._request()

    def _request_of(self, selection: Selection) -> LayerRequest | None:
        request = super()._request_of(selection)
        return None if request is None else replace(request, tiles_only=True)

    def _compose_ahead(self, shown: LayerPicture) -> None:
        """Leave the processor to the pane of the selected layer."""

    def _show_title(self) -> None:
        layer = self.selection.layer
        name = self._layers[layer] if layer < len(self._layers) else ""
        self._title.title = Text.assemble((name, "bold"), (f"  {self.selection.mode.title}", "dim"))

    def on_click(self, event: events.Click) -> None:
        """Select the layer, and the channel that was clicked."""
        channel = self._tile_under(event) if self.selection.mode.has_cursor else None
        self.post_message(LayerChosen(self.selection.layer, channel))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Leave the wheel to the panes that turn epochs."""

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Leave the wheel to the panes that turn epochs."""
