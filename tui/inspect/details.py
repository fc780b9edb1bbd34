"""The numbers beside a channel that is shown alone, and its curves over the epochs; the lines beside patches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from tui import format as fmt
from tui.inspect.layout import DETAILS_COLUMNS
from tui.inspect.legend import colour_range
from tui.inspect.request import LayerPicture

if TYPE_CHECKING:
    from facegender.support.arrays import Float32Array

CURVE_ROWS = 2
CURVE_COLOURS = (fmt.TRAIN_COLOUR, fmt.VALIDATION_COLOUR)
"""Of the curve, and of the shown epoch in it."""


def channel_details(picture: LayerPicture) -> Text:
    """Return the scale, the statistics and the curves of the channel under the cursor, for the side of the pane."""
    out = colour_range(picture)
    if (found := picture.statistics) is not None:
        mean, std, low, high = map(fmt.significant, (found.mean, found.std, found.low, found.high))
        out.append(f"\nmean {mean}  std {std}\nmin {low}  max {high}\nzero {100 * found.zero:.0f} % of the map")
        if found.units is not None:
            mean, high = map(fmt.significant, found.units[:2])
            out.append(f"\nall validation photographs:\nmean {mean}  max {high}", "dim")
            out.append(f"\nactive in {100 * found.units[2]:.0f} % of them", "dim")
    if picture.curve is not None and len(picture.curve.epochs) > 1:
        columns, shown = picture.layout.side.columns - 2, picture.request.selection.epoch
        place = picture.curve.epochs.index(shown) if shown in picture.curve.epochs else None
        for name, values, unit in (("mean", picture.curve.mean, ""), ("zero", 100 * picture.curve.zero, " %")):
            low, high = (fmt.significant(float(value)) for value in (values.min(), values.max()))
            over = "epochs: " if picture.layout.side.columns >= DETAILS_COLUMNS else ""
            out.append(f"\n{over}{name} {low} to {high}{unit}\n", "dim")
            out.append_text(_curve(values, place, columns))
    return out


def patches_caption(picture: LayerPicture) -> Text:
    """Return what is known of each patch, and the name of its photograph: below, or behind where room is scarce."""
    width, rows = picture.layout.side.columns - 1, picture.request.pane.rows - 1
    lines = []
    for known, name in picture.details:
        if 2 * len(picture.details) <= rows:
            lines += [Text(known), Text(f"   {name}", "dim")]
        else:
            lines.append(Text.assemble(known, (f"  {name}", "dim")))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def _curve(values: Float32Array, marked: int | None, columns: int) -> Text:
    """Draw values as a line of braille dots, with the cell of one of them in another colour."""
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
