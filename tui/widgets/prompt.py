"""The line at the bottom that asks for a photograph."""

from __future__ import annotations

from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from tui.widgets.inputs import Completer, PathInput

_HINT = "c classifies a photograph, : runs a command"
_PLACEHOLDER = "path of a photograph; Tab completes, Enter classifies, Esc closes"


class Prompt(Vertical):
    """A path input that is hidden until it is opened; closed, a hint takes its line."""

    DEFAULT_CSS = """
    Prompt { height: auto; }
    Prompt Horizontal { height: 1; }
    Prompt #prompt-label { width: auto; padding: 0 1; color: $text-muted; }
    Prompt.-open #prompt-label { color: $accent; text-style: bold; }
    Prompt PathInput { background: transparent; width: 1fr; display: none; }
    Prompt.-open PathInput { display: block; }
    Prompt #prompt-note { height: auto; max-height: 3; padding: 0 1; color: $text-muted; display: none; }
    Prompt.-noted #prompt-note { display: block; }
    """
    BINDINGS = [Binding("escape", "close", "close the prompt", show=False)]

    @dataclass
    class Closed(Message):
        """Enter or Escape was pressed; the text is empty after Escape."""

        text: str

    def __init__(self, complete: Completer, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._focused_before: Widget | None = None
        self._note = Static(id="prompt-note", markup=False)
        self._label = Static(_HINT, id="prompt-label", markup=False)
        self.input = PathInput(complete, placeholder=_PLACEHOLDER, select_on_focus=False, id="prompt-input")

    def compose(self) -> ComposeResult:
        """A note above the line, the label and the input."""
        yield self._note
        with Horizontal():
            yield self._label
            yield self.input

    @property
    def is_open(self) -> bool:
        """Whether the prompt takes the keys."""
        return self.has_class("-open")

    def open(self, text: str = "") -> None:
        """Show the input with a text in it, and focus it."""
        self._focused_before = self.screen.focused
        self._label.update("classify ›")
        self.add_class("-open")
        self.input.value = text
        self.input.cursor_position = len(text)
        # At once: keys that were typed ahead belong to the prompt, not to the screen.
        self.screen.set_focus(self.input)
        self._show_note("")

    def close(self) -> None:
        """Hide the input, and focus what had the focus before."""
        self.screen.set_focus(self._focused_before)
        self.remove_class("-open")
        self._label.update(_HINT)
        self._show_note("")

    def action_close(self) -> None:
        """Close the prompt without a path."""
        self.post_message(self.Closed(""))

    @on(PathInput.Completed)
    def _show_candidates(self, event: PathInput.Completed) -> None:
        event.stop()
        if self.is_open:
            self._show_note(event.candidates)

    def _show_note(self, text: str) -> None:
        if text != self._note.content:
            self._note.update(text)
        self.set_class(bool(text), "-noted")

    @on(Input.Submitted)
    def _submit(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Closed(event.value.strip()))
