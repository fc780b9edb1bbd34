"""The lists of the explorer: the layers of the network, and what is unhealthy about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from rich.text import Text
from textual import on
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from facegender.runs.events import LayerInfo
from tui import format as fmt

if TYPE_CHECKING:
    from facegender.runs.health import Finding

_SERIOUS = "$error"
_WARNING = "$warning"
MAX_FINDINGS = 200
"""Findings that are listed: the list is as high as its lines, so all of them are laid out."""
_FIGURES_CELLS = 15
_NAME_CELLS = 12
"""Cells that are left of a layer's name beside its figures."""


@dataclass
class LayerChosen(Message):
    """A layer, and perhaps one of its channels, is to be shown; both count from 0."""

    layer: int
    channel: int | None = None


class LayerList(OptionList, can_focus=False):
    """The layers with their channels, the size of their maps and the number of findings. A click chooses a layer."""

    DEFAULT_CSS = """
    LayerList {
        width: 1fr; height: 1fr; border: none; padding: 0; background: transparent; scrollbar-size-vertical: 1;
    }
    LayerList > .option-list--option { padding: 0; }
    LayerList > .option-list--option-highlighted { color: $accent; background: transparent; text-style: bold; }
    LayerList > .option-list--option-hover { background: transparent; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[Sequence[LayerInfo], Sequence[Finding], int, str] | None = None
        self._selected = 0
        self.filter_text = ""
        """Only layers with this text in their names are listed, in upper or lower case."""
        self.listed: list[int] = []
        """The indices of the layers that are listed."""

    def show(self, layers: Sequence[LayerInfo], found: Sequence[Finding], selected: int) -> None:
        """Show layers, in the order of the network, with the selected one marked."""
        self._selected = selected
        width = self.scrollable_content_region.width
        if self._shown != (layers, found, width, self.filter_text):
            self._shown = layers, found, width, self.filter_text
            counts = Counter(finding.layer for finding in found)
            serious = {finding.layer for finding in found if finding.kind == "not finite"}
            names = [layer.name for layer in layers]
            shared = _shared_modules(names) if max(map(len, names), default=0) > _name_room(width) else 0
            wanted = self.filter_text.casefold()
            self.listed = [index for index, name in enumerate(names) if wanted in name.casefold()]
            self.set_options(
                Option(_layer_line(layer, shared, counts[layer.name], layer.name in serious, width))
                for layer in map(layers.__getitem__, self.listed)
            )
        selected = min(selected, len(layers) - 1)
        self.highlighted = self.listed.index(selected) if selected in self.listed else None

    def restyle(self) -> None:
        """Make the lines again, in the colours of another theme."""
        if self._shown is not None:
            (layers, found, *_), self._shown = self._shown, None
            self.show(layers, found, self._selected)

    def on_resize(self) -> None:
        """Fit the lines into the new width."""
        if self._shown is not None:
            self.show(*self._shown[:2], self._selected)

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(LayerChosen(self.listed[event.option_index]))


class HealthList(OptionList):
    """What is unhealthy. Enter or a click selects the layer that a finding is about, and the first such channel."""

    DEFAULT_CSS = """
    HealthList {
        width: 1fr; height: auto; max-height: 100%; border: none; padding: 0; background: transparent;
        scrollbar-size-vertical: 1;
    }
    HealthList:focus { border: none; }
    HealthList > .option-list--option { padding: 0; }
    HealthList > .option-list--option-highlighted { background: transparent; }
    HealthList:focus > .option-list--option-highlighted { background: $field; }
    HealthList > .option-list--option-hover { background: transparent; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._found: list[Finding] | None = None
        self._names: list[str] = []

    def show(self, found: list[Finding], names: Sequence[str]) -> None:
        """Show findings; ``names`` are those of all layers in the order of the network."""
        self._names = list(names)
        if found != self._found:
            highlighted = self.highlighted
            self._found = found
            shown = found[:MAX_FINDINGS]
            options = [
                Option(
                    Text.assemble(
                        (finding.layer, _SERIOUS if finding.kind == "not finite" else _WARNING), f" {finding.text}"
                    )
                )
                for finding in shown
            ]
            if more := len(found) - len(shown):
                options.append(Option(Text(f"… and {more} more, which facegender health lists", "dim"), disabled=True))
            self.set_options(options)
            if found:
                self.highlighted = min(highlighted or 0, len(shown) - 1)

    def restyle(self) -> None:
        """Make the lines again, in the colours of another theme."""
        if self._found is not None:
            found, self._found = self._found, None
            self.show(found, self._names)

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        finding = (self._found or [])[event.option_index]
        if finding.layer in self._names:
            channel = finding.channels[0] if finding.channels else None
            self.post_message(LayerChosen(self._names.index(finding.layer), channel))


def _shared_modules(names: Sequence[str]) -> int:
    """Return the length of the modules that all names begin with, e.g. "network.": they say nothing."""
    parts = zip(*(name.split(".")[:-1] for name in names), strict=False)
    return sum(len(part[0]) + 1 for part in takewhile(lambda part: len(set(part)) == 1, parts))


def _name_room(width: int) -> int:
    """Return the cells that a layer's name may take of a line, beside its figures and the number of findings."""
    return max(_NAME_CELLS, width - _FIGURES_CELLS - 3)


def _layer_line(layer: LayerInfo, shared: int, findings: int, serious: bool, width: int) -> Text:
    """Return a layer's name without its first ``shared`` characters, its figures and the number of findings."""
    height, breadth = layer.size
    figures = f" {layer.channels:>4} {f'{breadth}×{height}':>9}"
    room = _name_room(width)
    # The end of a long name tells more than its beginning.
    name = layer.name[shared:]
    name = name if len(name) <= room else "…" + name[len(name) - room + 1 :].lstrip(".")
    line = fmt.cut(name, room)
    line.append(figures, "dim")
    if findings:
        line.append(f" !{findings}" if findings < 10 else " !!", _SERIOUS if serious else _WARNING)
    return line
