"""A gallery of photographs in pages, with a cursor: rows of pictures, each with a row of captions below it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from cachetools import LRUCache
from rich.text import Text
from textual import events, work
from textual.app import ComposeResult
from textual.message import Message
from textual.timer import Timer

from facegender.rendering.mosaics import RGB
from facegender.runs.protocol import Thumbnail
from facegender.support.arrays import UInt8Array
from facegender.support.text import percent
from tui.colours import picture_colours
from tui.graphics.context import terminal_of
from tui.graphics.geometry import Area, area_px
from tui.graphics.picture import Picture
from tui.graphics.terminal import Protocol, Terminal
from tui.graphics.textual_internals import Column
from tui.graphics.widget import PictureView
from tui.host.thumbnails import Thumbnails, Wanted
from tui.widgets.lines import Lines

MAX_ROWS = 12
"""Rows of photographs, or of captions alone, however high the terminal is."""
MIN_TILE_COLUMNS = 17
"""Width of a tile with the gap on its right: room for a sign, a class and its probability."""
PHOTOGRAPH_PX = 120
"""Height of a photograph, about."""
PHOTOGRAPH_BLOCKS = 22
"""The same in half blocks, two of which make a cell."""
MIN_PHOTOGRAPH_ROWS = 4
MAX_ENLARGEMENT = 1.25
"""Photographs are at most so much higher: where rows are left over, more photographs beside each other help more."""
TILE_ASPECT = 0.8
"""Width over height of a photograph's place: most faces are higher than wide, and wide photographs become smaller."""
COLOURS = 200
CACHE_BYTES = 12 << 20
"""Memory for composed rows, to show them again at once."""
GATHER_S = 0.15
"""A row is drawn as soon as it is complete; of one that takes longer, what has arrived is drawn now and then."""
AHEAD_AFTER_S = 0.1
"""How long a page must have been shown before the next one is composed, in case it is wanted next."""
UNREADABLE_COLOUR = (58, 48, 52)
"""In the place of a photograph that cannot be read; its caption says why."""


@dataclass(frozen=True)
class Tile:
    """One photograph.

    Attributes:
        name: As in ``photographs.json``; empty if it is not known.
        caption: Lines, the most important first. What has no room is left out.
    """

    name: str
    caption: tuple[Text, ...]


@dataclass(frozen=True)
class GalleryLayout:
    """How the tiles of a page are arranged, in cells.

    Attributes:
        columns, rows: Tiles side by side, and rows of tiles.
        tile_columns: Width of a tile with the gap on its right.
        picture_rows: Height of the photographs; 0 for captions alone.
        caption_rows: Lines below each photograph.
    """

    columns: int
    rows: int
    tile_columns: int
    picture_rows: int
    caption_rows: int

    @property
    def per_page(self) -> int:
        """Tiles of a page."""
        return self.columns * self.rows

    def tile_at(self, column: int, row: int) -> int | None:
        """The tile of the page that a cell belongs to, None beside the tiles."""
        across, down = column // self.tile_columns, row // (self.picture_rows + self.caption_rows)
        return down * self.columns + across if 0 <= across < self.columns and 0 <= down < self.rows else None


def gallery_layout(pane: Area, terminal: Terminal, *, captions: int, pictures: bool) -> GalleryLayout:
    """Arrange tiles of about `PHOTOGRAPH_PX`, enlarged so that they fill the pane.

    Args:
        pane: The room in cells.
        captions: Lines of a caption; fewer are shown where there is little room.
        pictures: Whether there are photographs to show.
    """
    if not pictures:
        columns = max(1, pane.columns // (MIN_TILE_COLUMNS + 5))
        rows = min(MAX_ROWS, max(1, pane.rows // (captions + 1)))
        return GalleryLayout(columns, rows, pane.columns // columns, 0, min(captions + 1, max(1, pane.rows)))
    blocks = terminal.protocol is Protocol.HALFBLOCK
    cell = (1, 2) if blocks else (terminal.cell_width_px, terminal.cell_height_px)
    wanted = max(MIN_PHOTOGRAPH_ROWS, round((PHOTOGRAPH_BLOCKS if blocks else PHOTOGRAPH_PX) / cell[1]))
    captions = min(captions, max(1, pane.rows - MIN_PHOTOGRAPH_ROWS))
    rows = min(MAX_ROWS, max(1, round(pane.rows / (wanted + captions))))
    if pane.rows // rows - captions < MIN_PHOTOGRAPH_ROWS:
        rows = max(1, rows - 1)
    picture_rows = max(1, min(pane.rows // rows - captions, round(MAX_ENLARGEMENT * wanted)))
    tile = max(MIN_TILE_COLUMNS, round(TILE_ASPECT * picture_rows * cell[1] / cell[0]) + 1)
    columns = max(1, pane.columns // tile)
    room = area_px(Area(pane.columns, picture_rows), terminal)[0] // cell[0]  # some terminals limit the width
    return GalleryLayout(columns, rows, min(pane.columns, room) // columns, picture_rows, captions)


@dataclass(frozen=True)
class RowRequest:
    """What a row of pictures shows.

    Attributes:
        key: For each tile its name, and whether its thumbnail has arrived.
        is_complete: All thumbnails have arrived.
        gap_colour: RGB colour between the photographs.
        thumbnails: None for one that has not arrived, whose place stays empty.
    """

    layout: GalleryLayout
    terminal: Terminal
    key: tuple[tuple[str, bool], ...]
    is_complete: bool
    gap_colour: RGB
    thumbnails: tuple[Thumbnail | None, ...] = field(compare=False)


class Gallery(Column, can_focus=True):
    """Shows items, which are numbers that mean something to the owner, in pages of photographs with captions.

    Args:
        thumbnails: Makes and keeps the photographs; whoever makes it calls `arrived` after each.
    """

    DEFAULT_CSS = """
    Gallery { width: 1fr; height: 1fr; padding: 0 1; }
    Gallery PictureView { width: 1fr; }
    Gallery Lines { width: 1fr; text-wrap: nowrap; }
    Gallery #empty { height: 1fr; content-align: center middle; text-align: center; color: $text-muted; }
    """
    ALLOW_SELECT = False

    class Moved(Message):
        """The cursor is on another item, or other items are shown."""

    class Chosen(Message):
        """The item under the cursor was clicked again."""

    def __init__(self, thumbnails: Thumbnails, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._thumbnails = thumbnails
        self._views = [PictureView() for _ in range(MAX_ROWS)]
        self._captions = [Lines(markup=False) for _ in range(MAX_ROWS)]
        self._empty = Lines(id="empty", markup=False)
        self.items: Sequence[int] = ()
        """What `show` was given last."""
        self._tile_of: Callable[[int], Tile] = lambda _: Tile("", ())
        self._has_pictures = True
        self._layout: GalleryLayout | None = None
        self._rows: dict[int, RowRequest] = {}
        """What each row of pictures shows, or will show soon."""
        self._pictures: LRUCache[RowRequest, Picture] = LRUCache(CACHE_BYTES, lambda picture: picture.pixels.nbytes)
        self._missing: dict[Wanted, int] = {}
        """The thumbnails of the page that have not arrived, and the row of each."""
        self._gathering: Timer | None = None
        self._ahead: Timer | None = None
        self.cursor = 0
        """Position of the cursor among the items."""

    def compose(self) -> ComposeResult:
        """The text where there is nothing, and the rows."""
        yield self._empty
        for view, captions in zip(self._views, self._captions, strict=True):
            view.display = captions.display = False
            yield view
            yield captions

    # What is shown

    def show(
        self, items: Sequence[int], tile_of: Callable[[int], Tile], *, cursor: int, pictures: bool, empty: str
    ) -> None:
        """Show items.

        Args:
            tile_of: Returns the tile of an item.
            cursor: Position of the item under the cursor.
            pictures: Whether there are photographs to show.
            empty: The text where there are no items.
        """
        self.items, self._tile_of, self._has_pictures = items, tile_of, pictures
        self.cursor = min(max(0, cursor), max(0, len(items) - 1))
        self._empty.write(Text("" if len(items) else empty))
        self._update()

    @property
    def item(self) -> int | None:
        """The item under the cursor; None if there are none."""
        return int(self.items[self.cursor]) if len(self.items) else None

    @property
    def problem(self) -> str:
        """Why there is no photograph under the cursor; empty if there is one, or none is expected."""
        if self._layout is None or not self._layout.picture_rows or (item := self.item) is None:
            return ""
        thumbnail = self._thumbnail(self._tile_of(item))
        return thumbnail.error if thumbnail is not None else ""

    @property
    def page(self) -> tuple[int, int]:
        """The shown page, counted from 1, and how many there are."""
        per_page = self._layout.per_page if self._layout else 1
        return self.cursor // per_page + 1, max(1, -(-len(self.items) // per_page))

    # Moving about

    def move(self, by: int) -> None:
        """Move the cursor by items."""
        self._move_to(self.cursor + by)

    def move_row(self, by: int) -> None:
        """Move the cursor by rows, if there is such a row."""
        to = self.cursor + by * (self._layout.columns if self._layout else 1)
        if 0 <= to < len(self.items):
            self._move_to(to)
        elif by > 0 and self._layout and to // self._layout.columns == (len(self.items) - 1) // self._layout.columns:
            self._move_to(len(self.items) - 1)  # the last row is not full

    def move_page(self, by: int) -> None:
        """Turn pages, the cursor with them."""
        page, pages = self.page
        if self._layout and 1 <= page + by <= pages:
            self._move_to(self.cursor + by * self._layout.per_page)

    def _move_to(self, cursor: int) -> None:
        cursor = min(max(0, cursor), max(0, len(self.items) - 1))
        if cursor != self.cursor:
            self.cursor = cursor
            self._update()

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on a tile; a second click on it chooses it."""
        offset = event.screen_offset - self.content_region.offset
        if self._layout is None or (tile := self._layout.tile_at(*offset)) is None:
            return
        cursor = self._first + tile
        if cursor == self.cursor:
            self.post_message(self.Chosen())
        elif cursor < len(self.items):
            self._move_to(cursor)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Turn a page back."""
        event.stop()
        self.move_page(-1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Turn a page."""
        event.stop()
        self.move_page(1)

    # Drawing

    def on_resize(self) -> None:
        """Arrange the tiles anew."""
        self._update()

    def redraw(self) -> None:
        """Draw everything again, e.g. for another terminal."""
        self._rows.clear()
        self._pictures.clear()
        self._update()

    def restyle(self) -> None:
        """Draw the rows again, in the colours of another theme."""
        self._update()

    def arrived(self, wanted: Wanted) -> None:
        """Draw a row once all its thumbnails have arrived; others soon."""
        row = self._missing.pop(wanted, None)
        if row is None:
            self._compose_ahead_soon()
        elif row not in self._missing.values():
            self._draw([row])
        elif self._gathering is None:
            self._gathering = self.set_timer(GATHER_S, self._draw)

    @property
    def _first(self) -> int:
        per_page = self._layout.per_page if self._layout else 1
        return self.cursor // per_page * per_page

    def _page(self, pages: int = 0) -> list[Tile]:
        """The tiles of the shown page, or of one before or after it."""
        assert self._layout is not None
        first = self._first + pages * self._layout.per_page
        return [self._tile_of(int(item)) for item in self.items[max(0, first) : max(0, first + self._layout.per_page)]]

    def _wanted(self, tile: Tile) -> Wanted:
        assert self._layout is not None
        terminal = terminal_of(self.app)
        return Wanted(tile.name, area_px(Area(self._layout.tile_columns - 1, self._layout.picture_rows), terminal))

    def _thumbnail(self, tile: Tile) -> Thumbnail | None:
        return self._thumbnails.get(self._wanted(tile))

    def _update(self) -> None:
        """Show the page that the cursor is on."""
        pane = Area(*self.content_size)
        if not all(pane) or not self.is_attached:
            return
        captions = max((len(self._tile_of(int(item)).caption) for item in self.items[:1]), default=1)
        layout = gallery_layout(pane, terminal_of(self.app), captions=captions, pictures=self._has_pictures)
        self._empty.display = not len(self.items)
        if layout != self._layout:
            self._layout = layout
            self._rows.clear()
        for row, (view, lines) in enumerate(zip(self._views, self._captions, strict=True)):
            used = row < layout.rows and len(self.items) > 0
            lines.display, view.display = used, used and layout.picture_rows > 0
            lines.styles.height, view.styles.height = layout.caption_rows, max(1, layout.picture_rows)
        self._write_captions()
        self._missing.clear()
        if layout.picture_rows:
            pages = [self._wanted(tile) for page in (0, 1, -1) for tile in self._page(page) if tile.name]
            for index, tile in enumerate(self._page()):
                if tile.name and self._thumbnails.get(wanted := self._wanted(tile)) is None:
                    self._missing[wanted] = index // layout.columns
            self._thumbnails.want(pages)
        self._draw()
        self.post_message(self.Moved())

    def _write_captions(self) -> None:
        layout, tiles, first = self._layout, self._page(), self._first
        assert layout is not None
        for row in range(layout.rows):
            across = tiles[row * layout.columns : (row + 1) * layout.columns]
            lines = []
            for number in range(layout.caption_rows):
                line = Text()
                for column, tile in enumerate(across):
                    text = self._caption_line(tile, number)
                    if first + row * layout.columns + column == self.cursor and number < len(tile.caption):
                        text = Text(text.plain, "reverse")
                    line.append_text(text).append(" ")
                lines.append(line)
            self._captions[row].write(Text("\n").join(lines))

    def _caption_line(self, tile: Tile, number: int) -> Text:
        assert self._layout is not None
        text = tile.caption[number].copy() if number < len(tile.caption) else Text()
        if self._layout.picture_rows and tile.name and number == self._layout.caption_rows - 1:
            thumbnail = self._thumbnail(tile)
            if thumbnail is not None and thumbnail.error:
                text = Text("cannot be read", "$warning")
        text.truncate(self._layout.tile_columns - 1, overflow="ellipsis", pad=True)
        return text

    def _draw(self, rows: Sequence[int] | None = None) -> None:
        """Compose rows of pictures that have changed, by default all, and show them; then the next page in advance."""
        layout = self._layout
        if layout is None or not layout.picture_rows or not self.is_attached:
            return
        if rows is None and self._gathering is not None:
            self._gathering.stop()
            self._gathering = None
        tiles = self._page()
        failed = False
        for row in range(layout.rows) if rows is None else rows:
            request = self._row_request(tiles, row)
            failed = failed or any(one is not None and one.error for one in request.thumbnails)
            if self._rows.get(row) != request:
                self._rows[row] = request
                self._show_row(row, request)
        if failed:
            self._write_captions()
            self.post_message(self.Moved())
        self._compose_ahead_soon()

    def _compose_ahead_soon(self) -> None:
        if self.is_attached and self._ahead is None:
            self._ahead = self.set_timer(AHEAD_AFTER_S, self._compose_ahead)

    def _row_request(self, tiles: Sequence[Tile], row: int) -> RowRequest:
        assert self._layout is not None
        across = tiles[row * self._layout.columns : (row + 1) * self._layout.columns]
        thumbnails = [self._thumbnail(tile) if tile.name else None for tile in across]
        complete = all(one is not None for tile, one in zip(across, thumbnails, strict=True) if tile.name)
        # Thumbnails are told apart by their names: comparing their pixels would cost more than drawing them.
        key = tuple((tile.name, one is not None) for tile, one in zip(across, thumbnails, strict=True))
        gap = picture_colours(self.app).gap
        return RowRequest(self._layout, terminal_of(self.app), key, complete, gap, tuple(thumbnails))

    @work(group="compose")
    async def _show_row(self, row: int, request: RowRequest) -> None:
        picture = await self._composed(request)
        if self._rows.get(row) == request:
            self._views[row].show(picture, once_laid_out=True)

    async def _composed(self, request: RowRequest) -> Picture | None:
        """Compose a row of pictures in a thread, or take it from the cache; None if there is nothing in it yet."""
        if all(one is None for one in request.thumbnails):
            return None
        picture = self._pictures.get(request)
        if picture is None:
            picture = await asyncio.to_thread(row_picture, request)
            with contextlib.suppress(ValueError):  # larger than the cache
                self._pictures[request] = picture
        return picture

    @work(group="ahead", exclusive=True)
    async def _compose_ahead(self) -> None:
        """Compose and encode the next page, which is probably wanted next, once the shown one is complete."""
        self._ahead = None
        if self._missing:
            return
        layout, tiles = self._layout, self._page(1)
        for row in range(layout.rows if layout is not None else 0):
            request = self._row_request(tiles, row)
            if request.is_complete and (picture := await self._composed(request)) is not None:
                await self._views[row].prepare(picture)


def row_picture(request: RowRequest) -> Picture:
    """Put the thumbnails of a row side by side, each above its caption."""
    layout, terminal = request.layout, request.terminal
    width, height = area_px(Area(layout.columns * layout.tile_columns, layout.picture_rows), terminal)
    out: UInt8Array = np.empty((height, width, 3), np.uint8)
    out[:] = request.gap_colour
    tile_px = width // layout.columns
    gap_px = area_px(Area(1, 1), terminal)[0]
    for number, thumbnail in enumerate(request.thumbnails):
        if thumbnail is None:
            continue
        left = number * tile_px
        if thumbnail.error:
            side = min(height, tile_px - gap_px)
            out[:side, left : left + side] = UNREADABLE_COLOUR
            continue
        w, h = thumbnail.size
        pixels = np.frombuffer(thumbnail.pixels, np.uint8).reshape(h, w, 3)[:height, : tile_px - gap_px]
        top = height - pixels.shape[0]  # photographs of different heights stand on their captions
        out[top:, left : left + pixels.shape[1]] = pixels
    return Picture.from_rgb(out, COLOURS)


def caption(sign: str, colour: str, predicted: str, share: float, label: str, name: str) -> tuple[Text, ...]:
    """Return the caption of a photograph: the prediction with its probability, the label, and the file name."""
    return (
        Text.assemble((f"{sign} ", f"bold {colour}"), predicted, f" {percent(share, 1)}"),
        Text.assemble(("label ", "dim"), label),
        Text(name, "dim"),
    )
