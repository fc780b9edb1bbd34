"""The part of a screen that looks inside: it holds what is selected, has it composed in a thread, and shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.message import Message
from textual.timer import Timer

from tui.graphics import ByteCache, Protocol
from tui.graphics.textual_internals import Column, UnpaintedContainer
from tui.inspect.layer_picture import LayerPicture, LayerRequest, NotComposed
from tui.inspect.selection import Selection
from tui.inspect.view import LayerTitle, LayerView, title_line
from tui.widgets.pane import PaneTitle

PLAY_EVERY_S = 0.4
CACHE_BYTES = 24 << 20
"""What pictures that were made may take, to be shown again at once."""
AHEAD_AFTER_S = 0.12
"""How long a picture must have been looked at before its neighbour is made, in case it is wanted next."""
MIN_PX = 8


class LayerBrowser(UnpaintedContainer, Column, can_focus=True):
    """A bordered pane around a `LayerView`. At most one picture is being composed; meanwhile the newest wish counts.

    The focus colours its upper edge alone: the others belong to the view, which would be drawn anew, picture and all.
    """

    DEFAULT_CSS = """
    LayerBrowser { width: 1fr; height: 1fr; }
    LayerBrowser:focus PaneTitle > .pane-title--edge { color: $accent; }
    """

    class Composed(Message):
        """A picture is ready."""

        def __init__(self, picture: LayerPicture) -> None:
            super().__init__()
            self.picture = picture

    class ComposeFailed(Message):
        """A picture could not be made; ``why`` is one line."""

        def __init__(self, request: LayerRequest, why: str) -> None:
            super().__init__()
            self.request = request
            self.why = why

    def __init__(
        self, placeholder: str, *, caption: Callable[[LayerPicture], Text] | None = None, id: str | None = None
    ) -> None:
        """Make an empty pane.

        Args:
            placeholder: What stands there before there is a picture.
            caption: What to write beside the photograph, if not what a probe of a run has.
        """
        super().__init__(id=id)
        self._caption = caption
        self.selection = Selection()
        self.heatmap = True
        self.aspect = 1.0
        self.placeholder = placeholder
        self._path_of: Callable[[int], Path] | None = None
        self._frames: tuple[int, ...] = ()
        self._layers: tuple[str, ...] = ()
        self._times: Mapping[int, float] = {}
        self._live = False
        self._picture: LayerPicture | None = None
        self._wanted: LayerRequest | None = None
        self._composing = False
        self._pictures: ByteCache[LayerPicture] = ByteCache(CACHE_BYTES)
        self._player: Timer | None = None
        self._direction = 0
        self._travelling = False
        self._ahead: Timer | None = None
        self._preparing: LayerRequest | None = None

    def compose(self) -> ComposeResult:
        """The title and the view."""
        yield PaneTitle()
        yield LayerView(self.placeholder, self._caption)

    @property
    def view(self) -> LayerView:
        """The view."""
        return self.query_one(LayerView)

    def open(self, path_of: Callable[[int], Path]) -> None:
        """Look at another run, from its latest epoch on.

        Args:
            path_of: The frame file of an epoch.
        """
        self.selection = replace(Selection(), mode=self.selection.mode)
        self._look_at(path_of)

    def close(self) -> None:
        """Look at nothing."""
        self._look_at(None)

    def _look_at(self, path_of: Callable[[int], Path] | None) -> None:
        self._path_of = path_of
        self._frames, self._layers, self._picture, self._wanted = (), (), None, None
        self._stop_playing()
        self._request()

    def update_frames(
        self,
        frames: tuple[int, ...],
        layers: tuple[str, ...],
        times: Mapping[int, float] | None = None,
        *,
        live: bool,
        placeholder: str,
    ) -> None:
        """Take note of which epochs have pictures.

        Args:
            times: When those of an epoch were made, where it is known: made again, they are shown again.
        """
        times = times or {}
        known = self._frames, self._layers, self._times, self._live, self.placeholder
        if (frames, layers, times, live, placeholder) == known:
            return
        self._frames, self._layers, self._times = frames, layers or self._layers, times
        self._live, self.placeholder = live, placeholder
        self._request()

    # Moving about

    def select(self, selection: Selection) -> None:
        """Look at something else."""
        if selection != self.selection:
            self.selection = selection
            self._request()

    def move_epoch(self, by: int) -> None:
        """So many pictures further."""
        self._stop_playing()
        direction = 1 if by > 0 else -1
        self._travelling = direction == self._direction
        self._direction = direction
        self.select(self.selection.moved_epoch(self._frames, by))

    def first_epoch(self) -> None:
        """The first epoch that has pictures."""
        self._stop_playing()
        if self._frames:
            self.select(replace(self.selection, epoch=self._frames[0]))

    def follow_live(self) -> None:
        """The latest epoch, and its successors as they come."""
        self._stop_playing()
        self.select(replace(self.selection, epoch=None))

    def move_layer(self, by: int) -> None:
        """So many layers further."""
        self.select(self.selection.moved_layer(len(self._layers), by))

    def move_probe(self, by: int) -> None:
        """So many probe photographs further."""
        self.select(self.selection.moved_probe(self._picture.probes if self._picture else 1, by))

    def move_channel(self, right: int, down: int) -> None:
        """Move the cursor in the mosaic."""
        if self._picture is None or self.selection.mode == "average":
            return
        columns = 1 if self.selection.zoomed else self._picture.columns
        channel = self.selection.channel
        if channel is not None and down and not 0 <= channel + down * columns < self._picture.channels:
            return
        self.select(self.selection.moved_channel(self._picture.channels, right + down * columns))

    def next_mode(self) -> None:
        """Maps, filters, average."""
        self.select(self.selection.next_mode())

    def zoom(self) -> None:
        """Only the channel under the cursor; the first one where there is no cursor."""
        if self.selection.mode != "average":
            self.select(replace(self.selection, channel=self.selection.channel or 0, zoomed=True))

    def back(self) -> bool:
        """Leave the zoom, then the cursor; False where there is nothing to leave."""
        if self.selection.zoomed:
            self.select(replace(self.selection, zoomed=False))
        elif self.selection.channel is not None:
            self.select(replace(self.selection, channel=None))
        else:
            return False
        return True

    def play(self) -> None:
        """Show the epochs one after another, from the first one if the last one is shown; again to pause."""
        if self._player is not None:
            self._stop_playing()
        elif len(self._frames) > 1:
            if self.selection.epoch_in(self._frames) == self._frames[-1]:
                self.select(replace(self.selection, epoch=self._frames[0]))
            self._player = self.set_interval(PLAY_EVERY_S, self._play_on)

    def _play_on(self) -> None:
        if self._composing:
            return
        self.select(self.selection.moved_epoch(self._frames, 1))
        if self.selection.follows_live:
            self._stop_playing()

    def _stop_playing(self) -> None:
        if self._player is not None:
            self._player.stop()
            self._player = None

    # Having pictures made

    def redraw(self) -> None:
        """Have the picture made again, whatever it is."""
        self._wanted = None
        self._pictures.clear()
        self._request()

    @on(LayerView.Resized)
    def _resized(self) -> None:
        self._request()

    def _request(self) -> None:
        epoch = self.selection.epoch_in(self._frames)
        if epoch is None or self._path_of is None:
            self._show_title()
            if self._picture is None:
                self.view.clear(self.placeholder)
            return
        if self.view.is_empty:
            # The places for the pictures have no size before they are laid out.
            self.view.make_room()
            self.call_after_refresh(self._request)
            return
        areas = self.view.areas
        if areas.mosaic_px == (0, 0):
            return
        choice = self.selection
        request = LayerRequest(
            file=self._path_of(epoch),
            epoch=epoch,
            written_at=self._times.get(epoch, 0.0),
            layer=choice.layer,
            probe=choice.probe,
            mode=choice.mode,
            channel=None if choice.mode == "average" else choice.channel,
            zoomed=choice.zoomed,
            area_px=_at_least(areas.mosaic_px),
            wide_area_px=_at_least(areas.wide_mosaic_px),
            photograph_px=areas.photograph_px,
            narrow_photograph_px=areas.narrow_photograph_px,
            terminal_enlarges=self.view.mosaic.terminal.protocol is Protocol.KITTY,
            heatmap=self.heatmap,
            aspect=self.aspect,
        )
        if request == self._wanted:
            self._show_title()
        else:
            # The title changes with the picture: one repaint of the pane instead of two.
            self._wanted = request
            if (made := self._pictures.get(request)) is not None:
                self._show_picture(made)
            elif not self._composing:
                self._compose_next(request)

    def _compose_next(self, request: LayerRequest) -> None:
        if request == self._preparing:
            return  # it is shown when it is made
        self._composing = True
        self.run_worker(partial(self._compose_in_thread, request), thread=True, group="compose")

    def _compose_in_thread(self, request: LayerRequest) -> None:
        # numpy and Pillow are imported here, after the first screen was painted.
        from tui.inspect.composing import compose

        try:
            picture = compose(request)
            self._pictures.put(request, picture, picture.mosaic.pixels.nbytes)
            self.post_message(self.Composed(picture))
        except NotComposed as error:
            self.post_message(self.ComposeFailed(request, str(error)))

    @on(Composed)
    def _composed(self, event: Composed) -> None:
        event.stop()
        picture = event.picture
        self._composing = False
        if self._wanted is None:
            return
        shown = self._picture is not None and self._picture.request == self._wanted
        if self._wanted != picture.request:
            if not shown:
                self._compose_next(self._wanted)
            if shown or _place(self._wanted) != _place(picture.request):
                return
        self._show_picture(picture)

    def _show_picture(self, picture: LayerPicture) -> None:
        self._picture = picture
        self._layers = picture.layers
        self.view.show(picture)
        self._show_title()
        if self._ahead is not None:
            self._ahead.stop()
        self._ahead = self.set_timer(AHEAD_AFTER_S, lambda: self._look_ahead(picture))

    def _look_ahead(self, shown: LayerPicture) -> None:
        """Have the next epoch's picture in the direction of travel made, if the shown one is still looked at."""
        epochs, at = self._frames, shown.request.epoch
        index = epochs.index(at) + (self._direction or 1) if at in epochs else -1
        if self._picture is shown and not self._composing and self._path_of and 0 <= index < len(epochs):
            epoch = epochs[index]
            written_at = self._times.get(epoch, 0.0)
            request = replace(shown.request, file=self._path_of(epoch), epoch=epoch, written_at=written_at)
            self._prepare(request)

    @work(group="ahead", exclusive=True)
    async def _prepare(self, request: LayerRequest) -> None:
        from tui.inspect.composing import compose

        mosaic = self.view.mosaic
        picture = self._pictures.get(request)
        if picture is None:
            self._preparing = request
            try:
                picture = await asyncio.to_thread(compose, request)
                self._pictures.put(request, picture, picture.mosaic.pixels.nbytes)
            except NotComposed:
                return
            finally:
                self._preparing = None
                if self._wanted == request and mosaic.is_attached:  # it was asked for meanwhile
                    if picture is not None:
                        self._show_picture(picture)
                    elif not self._composing:
                        self._compose_next(request)
        if mosaic.is_attached:  # the screen may have been left
            await mosaic.prepare(picture.mosaic, send=self._travelling)

    @on(ComposeFailed)
    def _compose_failed(self, event: ComposeFailed) -> None:
        event.stop()
        self._composing = False
        if self._wanted is None:
            return
        if self._wanted != event.request:
            self._compose_next(self._wanted)
            return
        # Not wanted any more, so that the next change of anything tries again.
        self._picture = self._wanted = None
        self.view.clear(event.why)
        self._show_title()

    @property
    def title(self) -> Text:
        """What stands above the picture."""
        return self.query_one(PaneTitle).title

    def _show_title(self) -> None:
        edge = self.query_one(PaneTitle)
        if self._path_of is None:
            edge.title = Text()
            return
        title = LayerTitle(
            layers=self._layers,
            layer=min(self.selection.layer, max(0, len(self._layers) - 1)),
            mode=self.selection.mode,
            probe=self.selection.probe,
            probes=self._picture.probes if self._picture else 0,
            epoch=self.selection.epoch_in(self._frames) if self._caption is None else None,
            newest=self._frames[-1] if self._frames else None,
            follows=self.selection.follows_live,
            live=self._live,
        )
        edge.title = title_line(title, edge.room)


def _place(request: LayerRequest) -> tuple[object, ...]:
    """What of a request a picture must share with it to be shown until the wanted one is there."""
    return request.file, request.layer, request.area_px, request.wide_area_px


def _at_least(area_px: tuple[int, int]) -> tuple[int, int]:
    return max(MIN_PX, area_px[0]), max(MIN_PX, area_px[1])
