"""Several runs over each other."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import Static

from facegender.runs.folder import RunFolder
from tui.screens.base import BaseScreen
from tui.widgets.keys import KeyHints


class Compare(BaseScreen[None]):
    """Shows the curves of several runs over each other."""

    CSS_PATH = "compare.tcss"
    BINDINGS = [("escape,q", "leave", "back"), ("question_mark", "app.help", "help")]

    def __init__(self, folders: tuple[RunFolder, ...]) -> None:
        super().__init__()
        self._folders = folders

    def compose(self) -> ComposeResult:
        """The names of the runs."""
        yield Static(Text(f" Compare  {', '.join(folder.name for folder in self._folders)}"), id="title")
        yield KeyHints([], [("?", "help"), ("Esc", "back")])
