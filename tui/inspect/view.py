"""The widgets of the layer pane: the mosaic, the photograph beside it with its caption, and the legend."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal

from tui.graphics.geometry import Area, fit
from tui.graphics.textual_internals import Column
from tui.graphics.widget import PictureView
from tui.inspect.captions import caption_of
from tui.inspect.layout import SideSize
from tui.inspect.legend import legend
from tui.inspect.request import LayerPicture
from tui.widgets.lines import Lines


class LayerView(Horizontal):
    """Shows a `LayerPicture`.

    Attributes:
        mosaic: Shows the tiles.
        photograph: Shows the probe photograph.
    """

    DEFAULT_CSS = """
    LayerView { height: 1fr; width: 1fr; border: round $edge; border-top: none; padding: 0 1; }
    LayerView #mosaic { width: 1fr; height: 1fr; }
    LayerView #side { height: 1fr; }
    LayerView #photograph { width: 1fr; height: 1fr; margin-left: 1; }
    LayerView #caption { height: auto; margin-left: 1; }
    LayerView #legend { height: 1; dock: bottom; }
    LayerView.-empty #side, LayerView.-empty #legend { display: none; }
    """

    def __init__(self, placeholder: str, caption: Callable[[], Text] | None = None) -> None:
        """Make an empty view; the arguments are those of the pane, `LayerBrowser`."""
        super().__init__(classes="-empty")
        self.mosaic = PictureView(id="mosaic", placeholder=placeholder)
        self.photograph = PictureView(id="photograph")
        self._side = Column(id="side")
        self._caption = Lines(id="caption", markup=False)
        self._legend = Lines(id="legend", markup=False)
        self._caption_text = caption
        self._picture: LayerPicture | None = None
        self._side_size: SideSize | None = None

    def compose(self) -> ComposeResult:
        """The mosaic, the photograph with its caption, and the legend."""
        yield self.mosaic
        with self._side:
            yield self.photograph
            yield self._caption
        yield self._legend

    @property
    def pane_size(self) -> Area:
        """The room inside border and padding, in cells."""
        return Area(*self.content_size)

    def show(self, picture: LayerPicture) -> None:
        """Show a composed picture."""
        size = _fitted_side(picture)
        divided_anew = size != self._side_size
        self._picture, self._side_size = picture, size
        if divided_anew:
            self.remove_class("-empty")
            self._side.display = size.columns > 0
            self._side.styles.width = size.columns
            self.photograph.display = size.photograph_rows > 0
            self.photograph.styles.max_height = max(1, size.photograph_rows)
        self.mosaic.placeholder = "\n".join(picture.text)
        self.mosaic.show(picture.mosaic, once_laid_out=divided_anew)
        self.photograph.show(picture.photograph, once_laid_out=divided_anew)
        self._caption.write(self._caption_text() if self._caption_text else caption_of(picture))
        self._write_legend()

    @on(PictureView.Shown)
    def _note_colours(self) -> None:
        """Note in the legend if the mosaic was shown with fewer colours."""
        self._write_legend()

    def _write_legend(self) -> None:
        if self._picture is None:
            return
        wanted, shown, note = self.mosaic.picture, self.mosaic.shown, ""
        if wanted is not None and shown is not None and shown.job.picture.key == wanted.key and not shown.job.coarse:
            share = f"{shown.colours} of {len(shown.job.picture.palette)} colours"
            note = {"": "", "link": f"{share} for a slow link", "terminal": f"{share}: the terminal has no more"}[
                shown.limited_by
            ]
        text = legend(self._picture, note)
        text.truncate(self._picture.request.pane.columns, overflow="ellipsis")
        self._legend.write(text)

    def clear(self, why: str) -> None:
        """Show no picture but a text."""
        self.add_class("-empty")
        self._picture = self._side_size = None
        self.mosaic.placeholder = why
        self.mosaic.show(None)
        self.photograph.show(None)
        self._caption.update("")
        self._legend.update("")


def _fitted_side(picture: LayerPicture) -> SideSize:
    """Return the size of the side with no more rows for the photograph than it fills: the caption follows it."""
    size, photograph = picture.layout.side, picture.photograph
    if photograph is None or size.photograph_rows < 1:
        return size
    height, width = photograph.pixels.shape
    area = Area(max(1, size.columns - 1), size.photograph_rows)
    return size._replace(photograph_rows=fit(width, height, area, picture.request.terminal).rows)
