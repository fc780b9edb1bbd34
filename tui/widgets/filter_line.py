"""A line in which a filter is typed."""

from __future__ import annotations

from dataclasses import dataclass

from textual import on
from textual.binding import Binding
from textual.containers import Horizontal
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from tui.widgets.inputs import TextInput


class FilterLine(Horizontal):
    """An input that is hidden until it is opened. Enter keeps the filter, Escape clears it."""

    DEFAULT_CSS = """
    FilterLine { height: 1; display: none; }
    FilterLine.-open { display: block; }
    FilterLine Static { width: auto; padding: 0 1; color: $accent; text-style: bold; }
    FilterLine Input { background: transparent; width: 1fr; }
    """
    BINDINGS = [
        Binding("escape", "close(False)", show=False),
        Binding("enter", "close(True)", show=False, priority=True),
    ]

    @dataclass
    class Changed(Message):
        """Another text is typed, or none any more."""

        text: str

    @dataclass
    class Closed(Message):
        """The line was closed; ``kept`` tells whether the filter stays."""

        kept: bool

    def __init__(self) -> None:
        super().__init__()
        self._focused_before: Widget | None = None
        self._label = Static(markup=False)
        self.input = TextInput(compact=True, select_on_focus=False)

    @property
    def is_open(self) -> bool:
        """Whether a filter is being typed."""
        return self.has_class("-open")

    async def open(self, what: str, text: str) -> None:
        """Show the line with a text in it, and give it the focus at once: what was typed ahead belongs to it."""
        if not self.input.is_attached:  # the first screen appears sooner without an input
            await self.mount(self._label, self.input)
        self._focused_before = self.screen.focused
        self._label.update(f"filter {what} ›")
        self.add_class("-open")
        self.input.value = text
        self.input.cursor_position = len(text)
        self.screen.set_focus(self.input)

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.is_open:
            self.post_message(self.Changed(event.value.strip()))

    def action_close(self, keep: bool) -> None:
        """Hide the line, and give the focus back unless another widget has it."""
        # The latest change of the text may still be in the queue; once this is closed it is too late.
        self.post_message(self.Changed(self.input.value.strip() if keep else ""))
        self.remove_class("-open")
        if self.input.has_focus:
            self.screen.set_focus(self._focused_before)
        self.post_message(self.Closed(keep))
