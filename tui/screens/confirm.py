"""A question with two answers, before something that cannot be taken back."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from tui.screens.base import BaseScreen


class Confirm(BaseScreen[bool]):
    """Ends with True only after the key that says so; everything else that leaves means no."""

    CSS_PATH = "confirm.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (11, "-tall")]
    BINDINGS = [
        ("y", "answer(True)", "yes"),
        ("n,escape,q", "answer(False)", "no"),
    ]

    def __init__(self, question: str, consequence: str) -> None:
        """Ask.

        Args:
            question: One line that ends in a question mark.
            consequence: What happens on yes.
        """
        super().__init__()
        self._question = question
        self._consequence = consequence

    def compose(self) -> ComposeResult:
        """The question in the middle."""
        with Vertical(id="question"):
            yield Static(self._question, id="what", markup=False)
            yield Static(self._consequence, id="then", markup=False)
            yield Static("y yes    n no", id="answers", markup=False)

    def action_answer(self, yes: bool) -> None:
        """Leave with the answer."""
        if self.is_current:  # the key may have been pressed twice
            self.dismiss(yes)
