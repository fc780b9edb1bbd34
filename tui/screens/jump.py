"""Jump mode: a letter on each pane or field; the next key focuses the one with that letter."""

from __future__ import annotations

from string import ascii_lowercase

from textual import events
from textual.app import ComposeResult
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Label

from tui.graphics.textual_internals import ForgivingScreen


class Jump(ModalScreen[Widget | None], ForgivingScreen[Widget | None]):
    """Shows the letters over the screen below. Returns the chosen widget, or None after any other key."""

    DEFAULT_CSS = """
    Jump { background: transparent; }
    Jump Label { position: absolute; background: $accent; color: $background; text-style: bold; }
    """

    def __init__(self, targets: list[Widget]) -> None:
        """Create the screen for widgets that can take the focus, at most 26 of them."""
        super().__init__()
        self._targets = dict(zip(ascii_lowercase, targets, strict=False))

    def compose(self) -> ComposeResult:
        """A letter in the upper left corner of each widget."""
        for letter, target in self._targets.items():
            label = Label(f" {letter} ")
            label.styles.offset = target.region.offset
            yield label

    def on_key(self, event: events.Key) -> None:
        """Choose the widget with this letter."""
        event.stop()
        self.dismiss(self._targets.get(event.key))

    def on_click(self) -> None:
        """Close without a choice."""
        self.dismiss(None)
