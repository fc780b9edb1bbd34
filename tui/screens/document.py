"""What screens that show sections of lines have in common: moving and copying."""

from __future__ import annotations

from textual.screen import ScreenResultType

from facegender.support.text import one_line
from tui.screens.base import BaseScreen
from tui.widgets.details import DetailsView

MAX_COPIED = 74_000
"""Bytes: xterm and others ignore an OSC 52 sequence whose base64 is longer than 100 000 characters."""
_SHOWN = 60
"""Characters of a copied text that the notification repeats."""


class DocumentScreen(BaseScreen[ScreenResultType]):
    """A screen around a `DetailsView`, on which its keys act wherever the focus is."""

    AUTO_FOCUS = "#details"

    def __init__(self) -> None:
        super().__init__()
        self.details = DetailsView(id="details")

    def action_details(self, change: str, *by: int) -> None:
        """Call an action of the document."""
        getattr(self.details, f"action_{change}")(*by)

    def action_copy(self) -> None:
        """Copy the line under the cursor, or its section, through the terminal."""
        if (section := self.details.section) is None:
            return
        line = self.details.line
        text = section.as_text() if line is None else line.copied or line.text
        if len(text.encode("utf-8", "replace")) > MAX_COPIED:
            self.notify("this is more than terminals copy: copy single lines", severity="error")
            return
        self.app.copy_to_clipboard(text)
        shown = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
        what = f"the section {section.title}" if line is None else one_line(shown)
        self.notify(f"copied {what} (if nothing arrives, the terminal does not allow OSC 52)", markup=False)
