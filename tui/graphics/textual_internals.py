"""Every place where the program overrides what Textual does not offer as public API, and why.

After an upgrade of Textual read this file first. Each class says what it replaces, what it costs without it, and which
behaviour of Textual it relies on.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from codecs import IncrementalDecoder, getincrementaldecoder
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Literal, ParamSpec, Self

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual._compositor import Compositor, ReflowResult
from textual.app import App
from textual.containers import Horizontal, Vertical
from textual.driver import Driver
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Offset, Region, Size
from textual.message_pump import MessagePump
from textual.notifications import SeverityLevel
from textual.reactive import Reactive
from textual.screen import Screen, ScreenResultType
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import OptionList

from tui.graphics.context import terminal_of
from tui.graphics.probe import LateReplyFilter

if TYPE_CHECKING:
    from tui.graphics.painter import PicturePainter

P = ParamSpec("P")

LATE_REPLY_WINDOW_S = 30.0
"""How long after the start a terminal may still answer the probe; later keys are typed by a person."""
KEY_LIMIT_S = 1.0
"""How long a key may hold up the next one."""
MOUNT_POLL_S = 0.002
PART_CELLS = 1500
"""How many cells are painted in one go, which takes about 5 ms."""


class UnpaintedContainer(Widget):
    """A container that shows nothing but its children, and is never repainted itself.

    Textual refreshes a widget whenever it gains or loses the focus, or a child is mounted, which would redraw all
    children, pictures included.
    """

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """Refresh as any widget does, but without a repaint."""
        return super().refresh(*regions, repaint=False, layout=layout, recompose=recompose)


class Column(UnpaintedContainer, Vertical):
    """A vertical container without a border or padding, so that nothing of it is visible but its background.

    `Widget.BLANK` makes Textual's compositor draw it as blank cells instead of rendering it, styles and all.
    """

    BLANK = True


class Row(Horizontal):
    """A horizontal container without a border or padding; see `Column`."""

    BLANK = True


class UndividedWidget(Widget):
    """A widget that is painted as a whole: a picture that is written in parts would flicker."""


class PartsCompositor(Compositor):
    """A compositor that can paint a large change in parts, and that arranges the widgets once for each layout.

    Textual paints whatever has changed in one go, which takes 30 ms for a whole screen. After a layout it does not yet
    count its own map as complete: the next question where a widget is arranges all of them again, 15 ms for a form.
    """

    def reflow(self, parent: Widget, size: Size) -> ReflowResult:
        """Lay out all widgets."""
        result = super().reflow(parent, size)
        self._full_map_invalidated = False
        return result

    def _get_renders(self, crop: Region | None = None) -> Iterator[tuple[Region, Region, list[Strip]]]:
        """Render the lines that are in a part of the screen; Textual renders all lines of all widgets in the pane."""
        for widget, (region, clip) in self.visible_widgets.items():
            seen = region.intersection(clip)
            if crop is not None and not seen.overlaps(crop):
                continue
            if crop is not None and not isinstance(widget, UndividedWidget):
                seen = Region.from_corners(seen.x, max(seen.y, crop.y), seen.right, min(seen.bottom, crop.bottom))
            yield region, seen, widget.render_lines(seen.translate((-region.x, -region.y)))

    @property
    def is_quick(self) -> bool:
        """Whether what has changed is painted quickly: whole rows, as wide as all of it, are rendered for that."""
        rows = {row for region in self._dirty_regions for row in region.line_range}
        return len(rows) * self._changed.width <= PART_CELLS

    @property
    def _changed(self) -> Region:
        dirty = self._dirty_regions
        return Region.from_union(dirty).intersection(self.size.region) if dirty else Region()

    def hold_back(self) -> set[Region]:
        """Leave only as much of what has changed as is painted quickly; return the rest. Pictures come last."""
        if self.is_quick:
            return set()
        whole, seen = self._changed, self.visible_widgets.items()
        pictures = [region.intersection(clip) for widget, (region, clip) in seen if isinstance(widget, UndividedWidget)]
        kept = Region.from_union(pictures) if pictures else Region()
        parts = divided(whole, kept.intersection(whole))
        by_part = [{cut for region in self._dirty_regions if (cut := region.intersection(part))} for part in parts]
        changes = [regions for regions in by_part if regions]
        self._dirty_regions = set().union(*changes[:1])
        return set().union(*changes[1:])


def divided(whole: Region, kept: Region) -> list[Region]:
    """Divide a region into strips of at most `PART_CELLS` cells, but leave the part `kept` whole, as the last one."""
    x, y, right, bottom = *whole.offset, whole.right, whole.bottom
    around = [whole]
    if kept:
        corners = [(x, kept.y, kept.x, kept.bottom), (x, y, right, kept.y), (x, kept.bottom, right, bottom)]
        around = [Region.from_corners(*four) for four in (*corners, (kept.right, kept.y, right, kept.bottom))]
    strips = []
    for part in filter(None, around):
        rows = max(1, PART_CELLS // part.width)
        tops = range(part.y, part.bottom, rows)
        strips += [Region(part.x, top, part.width, min(rows, part.bottom - top)) for top in tops]
    return [*strips, kept] if kept else strips


class PreparedScreen(Screen[ScreenResultType]):
    """A screen that is styled and painted once when it is opened, laid out half as often, and not painted when hidden.

    Textual styles all widgets when they are mounted, and again when the screen is shown and when the classes of its
    breakpoints are set. Its first layout sends the screen a resize event, after which it is laid out again, and it is
    painted after each layout and by the refresh that follows. For a form of a hundred widgets that takes 100 ms.

    Later changes of much of the screen are painted in parts, and not in one go with the layout, so that keys and
    everything else are handled in between.
    """

    PAINTS_FIRST_LAYOUT: ClassVar[bool] = False
    """Paint right after the first layout, in one go, although some of it will be painted again."""
    _is_opening = False
    _is_laying_out = False
    _was_painted = False
    _rest_is_due = False

    def __init__(self, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name, id, classes)
        self._compositor: PartsCompositor = PartsCompositor()

    async def _compose(self) -> None:
        width, height = self.app.size
        self.add_class(
            *self._get_breakpoint_classes(width, self.HORIZONTAL_BREAKPOINTS or []),
            *self._get_breakpoint_classes(height, self.VERTICAL_BREAKPOINTS or []),
            update=False,
        )
        self.update_node_styles(animate=False)  # its stylesheet was loaded after it was registered
        await super()._compose()

    def _on_screen_resume(self, event: events.ScreenResume) -> None:
        """Prevent the second styling; Textual calls this before its own handler."""
        if not self.stack_updates:
            event.refresh_styles = False
            self._is_opening = True

    def _refresh_layout(self, size: Size | None = None, scroll: bool = False) -> None:
        if not self._is_opening:
            self._is_laying_out = True
            super()._refresh_layout(size, scroll)
            self._is_laying_out = False
        elif size is not None:  # the screen is resumed: what is being mounted asks for a layout, too
            self._layout_required = True
            self.check_idle()
        else:
            self._is_opening = not self.PAINTS_FIRST_LAYOUT
            super()._refresh_layout(self.app.size)
            if self._is_opening:
                self.call_later(self._paint)
            self._is_opening = self._repaint_required = False

    def _paint(self) -> None:
        self._dirty_widgets.add(self)  # `refresh` would paint it once more where another layout is due

    def _compositor_refresh(self) -> None:
        top = self.app.screen
        if self is not top and top.styles.background.a == 1:
            # Nothing of this screen is seen, and it is painted as a whole when it is resumed. Textual would paint the
            # whole screen on top of it, again and again.
            self._dirty_widgets.clear()
            self._compositor._dirty_regions.clear()
        elif self._is_opening:
            return
        elif self is not top or (self.PAINTS_FIRST_LAYOUT and not self._was_painted):
            super()._compositor_refresh()
            self._was_painted = True
        elif self._is_laying_out and not self._compositor.is_quick:
            self._paint_rest_later()
        else:
            rest = self._compositor.hold_back()
            super()._compositor_refresh()
            if rest:
                self._compositor._dirty_regions |= rest
                self._paint_rest_later()

    def _paint_rest_later(self) -> None:
        if not self._rest_is_due:
            self._rest_is_due = True
            # A screen handles the messages in its queue one after the other: by itself no other task would have a turn.
            asyncio.get_running_loop().call_soon(self.call_later, self._paint_rest)

    def _paint_rest(self) -> None:
        self._rest_is_due = False
        if self.app._batch_count:  # nothing is written meanwhile
            self._paint_rest_later()
        elif self._compositor._dirty_regions and not self._layout_required:  # a layout is followed by painting
            self._compositor.update_widgets(self._dirty_widgets)  # they count as painted after this
            self._compositor_refresh()

    def _screen_resized(self, size: Size) -> None:
        if size != self._size:
            super()._screen_resized(size)


class QuietFocusScreen(Screen[ScreenResultType]):
    """A screen that is not repainted when the focus moves.

    `Screen.focused` is a reactive that repaints the whole screen with each change: 24 KB for a key that opens the
    prompt. Widgets whose look depends on the focus are repainted anyway, when their pseudo class changes.
    """

    focused: Reactive[Widget | None] = Reactive(None, repaint=False)


class ForgivingScreen(Screen[ScreenResultType]):
    """A screen that survives a press of the mouse where a widget, such as a notification, has just been removed.

    Until the next layout Textual still finds the widget there, and asks for the region of its parent, which is None by
    then: an AttributeError, which ends the program.
    """

    def get_widget_and_offset_at(self, x: int, y: int) -> tuple[Widget | None, Offset | None]:
        """Find the widget at a place of the screen, and where in its text that is; a removed one does not count."""
        widget, offset = super().get_widget_and_offset_at(x, y)
        return (widget, offset) if widget is None or widget.is_attached else (None, None)


class ForgivingDriver(LinuxDriver):
    """A driver that survives input that is not UTF-8, or has a number for a key that no key has.

    A terminal with 8-bit input sends such bytes for Alt and a key, and a paste or a bad line may hold anything. Textual
    lets the error end the program. What is not UTF-8 becomes U+FFFD instead: starting to read anew would forget that a
    paste is open, and the rest of it would be taken for keys.
    """

    def run_input_thread(self) -> None:
        """Read keys, again after an error; what was read at the same time is dropped."""
        while not self.exit_event.is_set():
            with contextlib.suppress(ValueError, OverflowError):  # of `chr`
                return super().run_input_thread()


def _replacing_decoder(encoding: str) -> Callable[[], IncrementalDecoder]:
    return partial(getincrementaldecoder(encoding), "replace")


linux_driver.getincrementaldecoder = _replacing_decoder  # type: ignore[attr-defined, assignment]


def _move_page(options: OptionList, direction: Literal[-1, 1]) -> None:
    """Move by a page once the list is laid out; Textual raises a KeyError before, and where the list has no room.

    A key that arrives together with the one that opens a `Select` comes that early.
    """
    if options._lines:
        _textual_move_page(options, direction)


_textual_move_page = OptionList._move_page
OptionList._move_page = _move_page  # type: ignore[assignment, method-assign]


def write_control(app: App[Any], sequence: str) -> None:
    """Write a control sequence that leaves the screen as it is, between two updates of it."""
    if app._driver is not None and not app.is_headless:
        app._driver.write(sequence)


class RetractingApp(App[None]):
    """An app that takes notifications back; Textual's public methods only remove all of them."""

    def __init__(self, driver_class: type[Driver] | None = None) -> None:
        super().__init__(driver_class=driver_class)
        self._topics: dict[str, str] = {}

    def notify_about(
        self, topic: str, message: str, *, severity: SeverityLevel = "information", timeout: float = 5.0
    ) -> None:
        """Notify of something that may soon be no longer true; replaces what was said of the same topic.

        Args:
            message: Plain text without markup.
            timeout: Seconds.
        """
        self.retract(topic)
        self._topics[topic] = message
        self.notify(message, severity=severity, timeout=timeout, markup=False)

    def retract(self, topic: str) -> None:
        """Take back what was said of a topic, if it is still shown."""
        if message := self._topics.pop(topic, ""):
            self.call_later(self._take_back, message)  # the notification may still be in the queue

    def _take_back(self, message: str) -> None:
        for notification in list(self._notifications):
            if notification.message == message:
                self._unnotify(notification)


def notify_about(
    app: App[Any], topic: str, message: str, *, severity: SeverityLevel = "information", timeout: float = 5.0
) -> None:
    """Call `RetractingApp.notify_about` from a widget, whose app may be of any class."""
    if isinstance(app, RetractingApp):
        app.notify_about(topic, message, severity=severity, timeout=timeout)


def retract(app: App[Any], topic: str) -> None:
    """Call `RetractingApp.retract` from a widget."""
    if isinstance(app, RetractingApp):
        app.retract(topic)


class OrderedKeysApp(RetractingApp):
    """An app that handles typed keys one after the other.

    Textual puts each key into the queue of the focused widget, and looks for a binding when the key has come back
    through all widgets. Of keys that arrive in one read (over a slow link, from a program) the later ones thereby go to
    widgets that the first one has just left, and are lost. Here a binding is looked up when the key arrives. The next
    key waits until every message that the last one caused has been handled, and until a screen that it opened is
    mounted.

    Attributes:
        last_key_at: When the last key arrived, in seconds of the monotonic clock; 0 before the first.
    """

    def __init__(self, driver_class: type[Driver] | None = None) -> None:
        super().__init__(driver_class=driver_class)
        self._typed: deque[events.Key] = deque()
        self._key_limit: asyncio.TimerHandle | None = None
        """Set while a key is being handled."""
        self._key_number = 0
        """Counts the keys: one that took too long does not let a second one through when it has been handled."""
        self.last_key_at = 0.0

    @property
    def keys_wait(self) -> bool:
        """Whether more keys have arrived than have been handled."""
        return bool(self._typed)

    async def on_event(self, event: events.Event) -> None:
        """Dispatch events; keys wait for each other."""
        if not isinstance(event, events.Key):
            await super().on_event(event)
        elif not event.is_forwarded:  # a forwarded one comes back from the widgets, and no binding wanted it
            self._typed.append(event)
            self.last_key_at = time.monotonic()
            if self._key_limit is None:
                await self._next_key(self._key_number)

    async def _next_key(self, after: int) -> None:
        if after != self._key_number:
            return
        if self._key_limit is not None:
            self._key_limit.cancel()
            self._key_limit = None
        if not self._typed:
            return
        self._key_number += 1
        next_key = partial(self.call_later, self._next_key, self._key_number)
        # Whatever happens to the widgets that a key went through, it does not hold up the others for longer than this.
        self._key_limit = asyncio.get_running_loop().call_later(KEY_LIMIT_S, next_key)
        if not self.screen.is_mounted:
            asyncio.get_running_loop().call_later(MOUNT_POLL_S, next_key)
            return
        screen, widgets = self.screen, self.focused.ancestors_with_self if self.focused else [self.screen]
        try:
            await super().on_event(self._typed.popleft())
        finally:
            # What a message causes in a widget goes through its parents, and at last to the app.
            pumps = [widget for widget in widgets if widget is not self] if screen is self.screen else []
            self._follow_key(self._key_number, pumps)

    def _follow_key(self, number: int, pumps: Sequence[MessagePump]) -> None:
        """Handle the next key when the queues of these, and then that of the app, have been worked off."""
        for index, pump in enumerate(pumps):
            if pump.call_later(self._follow_key, number, pumps[index + 1 :]):
                return
        self.call_later(self._next_key, number)

    async def _check_bindings(self, key: str, priority: bool = False) -> bool:
        """Look for bindings with priority as Textual does, and then at once for all others."""
        return await super()._check_bindings(key, priority) or (priority and await super()._check_bindings(key))


class LateReplyApp(OrderedKeysApp):
    """An app that drops late replies of the terminal to the probe.

    A handler or a binding sees a key only after the focused widget; only `App.on_event` sees it before.

    Attributes:
        replied_late: The terminal has replied after the probe gave up.
    """

    def __init__(self) -> None:
        super().__init__(driver_class=ForgivingDriver)
        self.replied_late = False
        self._late_replies = LateReplyFilter()
        self._late_reply_until = time.monotonic() + LATE_REPLY_WINDOW_S

    def on_late_reply(self) -> None:
        """The terminal has begun to reply."""

    async def on_event(self, event: events.Event) -> None:
        """Dispatch events, dropping late replies to the terminal probe."""
        expected = terminal_of(self).round_trip_s is None and time.monotonic() < self._late_reply_until
        if expected and isinstance(event, events.Key) and self._late_replies.consumes(event.character, event.time):
            if not self.replied_late:
                self.replied_late = True
                self.on_late_reply()
            return
        await super().on_event(event)


_divide = Strip.divide


def _divide_without_cycle(strip: Strip, cuts: Iterable[int]) -> Sequence[Strip]:
    """Divide a strip as Textual does, but without a cache that holds the strip itself where nothing is cut off.

    Such a strip is garbage that only a collection frees, with its segments and styles: thousands of objects per key,
    and a pause of 0.1 to 0.5 s for all of them.
    """
    cuts = [cut for cut in cuts if cut <= strip.cell_length]
    return [strip] if cuts == [strip.cell_length] else _divide(strip, cuts)


Strip.divide = _divide_without_cycle  # type: ignore[method-assign, assignment]


def _on_base(method: Callable[Concatenate[Strip, P], Strip]) -> Callable[Concatenate[PictureStrip, P], Strip]:
    """Wrap a method of `Strip` that leaves the left edge where it is, so that its result still paints the picture."""

    def wrapped(self: PictureStrip, /, *args: P.args, **options: P.kwargs) -> Strip:
        return self._around(method(self._base, *args, **options))

    return wrapped


class PictureStrip(Strip):
    """A line of a widget, or a piece cut from it, part of which a painter writes.

    Textual asks a widget for its lines far more often than it writes them: for updates elsewhere on the screen, below
    the mouse, under other screens. Only `Strip.render` is called for exactly the cells that are written, after the
    compositor has cut away what other widgets cover. Painting there, no byte is sent twice and none is lost.

    Every method of `Strip` that returns a strip is overridden, or the result would be a plain strip without the
    picture; a test goes through them all.

    Args:
        base: The line as Textual knows it.
        painter: Writes the picture.
        row: The row within the picture.
        start: Where this piece starts, in columns from the start of the picture; negative if before it.
        width: The picture's width in columns.
    """

    __slots__ = ["_base", "_painter", "_row", "_start", "_width"]

    def __init__(self, base: Strip, painter: PicturePainter, row: int, start: int, width: int) -> None:
        super().__init__(base, base.cell_length)
        self._base = base
        self._painter = painter
        self._row = row
        self._start = start
        self._width = width

    def _around(self, base: Strip, offset: int = 0) -> Strip:
        """The same part of the picture around another line, which begins ``offset`` columns further right."""
        if not base.cell_length:
            return base
        return PictureStrip(base, self._painter, self._row, self._start + offset, self._width)

    def divide(self, cuts: Iterable[int]) -> Sequence[Strip]:
        """Cut at these columns."""
        offset = 0
        pieces = []
        for piece in self._base.divide(cuts):
            pieces.append(self._around(piece, offset))
            offset += piece.cell_length
        return pieces

    def crop(self, start: int, end: int | None = None) -> Strip:
        """Keep the columns from ``start`` up to but not including ``end``."""
        return self._around(self._base.crop(start, end), max(0, start))

    def crop_extend(self, start: int, end: int, style: Style | None) -> Strip:
        """Crop, and fill up with blanks."""
        return self._around(self._base.crop_extend(start, end, style), max(0, start))

    def crop_pad(self, cell_length: int, left: int, right: int, style: Style) -> Strip:
        """Crop, and add blanks on both sides."""
        return self._around(self._base.crop_pad(cell_length, left, right, style), -left)

    def text_align(self, width: int, align: str) -> Strip:
        """Add blanks where ``align`` leaves room."""
        excess = max(0, width - self._base.cell_length)
        left = {"left": 0, "center": excess // 2, "right": excess}[align]
        return self._around(self._base.text_align(width, align), -left)  # type: ignore[arg-type]  # Textual's literal

    __add__ = _on_base(Strip.__add__)
    adjust_cell_length = _on_base(Strip.adjust_cell_length)
    apply_filter = _on_base(Strip.apply_filter)
    apply_meta = _on_base(Strip.apply_meta)
    apply_offsets = _on_base(Strip.apply_offsets)
    apply_style = _on_base(Strip.apply_style)
    discard_meta = _on_base(Strip.discard_meta)
    extend_cell_length = _on_base(Strip.extend_cell_length)
    simplify = _on_base(Strip.simplify)
    style_links = _on_base(Strip.style_links)
    _apply_link_style = _on_base(Strip._apply_link_style)

    def render(self, console: Console) -> str:
        """The line as it is written to the terminal."""
        length = self._base.cell_length
        first = max(0, self._start)
        last = min(self._width, self._start + length)
        if first >= last:
            return self._base.render(console)
        text = self._painter.paint(self._row, first, last)
        if text is None:
            text = self._base.render(console)
        else:
            before = self._base.crop(0, first - self._start)
            after = self._base.crop(last - self._start)
            text = before.render(console) + text + (after.render(console) if after.cell_length else "")
        return text + self._painter.painted(self._row)


def spliced(base: Strip, left: int, segments: list[Segment], width: int) -> Strip:
    """The line with its columns from ``left`` replaced by segments that are ``width`` columns wide."""
    after = base.crop(left + width)
    return Strip([*base.crop(0, left), *segments, *after], base.cell_length)
