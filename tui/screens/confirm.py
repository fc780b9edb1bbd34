"""A dialog, over the screen it is about, that asks before something that cannot be undone."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.screens.base import BaseScreen


class Confirm(ModalScreen[bool], BaseScreen[bool]):
    """Returns True only after the key for yes; every other way to close it means no."""

    CSS_PATH = "confirm.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (11, "-tall")]
    BINDINGS = [
        ("y", "answer(True)", "yes"),
        ("n,escape,q", "answer(False)", "no"),
        # Those of the application do not reach past a modal screen.
        ("ctrl+q,ctrl+c", "app.detach", "detach"),
    ]

    def __init__(self, question: str, consequence: str) -> None:
        """Create the dialog with a question in one line and what happens on yes."""
        super().__init__()
        self._question = question
        self._consequence = consequence

    def compose(self) -> ComposeResult:
        """The question, its consequence and the keys."""
        with Vertical(id="question"):
            yield Static(self._question, id="title", markup=False)
            yield Static(self._consequence, id="consequence", markup=False)
            yield Static("y yes    n no", id="answers", markup=False)

    def action_answer(self, yes: bool) -> None:
        """Close with the answer."""
        if self.is_active:  # the key may have been pressed twice
            self.dismiss(yes)
