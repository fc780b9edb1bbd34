"""Bordered panes with a title."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text
from textual.containers import Vertical
from textual.reactive import reactive
from textual.widget import Widget


class Pane(Vertical, can_focus=True):
    """A bordered container with a title."""

    def __init__(self, title: str, *children: Widget, id: str) -> None:
        super().__init__(*children, id=id)
        self._heading = title
        self._notes = (Text(), Text())
        self.border_title = Text(title)

    def show_notes(self, title: Text, subtitle: Text) -> None:
        """Show a note behind the title and one in the lower edge; the same ones repaint nothing."""
        if (title, subtitle) != self._notes:
            self._notes = title, subtitle
            self.border_title, self.border_subtitle = Text.assemble(self._heading, title), subtitle

    def restyle(self) -> None:
        """Show the notes again, in the colours of another theme."""
        if any(self._notes):
            title, subtitle = self._notes
            self.border_title, self.border_subtitle = Text.assemble(self._heading, title), subtitle


class ListPane(Pane, can_focus=False):
    """A pane that cannot have the focus, as the list in it may have it."""


class PaneTitle(Widget):
    """The upper edge of a pane with its title: a widget of its own, so that a new title repaints one row only.

    Attributes:
        title: The title; a new one is shown at once.
    """

    DEFAULT_CSS = """
    PaneTitle { height: 1; width: 1fr; }
    PaneTitle > .pane-title--edge { color: $edge; }
    """
    COMPONENT_CLASSES = {"pane-title--edge"}

    title: reactive[Text] = reactive(Text)

    def __init__(self, title: str = "") -> None:
        super().__init__()
        self.set_reactive(PaneTitle.title, Text(title))

    @property
    def room(self) -> int:
        """The width for the title in cells."""
        return max(0, self.size.width - 6)

    def render(self) -> Text:
        """Return the edge with the title in it."""
        room = max(0, self.size.width - 4)
        title = Text.assemble(" ", self.title, " ") if self.title else Text()
        title.truncate(room)
        edge = Style(color=self.get_component_styles("pane-title--edge").color.rich_color)
        left, right = Text("╭─", edge), Text("─" * (room - title.cell_len) + "─╮", edge)
        return Text.assemble(left, title, right)
