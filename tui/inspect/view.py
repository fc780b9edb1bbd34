"""The layer pane: a layer's maps or filters as a picture, the probe photograph beside it, what the colours mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Static

from tui import format as fmt
from tui.graphics import PictureView
from tui.graphics.textual_internals import Column
from tui.inspect.layer_picture import LayerPicture
from tui.widgets.status import bar

_VIRIDIS = ("#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725")
_DIVERGING = ("#053061", "#2f79b5", "#90c4dd", "#dfecf3", "#f7f7f7", "#fbe5d8", "#f3a481", "#c13639", "#67001f")
_NAMES = {"maps": "feature maps", "filters": "filters", "average": "channel average"}
MIN_NAME = 8
"""What is always left of a layer's name."""


@dataclass(frozen=True)
class LayerTitle:
    """What stands above the picture.

    Attributes:
        newest: The newest epoch that has pictures.
        follows: Whether the view moves on by itself.
        live: Whether the run is still training.
    """

    layers: tuple[str, ...]
    layer: int
    mode: str
    probe: int
    probes: int
    epoch: int | None
    newest: int | None
    follows: bool
    live: bool


class Areas(NamedTuple):
    """(width, height) in pixels of the places for pictures; (0, 0) where there is none.

    Attributes:
        wide_mosaic_px: Of a mosaic beside a narrow side.
        narrow_photograph_px: Of the photograph in that side.
    """

    mosaic_px: tuple[int, int]
    wide_mosaic_px: tuple[int, int]
    photograph_px: tuple[int, int]
    narrow_photograph_px: tuple[int, int]


class LayerView(Horizontal):
    """A mosaic of channels. It is told what to show, and says when its place for the picture has another size."""

    DEFAULT_CSS = """
    LayerView { height: 1fr; width: 1fr; border: round $surface-lighten-2; border-top: none; padding: 0 1; }
    LayerView #mosaic { width: 1fr; height: 1fr; }
    LayerView #side { width: 24; height: 1fr; }
    LayerView #photograph { width: 1fr; height: 1fr; max-height: 12; margin-left: 1; }
    LayerView #caption { height: auto; margin-left: 1; }
    LayerView #legend { height: 1; dock: bottom; }
    LayerView.-wide #side { width: 10; }
    LayerView.-wide #photograph { max-height: 5; }
    LayerView.-no-side #side, LayerView.-empty #side, LayerView.-empty #legend { display: none; }
    """

    SIDE_FROM_WIDTH = 72
    SIDE_WIDTH, NARROW_SIDE_WIDTH = 24, 10
    PHOTOGRAPH_ROWS, NARROW_PHOTOGRAPH_ROWS = 12, 5
    """As in the style above."""

    class Resized(Message):
        """The place for the picture has another size in pixels."""

    def __init__(self, placeholder: str, caption: Callable[[LayerPicture], Text] | None = None) -> None:
        """Make an empty view.

        Args:
            placeholder: What stands there before there is a picture.
            caption: What to write beside the photograph; with one of its own, that always keeps its width.
        """
        super().__init__(classes="-empty")
        self._placeholder = placeholder
        self._caption = caption or probe_caption
        self._side_stays = caption is not None
        self._words = Text()

    def compose(self) -> ComposeResult:
        """The picture, the photograph with its caption, and the legend."""
        yield PictureView(id="mosaic", placeholder=self._placeholder)
        with Column(id="side"):
            yield PictureView(id="photograph")
            yield Static(id="caption", markup=False)
        yield Static(id="legend", markup=False)

    @property
    def mosaic(self) -> PictureView:
        """Where the mosaic is shown."""
        return self.query_one("#mosaic", PictureView)

    @property
    def photograph(self) -> PictureView:
        """Where the probe photograph is shown."""
        return self.query_one("#photograph", PictureView)

    @property
    def areas(self) -> Areas:
        """The places for pictures, those of the other width of the side as far as they can be told from here."""
        mosaic, photograph = self.mosaic, self.photograph
        if self.has_class("-no-side"):
            return Areas(mosaic.area_px, mosaic.area_px, (0, 0), (0, 0))
        if self._side_stays:
            return Areas(mosaic.area_px, mosaic.area_px, photograph.area_px, photograph.area_px)
        gain, height = self.SIDE_WIDTH - self.NARROW_SIDE_WIDTH, self.mosaic.content_size.height
        if self.has_class("-wide"):
            rows = min(self.PHOTOGRAPH_ROWS, height)
            other = photograph.area_px_of(wider=gain, rows=rows)
            return Areas(mosaic.area_px_of(wider=-gain), mosaic.area_px, other, photograph.area_px)
        other = photograph.area_px_of(wider=-gain, rows=min(self.NARROW_PHOTOGRAPH_ROWS, height))
        return Areas(mosaic.area_px, mosaic.area_px_of(wider=gain), photograph.area_px, other)

    def on_resize(self, event: events.Resize) -> None:
        """Drop the photograph where there is no room for both, and ask for a picture that fits."""
        narrow = event.size.width < self.SIDE_FROM_WIDTH
        self.set_class(narrow and not self._side_stays, "-no-side")
        self.set_class(narrow, "-narrow")
        self.call_after_refresh(self._announce)

    def _announce(self) -> None:
        self.post_message(self.Resized())

    def show(self, picture: LayerPicture) -> None:
        """Show a composed picture."""
        if picture.wide == self.has_class("-wide"):
            self.mosaic.show(picture.mosaic)
            self.photograph.show(picture.photograph)
        else:
            self.set_class(picture.wide, "-wide")
            self.mosaic.show_once_laid_out(picture.mosaic)
            self.photograph.show_once_laid_out(picture.photograph)
            self.call_after_refresh(self._announce)
        self._write("#caption", narrow_caption(picture) if picture.wide else self._caption(picture))
        self._words = self._legend(picture)
        self._write_legend()

    @on(PictureView.Shown, "#mosaic")
    def _mosaic_shown(self, event: PictureView.Shown) -> None:
        """Say where the link was too slow for all colours."""
        event.stop()
        self._write_legend()

    def _write_legend(self) -> None:
        wanted, shown, note = self.mosaic.picture, self.mosaic.shown, ""
        if wanted is not None and shown is not None and shown.job.picture.key == wanted.key and not shown.job.coarse:
            share = f"  {shown.colours} of {len(shown.job.picture.palette)} colours"
            note = {"": "", "link": f"{share} for a slow link", "terminal": f"{share}: the terminal has no more"}[
                shown.limited_by
            ]
        self._write("#legend", self._words.copy().append(note, "dim"))

    def _write(self, selector: str, text: Text) -> None:
        """Put a text in its place. A layout draws the whole screen, so only where the number of lines changes."""
        static = self.query_one(selector, Static)
        before = static.content
        lines = before.plain.count("\n") if isinstance(before, Text) else -1
        if before != text:
            static.update(text, layout=text.plain.count("\n") != lines)

    @property
    def is_empty(self) -> bool:
        """Whether a text stands in the place of everything else."""
        return self.has_class("-empty")

    def make_room(self) -> None:
        """Lay out the places for pictures."""
        self.remove_class("-empty")

    def clear(self, why: str) -> None:
        """Show no picture, and say why."""
        self.add_class("-empty")
        self.mosaic.placeholder = why
        self.mosaic.show(None)
        self.photograph.show(None)
        self.query_one("#caption", Static).update("")
        self.query_one("#legend", Static).update("")

    def _legend(self, picture: LayerPicture) -> Text:
        request = picture.request
        signed = request.mode == "filters"
        scale = Text(f"{fmt.significant(picture.low)} ")
        for colour in _DIVERGING if signed else _VIRIDIS:
            scale.append("█", colour)
        scale.append(f" {fmt.significant(picture.high)}")
        if not picture.common_range and request.channel is None:
            scale = Text.assemble("low ", *(("█", colour) for colour in _VIRIDIS), " high, each map over its own range")
        out = Text(no_wrap=True, overflow="ellipsis")
        if request.mode == "average":
            out.append(f"mean of {_count(picture)} channels  ")
        elif request.channel is None:
            out.append(f"{picture.channels} {'filters' if signed else 'maps'}  ")
        else:
            out.append(f"{'filter' if signed else 'channel'} {min(request.channel, picture.channels - 1) + 1}", "bold")
            out.append(f" of {picture.channels}  ", "dim")
        if picture.channel_stats:
            mean, _, _, high, zero = picture.channel_stats
            out.append(f"mean {fmt.significant(mean)}  max {fmt.significant(high)}  zero {100 * zero:.0f} %  ", "dim")
        if signed:
            out.append("mean over inputs  " if not request.zoomed else "one kernel an input  ", "dim")
        return out.append_text(scale)


def probe_caption(picture: LayerPicture) -> Text:
    """A probe's name, its annotated class and what the network gave each class."""
    out = Text(picture.name, "dim", overflow="ellipsis", no_wrap=True)
    if picture.label:
        out.append("\nannotated ", "dim").append(picture.label)
    return out.append_text(probability_bars(picture.probabilities, 8))


def narrow_caption(picture: LayerPicture) -> Text:
    """The same for a few columns, without the name."""
    out = Text.assemble(("annotated\n", "dim"), picture.label, "\n") if picture.label else Text()
    for number, (name, share) in enumerate(picture.probabilities.items()):
        out.append(f"\n{name}\n").append(fmt.percent(share), fmt.CLASS_COLOURS[number % 2])
    return out


def probability_bars(probabilities: dict[str, float], width: int) -> Text:
    """A line a class: its name, a bar of so many cells, its share."""
    out = Text()
    for number, (name, share) in enumerate(probabilities.items()):
        out.append(f"\n{name:<7}")
        out.append_text(bar(share, width, fmt.CLASS_COLOURS[number % 2]))
        out.append(f"{fmt.percent(share):>8}")
    return out


def _count(picture: LayerPicture) -> str:
    return "all" if picture.channels == 1 else str(picture.channels)


def title_line(title: LayerTitle, width: int) -> Text:
    """The pane's title: the layers with the chosen one marked, the view, the epoch and the probe.

    Where it does not fit, layers around the chosen one are left out first, then a hint, then a part of its name.

    Args:
        width: The room for it in cells.
    """
    count = len(title.layers)
    for around, hint in [(count, True), (2, True), (1, True), (0, True), (0, False)]:
        rest = _title_rest(title, hint)
        line = _layer_names(title, around).append_text(rest)
        if line.cell_len <= width:
            return line
    excess = line.cell_len - width
    return _layer_names(title, 0, shorter_by=excess).append_text(rest)


def _layer_names(title: LayerTitle, around: int, shorter_by: int = 0) -> Text:
    """The chosen layer and so many on each side of it, with its number where that is not all.

    Args:
        shorter_by: What to cut off at the beginning of the chosen one's name, as its end tells more.
    """
    out = Text(no_wrap=True)
    shown = range(max(0, title.layer - around), min(len(title.layers), title.layer + around + 1))
    for index in shown:
        name = title.layers[index]
        if index != title.layer:
            out.append(f" {name}  ", "dim")
            continue
        if shorter_by and (cut := min(shorter_by + 1, len(name) - MIN_NAME)) > 1:
            name = "…" + name[cut:]
        out.append(f"▸{name}◂ ", "bold")
        if len(shown) < len(title.layers):
            out.append(f"{title.layer + 1}/{len(title.layers)} ", "dim")
    return out


def _title_rest(title: LayerTitle, hint: bool) -> Text:
    """View, epoch and probe; ``hint`` says which key leads to the latest epoch."""
    out = Text(f" {_NAMES[title.mode]}")
    if title.epoch is not None and title.newest is not None:
        out.append(f"  epoch {title.epoch + 1}", "bold")
        if title.follows:
            out.append(" ● live" if title.live else " latest", "#98c379" if title.live else "dim")
        else:
            out.append(f" of {title.newest + 1}{', End: latest' if hint else ''}", "#e5c07b")
    if title.probes > 1 and title.mode != "filters":
        out.append(f"  probe {title.probe + 1}/{title.probes}", "dim")
    return out
