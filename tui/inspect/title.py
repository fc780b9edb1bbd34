"""The title of the layer pane."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text

from tui.inspect.modes.base import ViewMode

MIN_NAME = 8
"""Characters that are left of a layer's name in any case."""


@dataclass(frozen=True)
class LayerTitle:
    """What the title tells. All numbers count from 0.

    Attributes:
        newest: The newest epoch that has pictures.
        follows: Whether a newer epoch is shown as soon as it has pictures.
        live: Whether the run is training.
    """

    layers: tuple[str, ...]
    layer: int
    mode: ViewMode
    probe: int
    probes: int
    epoch: int | None
    newest: int | None
    follows: bool
    live: bool


def title_line(title: LayerTitle, width: int) -> Text:
    """Return the layers with the selected one marked, the view, the epoch and the probe.

    If it does not fit, other layers are left out first, then a hint, then the beginning of the selected layer's name.

    Args:
        title: What to tell.
        width: The room in cells.
    """
    count = len(title.layers)
    for around, hint in [(count, True), (2, True), (1, True), (0, True), (0, False)]:
        rest = _view_epoch_probe(title, hint)
        line = _layer_names(title, around).append_text(rest)
        if line.cell_len <= width:
            return line
    excess = line.cell_len - width
    return _layer_names(title, 0, shorten_by=excess).append_text(rest)


def _layer_names(title: LayerTitle, around: int, shorten_by: int = 0) -> Text:
    """Return the selected layer and ``around`` layers on each side, with its number if these are not all.

    Args:
        title: What to tell.
        around: Layers on each side.
        shorten_by: Characters to cut off at the beginning of the selected name, as its end tells more.
    """
    out = Text(no_wrap=True)
    shown = range(max(0, title.layer - around), min(len(title.layers), title.layer + around + 1))
    for index in shown:
        name = title.layers[index]
        if index != title.layer:
            out.append(f" {name}  ", "dim")
            continue
        if shorten_by and (cut := min(shorten_by + 1, len(name) - MIN_NAME)) > 1:
            name = "…" + name[cut:]
        out.append(f"▸{name}◂ ", "bold")
        if len(shown) < len(title.layers):
            out.append(f"{title.layer + 1}/{len(title.layers)} ", "dim")
    return out


def _view_epoch_probe(title: LayerTitle, hint: bool) -> Text:
    """Return view, epoch and probe; ``hint`` names the key that leads to the latest epoch."""
    out = Text(f" {title.mode.title}")
    if title.epoch is not None and title.newest is not None:
        out.append(f"  epoch {title.epoch + 1}", "bold")
        if title.follows:
            out.append(" ● live" if title.live else " latest", "#98c379" if title.live else "dim")
        else:
            out.append(f" of {title.newest + 1}{', End: latest' if hint else ''}", "#e5c07b")
    if title.probes > 1 and title.mode.shows_probe:
        out.append(f"  probe {title.probe + 1}/{title.probes}", "dim")
    return out
