"""Captioned pictures of a view that can be read outside the program: PNG files, and GIFs that play the epochs.

`read_figure` reads what a view shows and says it in words; `draw` makes one picture of it, with its title, the tiles,
a colour bar with numbers, and notes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
from PIL import Image, ImageDraw, ImageFont

from facegender.rendering.colormaps import Palette
from facegender.rendering.history import run_limits, spaced
from facegender.rendering.mosaics import GAP_COLOUR, Enlarging, Grid, fit_grid, resized, rgb_mosaic
from facegender.rendering.pages import NOTE_COLOUR, TITLE_COLOUR, write_png
from facegender.rendering.view_options import SCOPES, VIEW_TITLES, Scope, Variant, View
from facegender.rendering.views import NothingToShow, Tiles, has_colours, patch_tiles, view_tiles
from facegender.runs.folder import INITIAL, RunFolder, frame_name
from facegender.runs.frames import FrameReader, open_frame
from facegender.runs.patches import Patches
from facegender.support.files import replacing
from facegender.support.text import one_line

SCOPE_NOTES: dict[Scope, str] = {
    "channel": "each tile on its own scale",
    "layer": "one scale for the layer",
    "run": "one scale for all epochs",
}

_MARGIN_PX = 16
_LINE_PX = 20
_BAR_PX = (256, 14)
MAX_NAME = 100
"""Characters of a file's name without its suffix."""
_MIN_LABELLED_PX = 40
"""Side of the smallest tile that has its label below it."""
_LABEL_GAP_PX = 18


class FigureRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which figure is wanted.

    Attributes:
        epoch: Counted from 0; `INITIAL` for the initial weights.
        layer: As the frame spells it.
        channel: Show only this one, counted from 0; for "cam" a class.
        probe: Counted from 0.
        reference: The epoch that is subtracted, for "difference".
        scope: What shares one scale; the view's usual one by default.
        variant: As in `facegender.rendering.view_options.VARIANTS`.
    """

    epoch: int
    layer: str
    view: View = "maps"
    channel: int | None = None
    probe: int = 0
    reference: int | None = None
    scope: Scope | None = None
    variant: Variant | None = None


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """What a view shows, and in words what it is. The texts are safe to print.

    Attributes:
        notes: One line each.
        bar: (256, 3) uint8 RGB, the colours of the colour bar, or None for photographs.
        low, high: The numbers at the ends of the colour bar.
    """

    title: str
    notes: tuple[str, ...]
    tiles: Tiles
    bar: Palette | None
    low: str
    high: str


def epoch_name(epoch: int) -> str:
    """Name an epoch as people count it, e.g. "epoch 3"."""
    return "epoch 0, initial weights" if epoch == INITIAL else f"epoch {epoch + 1}"


def read_figure(folder: RunFolder, chosen: FigureRequest) -> Figure:
    """Read what a view of a run shows.

    Raises:
        NothingToShow: The frame has nothing for this view.
        FrameUnreadable: A file is missing or damaged, or has no such layer, probe or channel.
    """
    with ExitStack() as stack:
        frame = stack.enter_context(open_frame(folder.frame_path(chosen.epoch)))
        reference = None
        if chosen.view == "difference" and chosen.reference is not None:
            reference = stack.enter_context(open_frame(folder.frame_path(chosen.reference)))
        limits = None
        if chosen.scope == "run" and "run" in SCOPES[chosen.view]:
            files = [(epoch, folder.frame_path(epoch)) for epoch in spaced(folder.frame_epochs())]
            limits = run_limits(chosen.view, files, chosen.layer, probe=chosen.probe, variant=chosen.variant)
        tiles = view_tiles(
            chosen.view,
            frame,
            chosen.layer,
            probe=chosen.probe,
            channel=chosen.channel,
            scope=chosen.scope,
            limits=limits,
            variant=chosen.variant,
            reference=reference,
        )
        return figure_of(tiles, _title(folder.name, frame, chosen), list(_notes(frame, chosen, tiles)))


def patches_figure(run: str, chosen: FigureRequest, patches: Patches) -> Figure:
    """Make a figure of the patches that excite a channel most, with the value, label and answer for each photograph."""
    described = zip(patches.values.tolist(), patches.names, patches.labels, patches.answers, strict=True)
    notes = [f"{value:.3g} {name}: labelled {label}, predicted {answer}" for value, name, label, answer in described]
    parts = (
        run,
        epoch_name(chosen.epoch),
        chosen.layer,
        f"{VIEW_TITLES['top']} of channel {(chosen.channel or 0) + 1}",
    )
    return figure_of(patch_tiles(patches), " · ".join(parts), notes)


def figure_of(tiles: Tiles, title: str, notes: Sequence[str] = ()) -> Figure:
    """Make a figure of tiles, with the colours and the numbers of its colour bar."""
    low, high = (_range(values) for values in (tiles.low.tolist(), tiles.high.tolist()))
    lines = tuple(map(one_line, notes))
    return Figure(title=one_line(title), notes=lines, tiles=tiles, bar=tiles.colormap, low=low, high=high)


def _range(values: Sequence[float]) -> str:
    """The value that all tiles share, or the lowest and the highest of them."""
    first, last = f"{min(values, default=0):.3g}", f"{max(values, default=0):.3g}"
    return first if first == last else f"{first} … {last}"


def _title(run: str, frame: FrameReader, chosen: FigureRequest) -> str:
    view = VIEW_TITLES[chosen.view]
    if chosen.view == "difference" and chosen.reference is not None:
        view = f"difference to {epoch_name(chosen.reference)}"
    parts = [run, f"{epoch_name(chosen.epoch)} (step {frame.info.global_step})"]
    parts += ["" if chosen.view == "cam" else chosen.layer, view]
    if chosen.channel is not None and chosen.view != "cam":
        parts.append(f"channel {chosen.channel + 1}")
    return " · ".join(filter(None, parts))


def _notes(frame: FrameReader, chosen: FigureRequest, tiles: Tiles) -> Iterator[str]:
    info, view = frame.info, chosen.view
    about_filters = view == "filters" or (view == "difference" and chosen.variant == "filters")
    if not about_filters:
        yield _probe_note(frame, chosen.probe)
    if view in ("maps", "average") and (modules := info.maps_of.get(chosen.layer)):
        yield f"output of {modules}"
    if view == "cam":
        yield f"brighter = more influence on the class{f' ({info.cam_method})' if info.cam_method else ''}"
    elif view == "difference":
        yield "red is higher than in the other epoch, blue is lower"
    elif view == "filters" and tiles.pixels.ndim == 4:
        yield "red, green and blue are the weights for these colours; grey is zero"
    elif view == "filters" and chosen.channel is not None and not has_colours(frame, chosen.layer):
        yield "one kernel per input; red is positive, blue is negative"
    elif view == "filters":
        yield "mean over the inputs; red is positive, blue is negative"
    if len(tiles.labels) > 1:
        yield f"{len(tiles.labels)} tiles, row by row; {SCOPE_NOTES[tiles.scope]}"


def _probe_note(frame: FrameReader, probe: int) -> str:
    """Name a probe photograph, its label and the network's answer."""
    info = frame.info
    label = int(frame.tensor("probe/labels")[probe])
    shares = frame.probabilities(probe)
    best = int(shares.argmax())
    known = f", labelled {info.classes[label]}" if 0 <= label < len(info.classes) else ""
    name = f" ({info.probe_names[probe]})" if probe < len(info.probe_names) else ""
    return f"probe {probe + 1}{name}{known}; predicted {info.classes[best]} {shares[best]:.2%}"


# Drawing --------------------------------------------------------------------------------------------------------------


def mosaic_picture(
    tiles: Tiles, area_px: tuple[int, int], *, gap: int = 2, enlarging: Enlarging = "whole"
) -> tuple[Image.Image, Grid]:
    """Lay out tiles in a grid, as large as an area (width, height) allows. Returns an RGB picture and the grid."""
    grid = fit_grid(len(tiles.pixels), tiles.pixels.shape[1:3], area_px, gap=gap, enlarging=enlarging)
    pixels = tiles.pixels
    if pixels.ndim == 3:
        assert tiles.colormap is not None
        # Values are resized before they are coloured.
        pixels = tiles.colormap[resized(pixels, grid.tile_width, grid.tile_height)]
    return Image.fromarray(rgb_mosaic(pixels, grid)), grid


def draw(figure: Figure, *, width_px: int = 960, max_tiles_px: int = 800) -> Image.Image:
    """Draw a figure as an RGB picture.

    Args:
        width_px: The most width that the picture may take.
        max_tiles_px: The most height that the tiles may take.
    """
    inner = width_px - 2 * _MARGIN_PX
    title_font, font, small = (ImageFont.load_default(size) for size in (17, 13, 11))
    body, grid = mosaic_picture(figure.tiles, (inner, max_tiles_px), gap=_LABEL_GAP_PX)
    labelled = min(grid.tile_width, grid.tile_height) >= _MIN_LABELLED_PX
    if not labelled:
        body, grid = mosaic_picture(figure.tiles, (inner, max_tiles_px))
    title = _wrapped(figure.title, title_font, inner)
    notes = [line for note in figure.notes for line in _wrapped(note, font, inner)]
    lines = len(title) + len(notes) + (2 if figure.bar is not None else 1)
    widths = [*(title_font.getlength(line) for line in title), *(font.getlength(line) for line in notes), body.width]
    if figure.bar is not None:
        widths.append(font.getlength(figure.low + figure.high) + _BAR_PX[0] + 16)
    size = (2 * _MARGIN_PX + math.ceil(max(widths)), 2 * _MARGIN_PX + lines * _LINE_PX + body.height)
    page = Image.new("RGB", size, GAP_COLOUR)
    pen, y = ImageDraw.Draw(page), _MARGIN_PX
    for line in title:
        pen.text((_MARGIN_PX, y), line, fill=TITLE_COLOUR, font=title_font)
        y += _LINE_PX
    x = _MARGIN_PX - grid.gap
    page.paste(body, (x, y))
    if labelled:
        for number, label in enumerate(figure.tiles.labels):
            left, top = grid.origin(number)
            at = (x + left, y + top + grid.tile_height + 2)
            pen.text(at, shortened(label, small, grid.tile_width), fill=NOTE_COLOUR, font=small)
    y += body.height
    if figure.bar is not None:
        _draw_bar(page, pen, figure, font, y + _LINE_PX // 2)
        y += _LINE_PX
    y += _LINE_PX
    for line in notes:
        pen.text((_MARGIN_PX, y), line, fill=NOTE_COLOUR, font=font)
        y += _LINE_PX
    return page


_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _draw_bar(page: Image.Image, pen: ImageDraw.ImageDraw, figure: Figure, font: _Font, y: int) -> None:
    assert figure.bar is not None
    pen.text((_MARGIN_PX, y - 1), figure.low, fill=TITLE_COLOUR, font=font)
    x = _MARGIN_PX + round(font.getlength(figure.low)) + 8
    page.paste(Image.fromarray(figure.bar[None]).resize(_BAR_PX, Image.Resampling.NEAREST), (x, y))
    pen.text((x + _BAR_PX[0] + 8, y - 1), figure.high, fill=TITLE_COLOUR, font=font)


def _wrapped(text: str, font: _Font, width: int) -> list[str]:
    """Break a text into lines of at most ``width`` pixels; a word that is longer is shortened."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(shortened(word, font, width))
    return lines


def shortened(text: str, font: _Font, width: int) -> str:
    """Shorten a text at its beginning, as the ends of layers' and files' names tell more."""
    short = text
    while len(short) > 1 and font.getlength(short) > width:
        text = text[1:]
        short = f"…{text}"
    return short


# Files ----------------------------------------------------------------------------------------------------------------


def file_name(chosen: FigureRequest, suffix: str) -> str:
    """Name the file of a figure, e.g. "conv2_maps_channel_5_epoch_3.png"; of a GIF without the epoch.

    As in all names of files the epoch counts from 0; the channel counts from 1, as in the picture.
    """
    parts = [chosen.layer, chosen.view] if chosen.view != "cam" else ["cam"]
    parts += [] if chosen.channel is None else [f"channel_{chosen.channel + 1}"]
    parts += [] if chosen.probe == 0 else [f"probe_{chosen.probe + 1}"]
    parts += [] if suffix == ".gif" else [frame_name(chosen.epoch)]
    return re.sub(r"[^A-Za-z0-9._-]", "_", "_".join(parts))[-MAX_NAME:] + suffix


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as a PNG, whole or not at all.

    Raises:
        OSError: The disk is full or gone.
    """
    write_png(path, draw(figure))


def write_animation(path: Path, folder: RunFolder, chosen: FigureRequest) -> list[Figure]:
    """Write the figures of `epoch_figures` as an animated GIF, whole or not at all; return them.

    Raises:
        NothingToShow: No epoch has anything to show.
        FrameUnreadable: As in `read_figure`.
        OSError: The disk is full or gone.
    """
    figures = list(epoch_figures(folder, chosen))
    if not figures:
        raise NothingToShow("no recorded epoch has anything to show for this view")
    write_gif(path, [draw(figure) for figure in figures])
    return figures


def write_gif(path: Path, pictures: Sequence[Image.Image], seconds: float = 0.5) -> None:
    """Write an animated GIF that repeats; it appears whole or not at all. Smaller pictures are padded.

    Args:
        seconds: How long each picture is shown; the last one three times as long.

    Raises:
        OSError: The disk is full or gone.
    """
    size = (max(picture.width for picture in pictures), max(picture.height for picture in pictures))
    padded = []
    for picture in pictures:
        page = Image.new("RGB", size, GAP_COLOUR)
        page.paste(picture)
        padded.append(page.quantize(dither=Image.Dither.NONE))
    times = [round(1000 * seconds)] * (len(padded) - 1) + [round(3000 * seconds)]
    with replacing(path) as temporary:
        padded[0].save(temporary, "GIF", save_all=True, append_images=padded[1:], duration=times, loop=0)


def epoch_figures(folder: RunFolder, chosen: FigureRequest) -> Iterator[Figure]:
    """Read a figure for each recorded epoch, of a long run for some evenly spaced ones.

    Without a scope all epochs share one scale if the view has such a scale, so that colours can be compared. Epochs
    that have nothing to show, such as initial weights without LayerCAM, are left out.
    """
    scope = chosen.scope or ("run" if "run" in SCOPES[chosen.view] else None)
    for epoch in spaced(folder.frame_epochs()):
        if chosen.view == "difference" and epoch == chosen.reference:
            continue
        try:
            yield read_figure(folder, msgspec.structs.replace(chosen, epoch=epoch, scope=scope))
        except NothingToShow:
            continue
