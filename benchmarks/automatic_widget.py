"""The thing to compare with: the same mosaics in textual-image's automatic widget, flipped with the arrow keys."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image as PillowImage
from textual.app import App, ComposeResult
from textual_image.widget import Image

from facegender.runs.folder import RunFolder
from tui.graphics.geometry import Area
from tui.graphics.terminal import Protocol, Terminal
from tui.inspect.compose import compose
from tui.inspect.request import LayerRequest
from tui.inspect.selection import Selection

PANE = Area(122, 36)
"""A pane whose mosaic has 98 × 35 cells."""


class Viewer(App[None]):
    """One picture of the size of our layer pane."""

    CSS = "Image { width: 98; height: 35; }"
    BINDINGS = [("left", "move(-1)", ""), ("right", "move(1)", "")]

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self._folder = folder
        self._epochs = folder.frame_epochs()
        self._index = 0

    def compose(self) -> ComposeResult:
        """The widget, with the first epoch."""
        yield Image(self._picture())

    def _picture(self) -> PillowImage.Image:
        epoch = self._epochs[self._index]
        terminal = Terminal(Protocol.SIXEL)
        request = LayerRequest(self._folder.frame_path(epoch), Selection(epoch), PANE, terminal)
        return PillowImage.fromarray(compose(request).mosaic.rgb())

    def action_move(self, by: int) -> None:
        """Another epoch."""
        self._index = min(max(0, self._index + by), len(self._epochs) - 1)
        self.query_one(Image).image = self._picture()


if __name__ == "__main__":
    Viewer(RunFolder(Path(sys.argv[1]), sys.argv[2])).run()
