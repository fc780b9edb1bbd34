"""The line at the bottom: a file to classify, or a command by its name."""

from __future__ import annotations

from typing import Literal

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Static

Purpose = Literal["classify", "command"]

_WORDS: dict[Purpose, tuple[str, str]] = {
    "classify": ("classify ›", "path of a photograph; Tab completes, Enter classifies, Esc leaves"),
    "command": ("command ›", "name of a command; Tab completes, Enter runs it, Esc leaves"),
}


class PromptInput(Input):
    """An input whose Tab asks for a completion."""

    BINDINGS = [
        Binding("tab", "complete", "complete", show=False),
        Binding("escape", "leave", "leave", show=False),
        # First, or what is typed right after it would be deleted with the rest.
        Binding("ctrl+u", "delete_left_all", "delete to the start", show=False, priority=True),
    ]

    def action_complete(self) -> None:
        """Ask for a completion of the text."""
        self.post_message(Prompt.CompletionWanted(self.value))

    def action_leave(self) -> None:
        """Give the keys back to the screen."""
        self.post_message(Prompt.Left())


class Prompt(Vertical):
    """Closed it takes one line that tells how to open it; open it has the keyboard."""

    DEFAULT_CSS = """
    Prompt { height: auto; }
    Prompt Horizontal { height: 1; }
    Prompt #prompt-label { width: auto; padding: 0 1; color: $text-muted; }
    Prompt.-open #prompt-label { color: $accent; text-style: bold; }
    Prompt PromptInput { background: transparent; width: 1fr; display: none; }
    Prompt.-open PromptInput { display: block; }
    Prompt #prompt-note { height: auto; max-height: 3; padding: 0 1; color: $text-muted; display: none; }
    Prompt.-noted #prompt-note { display: block; }
    Prompt.-problem #prompt-note { color: $error; }
    """

    class Submitted(Message):
        """Enter was pressed on a text that is not empty."""

        def __init__(self, purpose: Purpose, text: str) -> None:
            super().__init__()
            self.purpose = purpose
            self.text = text

    class CompletionWanted(Message):
        """Tab was pressed."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """The person wants out."""

    def __init__(self, hint: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.purpose: Purpose = "classify"
        self._hint = hint

    def compose(self) -> ComposeResult:
        """A note above the line, the label and the input."""
        yield Static(id="prompt-note", markup=False)
        with Horizontal():
            yield Static(self._hint, id="prompt-label", markup=False)
            yield PromptInput(id="prompt-input", select_on_focus=False, compact=True)

    @property
    def input(self) -> PromptInput:
        """The input."""
        return self.query_one(PromptInput)

    @property
    def is_open(self) -> bool:
        """Whether it has the keyboard."""
        return self.has_class("-open")

    def open(self, purpose: Purpose, text: str = "") -> None:
        """Take the keyboard."""
        self.purpose = purpose
        label, placeholder = _WORDS[purpose]
        self.query_one("#prompt-label", Static).update(label)
        self.add_class("-open")
        self.input.placeholder = placeholder
        self.input.value = text
        self.input.cursor_position = len(text)
        # At once: what was typed ahead belongs to the prompt, not to the keys of the screen.
        self.screen.set_focus(self.input)
        self.note("")

    def close(self) -> None:
        """Give the keyboard back."""
        self.remove_class("-open")
        self.query_one("#prompt-label", Static).update(self._hint)
        self.note("")

    def complete(self, text: str, candidates: str) -> None:
        """Replace the text by a longer one and show what else it could become."""
        self.input.value = text
        self.input.cursor_position = len(text)
        self.note(candidates)

    def note(self, text: str, *, problem: bool = False) -> None:
        """Say something above the line; empty says nothing."""
        note = self.query_one("#prompt-note", Static)
        if text != note.content:
            note.update(text)
        self.set_class(bool(text), "-noted")
        self.set_class(problem, "-problem")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Pass Enter on."""
        event.stop()
        if text := event.value.strip():
            self.post_message(self.Submitted(self.purpose, text))
        else:
            self.post_message(self.Left())
