"""The legend below the tiles: which they are, what their colours stand for, and what else there is to know."""

from __future__ import annotations

from rich.text import Text

from tui import format as fmt
from tui.inspect.layout import NARROW_PANE_COLUMNS
from tui.inspect.request import LayerPicture

WIDE_PANE_COLUMNS = 90
"""There is room to name the keys that turn pages."""


def legend(picture: LayerPicture) -> Text:
    """Return what the picture shows, with the scale of its colours in numbers."""
    view, scale = picture.request.selection.mode.view, picture.scale
    out = _which_tiles(picture)
    if view == "top":
        if picture.mosaic is not None:
            strongest, weakest = (fmt.significant(picture.highs[index]) for index in (0, -1))
            page = f"{picture.first + 1} to {picture.first + len(picture.highs)} of "
            page = page if picture.tiles > len(picture.highs) else ""
            out.append(f"  {page}{picture.tiles} validation photographs that excite it most: {strongest} to {weakest}")
        return out
    if view == "difference":
        out.append(f"  {picture.note}")
    if view == "cam" and scale.scope == "channel":
        highs = map(fmt.significant, picture.highs)
        limits = (f"{label} 0–{high}" for label, high in zip(picture.labels, highs, strict=True))
        out.append(f"{', '.join(limits)} ").append_text(colour_bar(picture))
    else:
        out.append("  " if out else "").append_text(colour_range(picture)).append(_scope(picture), "dim")
    if view == "cam":
        method = f" ({picture.note})" if picture.note else ""
        out.append(f"  brighter: more influence{method}", "dim")
    elif (found := picture.statistics) is not None and view == "maps" and not picture.request.selection.zoomed:
        mean, maximum = fmt.significant(found.mean), fmt.significant(found.high)
        out.append(f"  mean {mean}  max {maximum}  zero {100 * found.zero:.0f} %", "dim")
    elif picture.note and view != "difference":
        out.append(f"  {picture.note}", "dim")
    elif view == "filters":
        out.append(f"  {_inputs(picture)}", "dim")
    if (frozen := picture.request.selection.reference) is not None and view != "difference":
        out.append(f"  {fmt.epoch_name(frozen)} is frozen", "dim")
    return out


def colour_bar(picture: LayerPicture) -> Text:
    """Return the colours from low to high, a cell each."""
    return Text.assemble(*(("█", colour) for colour in picture.scale.colours))


def colour_range(picture: LayerPicture) -> Text:
    """Return the colours between the values that they begin and end with."""
    low, high = fmt.significant(picture.scale.low), fmt.significant(picture.scale.high)
    return Text.assemble(f"{low} ", colour_bar(picture), f" {high}")


def _which_tiles(picture: LayerPicture) -> Text:
    """Return the channel under the cursor, or the channels on this page."""
    mode, out = picture.request.selection.mode, Text(no_wrap=True, overflow="ellipsis")
    shown, last = len(picture.labels), picture.first + len(picture.labels)
    if picture.cursor is not None:
        out.append(f"{mode.noun} {picture.cursor + 1}", "bold").append(f" of {picture.channels}", "dim")
        if picture.tiles > shown > 0 and picture.request.selection.zoomed:
            out.append(f"  kernels {picture.first + 1} to {last} of {picture.tiles}")
    elif mode.view == "average":
        out.append("mean")
    elif picture.tiles > shown:
        if picture.request.pane.columns < NARROW_PANE_COLUMNS:
            out.append(f"{picture.first + 1}–{last} of {picture.tiles}")
        else:
            out.append(f"{mode.plural} {picture.first + 1} to {last} of {picture.tiles}")
            out.append(" , . turn pages" if picture.request.pane.columns >= WIDE_PANE_COLUMNS else "", "dim")
    elif mode.view == "cam":
        out.append("" if picture.scale.scope == "channel" else ", ".join(picture.labels))
    else:
        out.append(f"{picture.channels} {mode.plural}")
    return out


def _inputs(picture: LayerPicture) -> str:
    """Return which inputs the kernels of a filter belong to: a file may have only those of the strongest ones."""
    if list(picture.labels) == [str(picture.first + number) for number in range(1, len(picture.labels) + 1)]:
        return "one kernel per input"
    return f"inputs {', '.join(picture.labels)}: the strongest, in order"


def _scope(picture: LayerPicture) -> str:
    """Return what shares the scale of colours."""
    scope = picture.scale.scope
    if scope == "run":
        return ", one scale for all epochs"
    if scope == "layer":
        return ", one scale"
    return ", own ranges" if picture.cursor is None and picture.tiles > 1 else ""
