"""One photograph, large: where the network looked for the prediction and the label, and its figures over the epochs."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.widgets import Static

from facegender.evaluation.suspects import Part
from facegender.rendering.colormaps import VIRIDIS, Palette, sequential
from facegender.rendering.overlays import heat_overlay
from facegender.runs.folder import RunFolder
from facegender.runs.frames import FrameUnreadable, open_frame
from facegender.runs.protocol import Answer, PhotographRequest
from facegender.support.errors import UserError
from facegender.support.text import one_line, printable_strings
from tui import commands
from tui import format as fmt
from tui.graphics.context import terminal_of
from tui.graphics.geometry import Area, area_px
from tui.graphics.picture import Picture
from tui.graphics.textual_internals import Column, Row
from tui.graphics.widget import PictureView
from tui.host.processes import ClassifierProcess
from tui.host.thumbnails import ThumbnailProcess
from tui.run.curves import Curve
from tui.run.mistakes import MistakesReader, PhotographHistory
from tui.screens.base import BaseScreen
from tui.settings import settings_of
from tui.widgets.chart import Chart, ChartPane
from tui.widgets.keys import KeyHints
from tui.widgets.lines import Lines

EXPLAIN_AFTER_S = 0.2
"""How long a photograph and an epoch must have been shown before the network is asked where it looked."""
COLOURS = 250
WIDE_COLUMNS = 110
"""On a narrower screen the headings are shorter."""


@dataclass(frozen=True)
class PhotographInfo:
    """A photograph of a run.

    Attributes:
        part: The list of ``photographs.json`` that it is in.
        index: Its position there, counted from 0.
        name: As there; empty if it is not known.
        label: Name of its class in the data.
        predicted: Name of the predicted class, or empty.
        note: What else is known of it.
    """

    part: Part
    index: int
    name: str
    label: str
    predicted: str
    note: str = ""


class Photograph(BaseScreen[int]):
    """Shows one photograph of a list, and goes through the list and the epochs. Returns the position in the list.

    Args:
        reader: Reads the run.
        photograph_at: Returns the photograph at a position in the list, with its prediction in the epoch shown before.
        position: The position to begin with, counted from 0.
        count: How many photographs the list has.
        epochs: Those with predictions, ascending.
        epoch: The one to begin with.
        process: Decodes the photograph.
        classifier: Says where the network looked.
    """

    CSS_PATH = "photograph.tcss"
    AUTO_FOCUS = None
    SCREEN_COMMANDS = commands.PHOTOGRAPH
    FOOTER = commands.PHOTOGRAPH_FOOTER

    def __init__(
        self,
        reader: MistakesReader,
        photograph_at: Callable[[int], PhotographInfo],
        position: int,
        count: int,
        epochs: Sequence[int],
        epoch: int,
        process: ThumbnailProcess,
        classifier: ClassifierProcess,
    ) -> None:
        super().__init__()
        self._reader = reader
        self._photograph_at = photograph_at
        self._position = position
        self._count = count
        self._epochs = tuple(epochs)
        self._epoch = epoch
        self._process = process
        self._classifier = classifier
        self._shown = photograph_at(position)
        self._history: PhotographHistory | None = None
        self._answer: Answer | None = None
        self._views = {name: PictureView(id=name) for name in ("photograph", "of-prediction", "of-label")}
        self._headings = {name: Static(id=f"{name}-heading", classes="heading", markup=False) for name in self._views}
        self._chart = ChartPane("Probability", Chart("", limits=(0.0, 1.0)), id="curve")

    @property
    def folder(self) -> RunFolder:
        """The run."""
        return self._reader.folder

    def compose(self) -> ComposeResult:
        """The pictures side by side, each with a heading, the curve and the keys."""
        yield Static(id="title", markup=False)
        yield Lines(id="about", markup=False)
        with Row(id="pictures"):
            for name, view in self._views.items():
                with Column(classes="picture"):
                    yield self._headings[name]
                    yield view
        yield Lines(id="source", markup=False)
        yield self._chart
        yield KeyHints(*self.hints())

    def on_mount(self) -> None:
        """Show the photograph."""
        self.call_after_refresh(self._show_photograph)

    def on_resize(self) -> None:
        """Fit the pictures into the new size."""
        self._show_texts()
        self.call_after_refresh(self._show_pictures)

    # The photograph

    def _show_photograph(self) -> None:
        self._shown = self._photograph_at(self._position)
        self._history = self._answer = None
        self._show_texts()
        self._show_pictures()
        self._read_history()
        self._explain()

    @work(group="photograph", exclusive=True)
    async def _show_pictures(self) -> None:
        """Show the photograph itself, and where the network looked if that is known."""
        view, name = self._views["photograph"], self._shown.name
        if not all(view.content_size):
            return
        if name:
            box = area_px(Area(*view.content_size), terminal_of(self.app))
            thumbnail = await self._process.make(self.folder.name, name, box)
            if not self.is_open:
                return
            if thumbnail.error:
                view.placeholder = "the photograph cannot be read"
                view.show(None)
                self.query_one("#source", Lines).write(Text(f" {thumbnail.error}", "$warning"))
            else:
                pixels = np.frombuffer(thumbnail.pixels, np.uint8).reshape(*thumbnail.size[::-1], 3)
                view.show(await asyncio.to_thread(Picture.from_rgb, pixels, COLOURS))
        else:
            view.placeholder = "the run does not say which file this is"
        if self._answer is not None:
            await self._show_heatmaps(self._answer)

    async def _show_heatmaps(self, answer: Answer) -> None:
        for view_name, name in (("of-prediction", self._predicted_name), ("of-label", self._shown.label)):
            view = self._views[view_name]
            if view_name == "of-label" and name == self._predicted_name:
                view.placeholder = "the prediction is the label"
                view.show(None)
                continue
            colours = sequential(settings_of(self.app).colour_map)
            box = area_px(Area(*view.content_size), terminal_of(self.app))
            try:
                picture = await asyncio.to_thread(
                    heat_picture, Path(answer.frame), name, answer.image_size, box, colours
                )
            except (FrameUnreadable, ValueError) as error:
                view.placeholder = one_line(str(error))
                picture = None
            view.show(picture)

    @work(group="history", exclusive=True)
    async def _read_history(self) -> None:
        """Read the figures of the photograph over the epochs, in a thread."""
        shown = self._shown
        read = self._reader.history if shown.part == "validation" else self._reader.margins
        history = await asyncio.to_thread(read, shown.index, self._epochs)
        if self.is_open and shown == self._shown:
            self._history = history
            self._show_curve()
            self._show_texts()

    @work(group="explain", exclusive=True)
    async def _explain(self) -> None:
        """Ask the classify process where the network looked."""
        shown = self._shown
        if not shown.name:
            return
        await asyncio.sleep(EXPLAIN_AFTER_S)
        if not self.is_open:
            return
        cold = "" if self._classifier.is_warm else "; the first time takes some seconds, while torch is imported"
        source = self.query_one("#source", Lines)
        if self._answer is None:
            source.write(Text(f" computing where the network looked{cold}…", "dim"))
        wanted = list(dict.fromkeys(filter(None, (self._predicted_name, shown.label))))
        request = PhotographRequest(name=shown.name, epoch=self._epoch, classes=wanted)
        try:
            answer = await self._classifier.explain(self.folder.name, request)
        except UserError as error:
            if self.is_open:
                source.write(Text(f" {error}", "$warning"))
                for name in ("of-prediction", "of-label"):
                    self._views[name].placeholder = "not known"
                    self._views[name].show(None)
            return
        if self.is_open and shown == self._shown:
            self._answer = printable_strings(answer)
            note = Text(f" {answer.source}")
            if answer.epoch != self._epoch:
                note.append(f", as there is no checkpoint of {fmt.epoch_name(self._epoch)}", "$warning")
            note.append("; brighter = more influence on the class (LayerCAM)", "dim")
            source.write(note)
            self._show_texts()
            self._show_pictures()

    # Texts and curve

    def _row(self) -> int | None:
        """The row of the history that belongs to the shown epoch: the nearest earlier one."""
        if self._history is None:
            return None
        earlier = [row for row, epoch in enumerate(self._history.epochs) if epoch <= self._epoch]
        return earlier[-1] if earlier else None

    @property
    def _shares(self) -> dict[str, float]:
        """The probability of each class in the shown epoch, by its name; empty if not known."""
        row = self._row()
        if row is None or self._history is None or self._shown.part == "train":
            return {}
        values = self._history.values[row].tolist()
        return {} if any(map(math.isnan, values)) else dict(zip(self._history.names, values, strict=True))

    @property
    def _predicted_name(self) -> str:
        shares = self._shares
        return max(shares, key=lambda name: shares[name]) if shares else self._shown.predicted

    def _show_texts(self) -> None:
        shown, shares = self._shown, self._shares
        name = one_line(shown.name) if shown.name else f"{shown.part} photograph {shown.index + 1}"
        title = Text.assemble((f" {name}", "bold"), (f"  {fmt.epoch_name(self._epoch)}", "bold $accent"))
        title.append(f"  {fmt.thousands(self._position + 1)} of {fmt.thousands(self._count)}", "dim")
        self.query_one("#title", Static).update(title, layout=False)
        about = Text.assemble((" label ", "dim"), shown.label)
        if shown.label in shares:
            about.append(f" {fmt.percent(shares[shown.label])}")
        predicted = self._predicted_name
        if predicted:
            sign, colour = fmt.CORRECT if predicted == shown.label else fmt.WRONG
            about.append("  predicted ", "dim").append(f"{sign} ", f"bold {colour}").append(predicted)
            if predicted in shares:
                about.append(f" {fmt.percent(shares[predicted])}")
        if shown.note:
            about.append(f"  {shown.note}", "dim")
        self.query_one("#about", Lines).write(about)
        self._headings["photograph"].update(Text("photograph", "dim"))
        for view, name, what in (("of-prediction", predicted, "predicted"), ("of-label", shown.label, "the label")):
            before = "where it looked for " if self.size.width >= WIDE_COLUMNS else "for "
            heading = Text.assemble((before, "dim"), name, (f", {what}", "dim")) if name else Text()
            self._headings[view].update(heading)

    def _show_curve(self) -> None:
        history = self._history
        if history is None or not history.epochs:
            return
        x = np.array(history.epochs, float) + 1
        if self._shown.part == "train":
            self._chart.chart.limits = None
            curves: tuple[Curve, ...] = (Curve("", x, history.values[:, 0], "$train", points=True),)
            heading = "Margin of the label while it was trained on"
        else:
            self._chart.chart.limits = (0.0, 1.0)
            heading = "Probability"
            names = dict.fromkeys(filter(None, (self._shown.label, self._predicted_name)))
            columns = {name: history.names.index(name) for name in names if name in history.names}
            curves = tuple(
                Curve(
                    name,
                    x,
                    history.values[:, column],
                    fmt.class_colour(column),
                    points=True,
                    glyph=fmt.CLASS_GLYPHS[column % len(fmt.CLASS_GLYPHS)],
                )
                for name, column in columns.items()
            )
        self._chart.show(curves, (1.0, max(2.0, float(x[-1]))), "epoch", raw=False, heading=heading)
        row = self._row()
        if row is not None:
            self._chart.show_cursor(float(x[row]), (fmt.epoch_name(history.epochs[row]), row))

    # Keys

    def action_move(self, by: int) -> None:
        """Show another photograph of the list."""
        position = min(max(0, self._position + by), self._count - 1)
        if position != self._position:
            self._position = position
            self._show_photograph()

    def action_move_epoch(self, by: int) -> None:
        """Show another epoch."""
        if self._epoch not in self._epochs:
            return
        index = self._epochs.index(self._epoch) + by
        epoch = self._epochs[min(max(0, index), len(self._epochs) - 1)]
        if epoch != self._epoch:
            self._epoch = epoch
            self._show_texts()
            self._show_curve()
            self._explain()

    @on(Chart.Clicked)
    def _chart_clicked(self, event: Chart.Clicked) -> None:
        nearest = min(self._epochs, key=lambda epoch: abs(epoch + 1 - event.x), default=self._epoch)
        self.action_move_epoch(self._epochs.index(nearest) - self._epochs.index(self._epoch))

    def action_leave(self) -> None:
        """Go back to the list."""
        if self.is_active:
            self.dismiss(self._position)


def heat_picture(
    file: Path, name: str, photograph_size: tuple[int, int], box: tuple[int, int], colours: Palette = VIRIDIS
) -> Picture:
    """Blend where the network looked for a class over the photograph, as it was before it became a square.

    Args:
        file: The frame file that the classify process wrote.
        name: Of the class.
        photograph_size: Width and height of the photograph in pixels.
        box: Width and height that the picture has to fit into.
        colours: The colour map, (256, 3) uint8 RGB.

    Raises:
        FrameUnreadable: The file is missing or damaged, or has no such class.
    """
    with open_frame(file) as frame:
        if f"cam/{name}" not in frame:
            raise FrameUnreadable("the network does not have this class")
        image, (heat, _) = frame.probe_image(0), frame.cam(name, 0)
    width, height = (max(1, side) for side in photograph_size)
    scale = min(box[0] / width, box[1] / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    large = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    return Picture.from_rgb(heat_overlay(large, heat, colours), COLOURS)
