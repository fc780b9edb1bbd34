"""The legend below the tiles: which they are, what their colours stand for, and what else there is to know."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from tui import format as fmt
from tui.inspect.layout import NARROW_PANE_COLUMNS
from tui.inspect.request import LayerPicture

WIDE_PANE_COLUMNS = 90
"""There is room to name the keys that turn pages."""


def legend(picture: LayerPicture, reduced: str = "") -> Text:
    """Return what the picture shows, with the scale of its colours in numbers, and of the rest what has room.

    Args:
        picture: What is shown.
        reduced: Why it is shown with fewer colours, or empty.
    """
    selection, scale = picture.request.selection, picture.scale
    view, columns, out = selection.mode.view, picture.request.pane.columns, _which_tiles(picture)
    notes = list[str]()
    if view == "top":
        out.append(_patches(picture))
        notes.append("  label → prediction" if picture.patch_lines else "")
    elif view == "cam" and scale.scope == "channel":
        highs = map(fmt.significant, picture.highs)
        limits = (f"{label} 0–{high}" for label, high in zip(picture.labels, highs, strict=True))
        out.append(f"{', '.join(limits)} ").append_text(colour_bar(picture))
    else:
        numbers = Text("  " if out else "").append_text(colour_range(picture))
        compared = f"  {picture.note}" if view == "difference" else ""
        out.append(compared if out.cell_len + cell_len(compared) + numbers.cell_len <= columns else "")
        out.append_text(numbers)
        notes.append(_scope(picture))
    if view == "cam":
        notes += ["  brighter: more influence", f" ({picture.note})" if picture.note else ""]
    elif (found := picture.statistics) is not None and view == "maps" and not selection.zoomed:
        mean, maximum = fmt.significant(found.mean), fmt.significant(found.high)
        notes.append(f"  mean {mean}  max {maximum}  zero {fmt.percent(found.zero, 0)}")
    elif picture.note and view != "difference":
        notes.append(f"  {picture.note}")
    elif view == "filters":
        notes.append(f"  {_inputs(picture)}")
    last = f"  {reduced}" if reduced else ""
    if selection.reference is not None and view != "difference":
        last += f"  {fmt.epoch_name(selection.reference)} is frozen"
    for note in notes:
        if out.cell_len + cell_len(note) + cell_len(last) > columns:
            break
        out.append(note, "dim")
    return out.append(last, "dim")


def _patches(picture: LayerPicture) -> str:
    """Return which of the photographs that excite the channel most are shown, and how much they excite it."""
    if picture.mosaic is None:
        return ""
    shown, (strongest, weakest) = len(picture.highs), (fmt.significant(picture.highs[index]) for index in (0, -1))
    page = f"{_page(picture)} of " if picture.tiles > shown else ""
    return f"  excited most by {page}{picture.tiles} photographs: {strongest} to {weakest}"


def colour_bar(picture: LayerPicture) -> Text:
    """Return the colours from low to high, a cell each."""
    return Text.assemble(*(("█", colour) for colour in picture.scale.colours))


def colour_range(picture: LayerPicture) -> Text:
    """Return the colours between the values that they begin and end with; the latter may differ among the tiles."""
    low, high = fmt.significant(picture.scale.low), fmt.significant(picture.scale.high)
    if _has_scale_per_tile(picture) and (lowest := fmt.significant(min(picture.highs))) != high:
        high = f"{lowest} … {high}"
    return Text.assemble(f"{low} ", colour_bar(picture), f" {high}")


def _which_tiles(picture: LayerPicture) -> Text:
    """Return the channel under the cursor, or the channels on this page."""
    selection, out = picture.request.selection, Text(no_wrap=True, overflow="ellipsis")
    mode = selection.mode
    noun = "filter" if mode.view == "difference" and selection.variant == "filters" else mode.noun
    plural = "classes" if noun == "class" else f"{noun}s"
    shown, page = len(picture.labels), f"{_page(picture)} of {picture.tiles}"
    if picture.cursor is not None:
        out.append(f"{noun} {picture.cursor + 1}", "bold").append(f" of {picture.channels}", "dim")
        if picture.tiles > shown > 0 and selection.zoomed:
            out.append(f"  kernels {page}")
    elif mode.view == "average":
        out.append("mean")
    elif picture.tiles > shown:
        if picture.request.pane.columns < NARROW_PANE_COLUMNS:
            out.append(page)
        else:
            out.append(f"{plural} {page}")
            out.append(" , . turn pages" if picture.request.pane.columns >= WIDE_PANE_COLUMNS else "", "dim")
    elif mode.view == "cam":
        out.append("" if picture.scale.scope == "channel" else ", ".join(picture.labels))
    else:
        out.append(f"{picture.channels} {plural}")
    return out


def _page(picture: LayerPicture) -> str:
    """Return the numbers of the first and the last tile of the page."""
    first, last = picture.first + 1, picture.first + len(picture.labels)
    return f"{first}–{last}" if last > first else f"{first}"


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
    return ", each tile on its own scale" if _has_scale_per_tile(picture) else ""


def _has_scale_per_tile(picture: LayerPicture) -> bool:
    return picture.scale.scope == "channel" and picture.cursor is None and picture.tiles > 1
