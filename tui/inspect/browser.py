"""The layer pane: it holds the selection, has its picture composed in a thread, and shows it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from cachetools import LRUCache
from msgspec.structs import replace
from rich.text import Text
from textual import events, work
from textual.app import ComposeResult
from textual.message import Message
from textual.timer import Timer
from textual.worker import Worker

from tui.colours import picture_colours
from tui.graphics.context import context_of, terminal_of
from tui.graphics.geometry import area_px
from tui.graphics.textual_internals import Column
from tui.inspect.modes import MODES, ViewMode
from tui.inspect.patches import ChannelPatches
from tui.inspect.request import LayerPicture, LayerRequest, NotComposed
from tui.inspect.selection import Selection
from tui.inspect.title import title_line
from tui.inspect.view import LayerView
from tui.settings import settings_of
from tui.widgets.pane import PaneTitle

PLAY_EVERY_S = 0.4
"""Time from one epoch to the next while they are played."""
PLAY_CHECK_S = 0.02
PLAY_WAIT_S = 3.0
"""The longest that playing waits for a picture, e.g. for one that cannot be composed."""
CACHE_BYTES = 24 << 20
"""Memory for composed pictures, to show them again at once."""
MIN_PICTURE_BYTES = 32 << 10
FULL_BYTES_PER_PX = 0.5
FULL_WITHIN_S = 0.35
"""Tiles fill the pane if all of it can be sent so soon."""
AHEAD_AFTER_S = 0.12
"""How long a picture must have been shown before its neighbour is composed, in case it is wanted next."""


class LayerBrowser(Column, can_focus=True):
    """A bordered pane around a `LayerView`.

    At most one picture is composed at a time; when it is done, the newest request comes next, and those in between are
    skipped. The focus colours the upper edge alone: the others belong to the view, and repainting it would redraw the
    picture.

    Attributes:
        selection: What is selected; `select` changes it.
        heatmap: Blend the heatmap over the photograph; for a change to show, call `redraw`.
        aspect: Width over height of a classified photograph.
        placeholder: Shown if there is no picture.
        patches: The photographs that excite channels most.
    """

    class Selected(Message):
        """Something of `LayerBrowser.selection` has changed, or playing has begun or ended."""

    DEFAULT_CSS = """
    LayerBrowser { width: 1fr; height: 1fr; }
    LayerBrowser:focus PaneTitle > .pane-title--edge { color: $accent; }
    """

    def __init__(
        self,
        placeholder: str,
        *,
        caption: Callable[[], Text] | None = None,
        id: str | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Make an empty pane.

        Args:
            placeholder: Shown before there is a picture.
            caption: Returns the text beside the photograph of a classified file; None for the probes of a run.
            cache_bytes: Memory for composed pictures.
        """
        super().__init__(id=id)
        self.view = LayerView(placeholder, caption)
        self._title = PaneTitle()
        self._caption = caption
        self.selection = Selection()
        self.heatmap = True
        self.aspect = 1.0
        self.placeholder = placeholder
        self._path_of: Callable[[int], Path] | None = None
        self._frames: tuple[int, ...] = ()
        self._epochs: tuple[int, ...] = ()
        self._within: Mapping[int, int] = {}
        self._layers: tuple[str, ...] = ()
        self._times: Mapping[int, float] = {}
        self._live = False
        self._picture: LayerPicture | None = None
        self._wanted: LayerRequest | None = None
        self._composing: LayerRequest | None = None
        self._pictures: LRUCache[LayerRequest, LayerPicture] = LRUCache(cache_bytes, _size_bytes)
        self.patches = ChannelPatches()
        self._fill = True
        self._player: Worker[None] | None = None
        self._direction = 0
        self._travelling = False
        self._ahead: Timer | None = None

    def compose(self) -> ComposeResult:
        """The title and the view."""
        yield self._title
        yield self.view

    def open(self, path_of: Callable[[int], Path] | None, layer: int = 0) -> None:
        """Show a layer of another run, from its latest epoch on, or no run.

        ``path_of`` returns the frame file of an epoch; None for no run.
        """
        self.selection = Selection(layer=layer, mode=self.selection.mode)
        self._path_of = path_of
        self._frames, self._layers, self._picture, self._wanted = (), (), None, None
        self._epochs, self._within = (), {}
        self.patches.clear()
        self._stop_playing()
        self._request()
        self.post_message(self.Selected())

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs that can be selected, counted from 0 and ascending."""
        return self._epochs

    @property
    def frames(self) -> tuple[int, ...]:
        """The epochs that have pictures, ascending."""
        return self._frames

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers in the order of the network; empty while they are unknown."""
        return self._layers

    @property
    def channels(self) -> int:
        """How many channels the shown layer has; 0 without a picture."""
        return self._picture.channels if self._picture is not None else 0

    @property
    def shown(self) -> LayerRequest | None:
        """What the picture on the screen shows; None without a picture."""
        return self._picture.request if self._picture is not None else None

    @property
    def is_playing(self) -> bool:
        """Whether the epochs are shown one after another."""
        return self._player is not None

    @property
    def epoch(self) -> int | None:
        """The selected epoch, counted from 0, which may have no pictures; None before the first one."""
        return self.selection.epoch_in(self._epochs)

    @property
    def reference(self) -> int | None:
        """The epoch to compare the shown one with: the frozen one, or else the first; None if that is shown."""
        epoch = self.selection.epoch_in(self._frames)
        return None if epoch is None else self._reference(self.selection, epoch)

    def update_frames(
        self,
        frames: tuple[int, ...],
        layers: tuple[str, ...],
        times: Mapping[int, float] | None = None,
        *,
        live: bool,
        placeholder: str,
        finished: tuple[int, ...] = (),
        within: Mapping[int, int] | None = None,
    ) -> None:
        """Update which epochs have pictures.

        Args:
            frames: These epochs, ascending.
            layers: The names of the layers; empty if unknown.
            times: When the frame file of an epoch was written, if known; a file written again is shown again.
            live: Whether the run is training.
            placeholder: Shown if there is no picture.
            finished: Epochs that can be selected, whether they have pictures or not.
            within: For each epoch whose pictures were made before its end, the optimiser step after which they were.
        """
        times, within = times or {}, within or {}
        epochs = tuple(sorted({*frames, *finished}))
        known = self._frames, self._layers, self._times, self._live, self.placeholder, self._epochs, self._within
        if (frames, layers, times, live, placeholder, epochs, within) == known:
            return
        if any(self._times.get(epoch, written_at) != written_at for epoch, written_at in times.items()):
            self.patches.clear()  # a frame was written again, e.g. at the end of its epoch
        self._epochs, self._within = epochs, within
        self._frames, self._layers, self._times = frames, layers or self._layers, times
        self._live, self.placeholder = live, placeholder
        self._request()

    # Moving about

    def select(self, selection: Selection) -> None:
        """Show another selection."""
        if selection != self.selection:
            self.selection = selection
            self._request()
            self.post_message(self.Selected())

    def select_epoch(self, epoch: int) -> None:
        """Select an epoch, counted from 0; the latest one is followed."""
        self._stop_playing()
        self.select(replace(self.selection, epoch=None if self._epochs and epoch >= self._epochs[-1] else epoch))

    def move_epoch(self, by: int, *, every: bool = False) -> None:
        """Move by ``by`` epochs that have pictures, or by that many of ``every`` selectable epoch."""
        self._stop_playing()
        direction = 1 if by > 0 else -1
        self._travelling = direction == self._direction
        self._direction = direction
        self.select(self.selection.moved_epoch(self._epochs if every else self._frames, by))

    def first_epoch(self, *, every: bool = False) -> None:
        """Show the first epoch that has pictures, or the first of ``every`` selectable epoch."""
        self._stop_playing()
        epochs = self._epochs if every else self._frames
        self.select(self.selection.moved_epoch(epochs, -len(epochs)))

    def follow_live(self) -> None:
        """Show the latest epoch, and newer ones as they arrive."""
        self._stop_playing()
        self.select(replace(self.selection, epoch=None))

    def select_layer(self, layer: int, channel: int | None = None) -> None:
        """Select a layer, and put the cursor on one of its channels."""
        selection = self.selection.moved_layer(len(self._layers), layer - self.selection.layer)
        if channel is not None:
            if not selection.mode.has_cursor:
                selection = replace(selection, mode=MODES[0])
            selection = replace(selection, channel=channel)
        self.select(selection)

    def move_layer(self, by: int) -> None:
        """Move by `by` layers."""
        self.select(self.selection.moved_layer(len(self._layers), by))

    def move_probe(self, by: int) -> None:
        """Move by `by` probe photographs."""
        self.select(self.selection.moved_probe(self._picture.probes if self._picture else 1, by))

    def move_channel(self, by: int) -> None:
        """Move the cursor by `by` channels."""
        if self._picture is not None and self.selection.mode.has_cursor:
            selection = self.selection
            if selection.mode.view == "top" and selection.channel is None:
                selection = replace(selection, channel=0)  # it shows one channel in any case
            self.select(selection.moved_channel(self._picture.channels, by))

    def move_row(self, by: int) -> None:
        """Move the cursor by `by` rows of the mosaic, if there is such a row."""
        if self._picture is not None:
            alone = self.selection.zoomed or self.selection.mode.view == "top"
            columns = 1 if alone else self._picture.layout.grid.columns
            channel = self.selection.channel
            if channel is None or 0 <= channel + by * columns < self._picture.channels:
                self.move_channel(by * columns)

    def move_page(self, by: int) -> None:
        """Turn pages of tiles, the cursor with them, stopping at either end."""
        if (picture := self._picture) is None:
            return
        per_page = picture.layout.grid.count
        first = picture.first + by * per_page
        if not 0 <= first < picture.tiles:
            return
        if picture.cursor is None or self.selection.zoomed:
            self.select(replace(self.selection, tile=first))
        else:
            self.select(replace(self.selection, channel=min(picture.cursor + by * per_page, picture.tiles - 1)))

    def next_mode(self) -> None:
        """Switch to the next view."""
        self.select(self.selection.next_mode())

    def select_mode(self, mode: ViewMode) -> None:
        """Switch to a view."""
        self.select(replace(self.selection, mode=mode, zoomed=False, tile=0))

    def next_scope(self) -> None:
        """Switch what shares a scale of colours: each channel has its own, the layer, the layer in all epochs."""
        self._switch(self.selection.next_scope(), "this view has only one colour scale")

    def next_variant(self) -> None:
        """Switch the way in which the view is shown, e.g. filters in colours or by weight."""
        self._switch(
            self.selection.next_variant(), "this view has no variants; filters, difference and top patches have"
        )

    def _switch(self, selection: Selection, otherwise: str) -> None:
        """Show a selection, or say why it is no other one."""
        if selection == self.selection:
            self.notify(otherwise)
        else:
            self.select(selection)

    def freeze(self) -> None:
        """Make the shown epoch the reference of "difference"; if it is the reference, return to the first epoch."""
        if (epoch := self.selection.epoch_in(self._frames)) is not None:
            self.select(self.selection.frozen(epoch))

    def zoom(self) -> None:
        """Show only the channel under the cursor; the first one if there is no cursor."""
        if self.selection.mode.has_cursor and self.selection.mode.view != "top":
            channel = self.selection.tile if self.selection.channel is None else self.selection.channel
            self.select(replace(self.selection, channel=channel, zoomed=True, tile=0))

    def back(self) -> bool:
        """Leave the zoom, then hide the cursor; returns False if there is neither."""
        if self.selection.zoomed:
            self.select(replace(self.selection, zoomed=False, tile=0))
        elif self.selection.channel is not None:
            self.select(replace(self.selection, channel=None))
        else:
            return False
        return True

    # Mouse

    def on_click(self, event: events.Click) -> None:
        """Select a layer of the title, or put the cursor on a channel; a second click on it enlarges it."""
        layer = event.style.meta.get("layer")
        if layer is not None:
            self.select_layer(layer)
        elif (tile := self._tile_under(event)) is not None and self.selection.mode.has_cursor:
            if self.selection.zoomed or self.selection.mode.view == "top":
                return
            if self.selection.channel == tile:
                self.zoom()
            else:
                self.select(replace(self.selection, channel=tile))

    def _tile_under(self, event: events.MouseEvent) -> int | None:
        """Return the index of the tile under the mouse."""
        mosaic, picture = self.view.mosaic, self._picture
        offset = event.screen_offset - mosaic.content_region.offset
        if picture is None or picture.mosaic is None or (pixel := mosaic.pixel_at(*offset)) is None:
            return None
        tile = picture.layout.grid.tile_at(*pixel)
        return None if tile is None else picture.first + tile

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Show the previous epoch."""
        event.stop()
        self.move_epoch(-1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Show the next epoch."""
        event.stop()
        self.move_epoch(1)

    def play(self) -> None:
        """Play the epochs, from the first one if the last one is shown; pause if they are playing."""
        if self._player is not None:
            self._stop_playing()
        elif len(self._frames) > 1:
            if self.selection.epoch_in(self._frames) == self._frames[-1]:
                self.select(replace(self.selection, epoch=self._frames[0]))
            # The next picture is composed ahead, and sent ahead on a slow link.
            self._direction, self._travelling = 1, True
            self._player = self._play()
            self._show_title()
            self.post_message(self.Selected())

    @work(group="play", exclusive=True)
    async def _play(self) -> None:
        """Show one epoch after another at a steady rate, and wait for pictures that come late."""
        due_s = time.monotonic()
        while not self.selection.follows_live:
            due_s += PLAY_EVERY_S
            give_up_s = time.monotonic() + PLAY_WAIT_S
            while not self.is_shown and time.monotonic() < give_up_s:
                await asyncio.sleep(PLAY_CHECK_S)
            due_s = max(due_s, time.monotonic())
            await asyncio.sleep(due_s - time.monotonic())
            self.select(self.selection.moved_epoch(self._frames, 1))
        self._player = None
        self._show_title()
        self.post_message(self.Selected())

    @property
    def is_shown(self) -> bool:
        """Whether the picture of the selection is on the screen; also true while nothing can be shown there."""
        if not all(self.view.pane_size) or not self.screen.is_active:
            return True
        if self._picture is None or self._picture.request != self._wanted:
            return False
        wanted, shown = self._picture.mosaic, self.view.mosaic.shown
        return wanted is None or (shown is not None and shown.job.picture.key == wanted.key)

    def _stop_playing(self) -> None:
        if self._player is not None:
            self._player.cancel()
            self._player = None
            self._show_title()
            self.post_message(self.Selected())

    # Composing pictures

    def redraw(self) -> None:
        """Compose the picture again."""
        self._wanted = None
        self._pictures.clear()
        self._request()

    def restyle(self) -> None:
        """Compose the picture in the colours of another theme, and write the texts around it again."""
        self._show_title()
        self._request()

    def on_resize(self) -> None:
        """Compose the picture for the new size, once the layout is complete."""
        self.call_after_refresh(self._request)

    def _request(self) -> None:
        """Show the picture of the selection unless it is the one requested last."""
        request = self._request_of(self.selection)
        if request is None:
            self._show_title()
            if self._picture is None:
                self.view.clear(self.placeholder)
            return
        if not all(request.pane):
            return
        if request == self._wanted:
            self._show_title()
            return
        # The title changes with the picture: one repaint of the pane instead of two.
        self._wanted = request
        if (picture := self._pictures.get(request)) is not None:
            self._show_picture(picture)
        elif self._composing is None:
            self._start_composing(request)

    def _request_of(self, selection: Selection) -> LayerRequest | None:
        epoch = selection.epoch_in(self._frames)
        if epoch is None or self._path_of is None:
            return None
        zoomed, view = selection.zoomed and selection.mode.has_cursor, selection.mode.view
        reference: Path | None = None
        history: tuple[tuple[int, Path], ...] = ()
        if view == "difference" and (before := self._reference(selection, epoch)) is not None:
            reference = self._path_of(before)
        if self._caption is None and (zoomed or selection.scope == "run"):
            from facegender.rendering.history import spaced

            history = tuple((one, self._path_of(one)) for one in spaced(self._frames))
        selection = replace(selection, epoch=epoch, channel=selection.channel if selection.mode.has_cursor else None)
        patches = self.patches.of(selection)
        return LayerRequest(
            self._path_of(epoch),
            selection,
            self.view.pane_size,
            terminal_of(self.app),
            caption=None if self._caption is None else self._caption().plain,
            written_at=self._times.get(epoch, 0.0),
            heatmap=self.heatmap,
            aspect=self.aspect,
            fill=self._can_fill(),
            history=history,
            reference=reference,
            patches=patches if isinstance(patches, Path) else None,
            no_patches=patches if isinstance(patches, str) else "",
            levels=settings_of(self.app).levels,
            colour_map="gray" if self.app.no_color else settings_of(self.app).colour_map,
            monochrome=self.app.no_color,
            colours=picture_colours(self.app),
        )

    def _reference(self, selection: Selection, epoch: int) -> int | None:
        """Return the epoch to compare with: the frozen one, or the first one unless that is shown."""
        if selection.reference in self._frames:
            return selection.reference
        return self._frames[0] if self._frames[0] != epoch else None

    def _can_fill(self) -> bool:
        """Return whether the link can afford tiles that fill the pane.

        The measured rate varies: the answer stays unless the rate has changed much.
        """
        width, height = area_px(self.view.pane_size, terminal_of(self.app))
        seconds = context_of(self.app).link.seconds_for(round(width * height * FULL_BYTES_PER_PX))
        if not FULL_WITHIN_S / 2 < seconds < FULL_WITHIN_S:
            self._fill = seconds < FULL_WITHIN_S
        return self._fill

    def _start_composing(self, request: LayerRequest, *, ahead: bool = False) -> None:
        self._composing = request
        self._compose_picture(request, ahead)

    @work(group="compose")
    async def _compose_picture(self, request: LayerRequest, ahead: bool) -> None:
        """Compose a picture in a thread, then start with the one that was requested meanwhile.

        A picture composed ``ahead`` may be wanted next.
        """
        picture, why = None, ""
        try:
            picture = await asyncio.to_thread(_compose, request)
            with contextlib.suppress(ValueError):  # larger than the cache
                self._pictures[request] = picture
        except NotComposed as error:
            why = str(error)
            if request.patches is not None:
                self.patches.discard(request)
        finally:
            self._composing = None
        if not self.view.mosaic.is_attached:
            return
        wanted = self._wanted
        if request == wanted:
            if picture is not None:
                self._show_picture(picture)
            else:
                # Not wanted any more, so that the next change of anything tries again.
                self._picture = self._wanted = None
                self.view.clear(why)
                self._show_title()
        elif wanted is not None and (self._picture is None or self._picture.request != wanted):
            # Another view of the same layer is shown until the wanted one is ready.
            layers = [(one.file, one.pane, one.selection.layer) for one in (request, wanted)]
            if picture is not None and layers[0] == layers[1]:
                self._show_picture(picture)
            self._start_composing(wanted)
        elif ahead and picture is not None:
            self._send_ahead(picture)

    def _show_picture(self, picture: LayerPicture) -> None:
        self._picture = picture
        self._layers = picture.layers
        self.view.show(picture)
        self._show_title()
        if self.patches.missing(picture):
            self._make_patches(picture)
        if self._ahead is not None:
            self._ahead.stop()
        self._ahead = self.set_timer(AHEAD_AFTER_S, lambda: self._compose_ahead(picture))

    @work(group="patches", exclusive=True)
    async def _make_patches(self, shown: LayerPicture) -> None:
        """Have the patches of the shown channel made, and show them."""
        await self.patches.make(shown)
        self._request()

    def _compose_ahead(self, shown: LayerPicture) -> None:
        """Compose the next epoch's picture in the direction of travel, if this one is still shown."""
        if self._picture is not shown or self._composing is not None:
            return
        request = self._request_of(shown.request.selection.moved_epoch(self._frames, self._direction or 1))
        if request is None or request == shown.request:
            return  # there is no next one
        if (picture := self._pictures.get(request)) is not None:
            self._send_ahead(picture)
        else:
            self._start_composing(request, ahead=True)

    @work(group="ahead", exclusive=True)
    async def _send_ahead(self, picture: LayerPicture) -> None:
        """Encode a picture that may be wanted next, and while the user travels let a kitty terminal have it."""
        if picture.mosaic is not None:
            await self.view.mosaic.prepare(picture.mosaic, send=self._travelling)

    def _show_title(self) -> None:
        if self._path_of is None:
            self._title.title = Text()
            return
        self._title.title = title_line(
            self._layers,
            self.selection,
            frames=self._frames if self._caption is None else (),
            within=self._within,
            playing=self._player is not None,
            live=self._live,
            probes=self._picture.probes if self._picture else 0,
            width=self._title.room,
        )


def _size_bytes(picture: LayerPicture) -> int:
    """Return the size of a picture in the cache: that of its pixels, and at least that of its other fields."""
    return max(MIN_PICTURE_BYTES, 0 if picture.mosaic is None else picture.mosaic.pixels.nbytes)


def _compose(request: LayerRequest) -> LayerPicture:
    """Compose a picture, in a thread, where numpy and Pillow are imported with the first one."""
    from tui.inspect.compose import compose

    return compose(request)
