"""The text beside the tiles: about the probe, about a channel that is shown alone, or about patches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from tui import format as fmt
from tui.inspect.layout import DETAILS_COLUMNS, NARROW_SIDE_COLUMNS, SHOWN_CLASSES, SIDE_COLUMNS
from tui.inspect.legend import colour_range
from tui.inspect.request import LayerPicture
from tui.widgets.status import bar

if TYPE_CHECKING:
    from facegender.support.arrays import Float32Array

CURVE_ROWS = 2
CURVE_COLOURS = ("$train", "$validation")
"""Of the curve, and of the shown epoch in it."""


def caption_of(picture: LayerPicture) -> Text:
    """Return the text beside the tiles of a run's picture."""
    selection = picture.request.selection
    if selection.mode.view == "top":
        return patches_caption(picture)
    if selection.zoomed and picture.cursor is not None:
        return channel_details(picture)
    return probe_caption(picture)


def channel_details(picture: LayerPicture) -> Text:
    """Return the scale, the statistics and the curves of the channel under the cursor, for the side of the pane."""
    out = colour_range(picture)
    if (found := picture.statistics) is not None:
        mean, std, low, high = map(fmt.significant, (found.mean, found.std, found.low, found.high))
        out.append(f"\nmean {mean}  std {std}\nmin {low}  max {high}\nzero {fmt.percent(found.zero, 0)} of the map")
        if found.units is not None:
            mean, high = map(fmt.significant, found.units[:2])
            out.append(f"\nall validation photographs:\nmean {mean}  max {high}", "dim")
            out.append(f"\nactive in {fmt.percent(found.units[2], 0)} of them", "dim")
    if picture.curve is not None and len(picture.curve.epochs) > 1:
        columns, shown = picture.layout.side.columns - 2, picture.request.selection.epoch
        marked = picture.curve.epochs.index(shown) if shown in picture.curve.epochs else None
        for name, values, unit in (("mean", picture.curve.mean, ""), ("zero", 100 * picture.curve.zero, "%")):
            low, high = (fmt.significant(float(value)) for value in (values.min(), values.max()))
            over = "epochs: " if picture.layout.side.columns >= DETAILS_COLUMNS else ""
            out.append(f"\n{over}{name} {low} to {high}{unit}\n", "dim")
            out.append_text(_curve(values, marked, columns))
    return out


def patches_caption(picture: LayerPicture) -> Text:
    """Return a description of each patch, its photograph's name below it, or behind it if there is little room."""
    width, rows = picture.layout.side.columns - 1, picture.request.pane.rows - 1
    lines = []
    for description, name in picture.patch_lines:
        if 2 * len(picture.patch_lines) <= rows:
            lines += [Text(description), Text(f"   {name}", "dim")]
        else:
            lines.append(Text.assemble(description, (f"  {name}", "dim")))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def _curve(values: Float32Array, marked: int | None, columns: int) -> Text:
    """Draw values as a line of braille dots, with the cell of the ``marked`` one in another colour."""
    import numpy as np

    from tui.widgets.plotting import Canvas

    canvas = Canvas(columns, CURVE_ROWS)
    low, high = float(values.min()), float(values.max())
    x = np.linspace(0, 2 * columns - 1, len(values))
    y = (high - values.astype(np.float64)) / ((high - low) or 1.0) * (4 * CURVE_ROWS - 1)
    canvas.line(x, y, 0)
    if marked is not None:
        canvas.mark(x[[marked]], y[[marked]], 1)
    rows = [
        Text.assemble(*((chr(0x2800 + dots), CURVE_COLOURS[max(0, colour)]) for dots, colour in zip(*row, strict=True)))
        for row in zip(canvas.dots.tolist(), canvas.colour.tolist(), strict=True)
    ]
    return Text("\n").join(rows)


def probe_caption(picture: LayerPicture) -> Text:
    """Return a probe's name, its annotated class and the network's probability of each class."""
    if picture.layout.side.columns < SIDE_COLUMNS:
        return _narrow_probe_caption(picture)
    out = Text(picture.name, "dim", overflow="ellipsis", no_wrap=True)
    if picture.label:
        out.append("\nlabel ", "dim").append(picture.label)
    return out.append_text(probability_bars(picture.probabilities, 8))


def _narrow_probe_caption(picture: LayerPicture) -> Text:
    """Return the same without the name, each value on a line of its own."""
    out = Text.assemble(("label\n", "dim"), picture.label, "\n") if picture.label else Text()
    for number, name, share in most_probable(picture.probabilities):
        out.append("\n").append_text(fmt.cut(name, NARROW_SIDE_COLUMNS - 1))
        out.append("\n").append(fmt.percent(share), fmt.class_colour(number))
    return out


def most_probable(probabilities: dict[str, float]) -> list[tuple[int, str, float]]:
    """Return index, name and probability of at most `SHOWN_CLASSES` classes, in the order of the classes.

    Of more classes these are the most probable ones, the most probable first.
    """
    classes = [(number, name, share) for number, (name, share) in enumerate(probabilities.items())]
    if len(classes) <= SHOWN_CLASSES:
        return classes
    return sorted(classes, key=lambda one: one[2], reverse=True)[:SHOWN_CLASSES]


def probability_bars(probabilities: dict[str, float], width: int) -> Text:
    """Return a line for each of the most probable classes: its name, a bar of ``width`` cells, its probability."""
    out = Text()
    shown = most_probable(probabilities)
    longest = max((cell_len(name) for _, name, _ in shown), default=0)
    for number, name, share in shown:
        out.append("\n").append_text(fmt.cut(name, max(6, min(longest, width // 2)))).append(" ")
        out.append_text(bar(share, width, fmt.class_colour(number)))
        out.append(f"{fmt.percent(share):>8}")
    return out
