"""The title of the layer pane."""

from __future__ import annotations

from collections.abc import Mapping

from rich.style import Style
from rich.text import Text

from facegender.runs.folder import INITIAL
from tui import format as fmt
from tui.inspect.selection import Selection

MIN_NAME = 8
"""Characters that are left of a layer's name in any case."""


def title_line(
    layers: tuple[str, ...],
    selection: Selection,
    *,
    frames: tuple[int, ...],
    live: bool,
    probes: int,
    width: int,
    within: Mapping[int, int] | None = None,
    playing: bool = False,
) -> Text:
    """Return the layers with the selected one marked, the view, the epoch and the probe.

    If it does not fit, other layers are left out first, then a hint, then the beginning of the selected layer's name.

    Args:
        layers: The names of all layers.
        selection: What is selected; its layer may be beyond the last one.
        frames: Epochs with pictures, ascending; empty to name no epoch.
        live: Whether the run is training.
        probes: Number of probe photographs.
        width: The room in cells.
        within: For each epoch whose pictures were made before its end, the optimiser step after which they were.
        playing: Whether the epochs are shown one after another.
    """
    index = min(selection.layer, max(0, len(layers) - 1))
    for around, hint in [(len(layers), True), (2, True), (1, True), (0, True), (0, False)]:
        rest = Text(f" {selection.mode.title}")
        if (epoch := selection.epoch_in(frames)) is not None:
            step = within.get(epoch) if within else None
            rest.append_text(_epoch(selection, epoch, step, latest=frames[-1], live=live, playing=playing, hint=hint))
        if probes > 1 and selection.mode.shows_probe:
            rest.append(f"  probe {selection.probe + 1}/{probes}", "dim")
        line = _layer_names(layers, index, around).append_text(rest)
        if line.cell_len <= width:
            return line
    excess = line.cell_len - width
    return _layer_names(layers, index, 0, shorten_by=excess).append_text(rest)


def _layer_names(layers: tuple[str, ...], selected: int, around: int, shorten_by: int = 0) -> Text:
    """Return the selected layer and ``around`` layers on each side, with its number if these are not all.

    ``shorten_by`` characters are cut off at the beginning of the selected name, as its end tells more.
    """
    out = Text(no_wrap=True)
    shown = range(max(0, selected - around), min(len(layers), selected + around + 1))
    for index in shown:
        name = layers[index]
        if index != selected:
            out.append(f" {name}  ", Style(dim=True, meta={"layer": index}))
            continue
        if shorten_by and (cut := min(shorten_by + 1, len(name) - MIN_NAME)) > 1:
            name = "…" + name[cut:]
        out.append(f"▸{name}◂ ", "bold")
        if len(shown) < len(layers):
            out.append(f"{selected + 1}/{len(layers)} ", "dim")
    return out


def _epoch(
    selection: Selection, shown: int, step: int | None, *, latest: int, live: bool, playing: bool, hint: bool
) -> Text:
    """Return the selected epoch, and that of the pictures where it is another.

    ``hint`` explains what the initial weights are, and that the epoch is the latest or which key leads there.
    """
    name = fmt.epoch_name(shown, step) if hint or shown != INITIAL else "epoch 0"
    if selection.epoch not in (None, shown):
        name = f"{fmt.epoch_name(selection.epoch)} (pictures of {name})"
    out = Text(f"  {name}", "bold")
    if playing:
        out.append(f" of {latest + 1} ▶ playing", "$success")
    elif selection.follows_live:
        if live:
            out.append(" ● live" if hint else " ●", "$success")
        elif hint:
            out.append(" latest", "dim")
    else:
        out.append(f" of {latest + 1}{', End: latest' if hint else ''}", "$warning")
    return out
