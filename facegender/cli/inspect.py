"""``facegender show`` and ``health``: look inside the network of a run."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facegender.cli.options import Json, Root, not_empty, to_path
from facegender.cli.output import check_output, writing
from facegender.cli.pictures import Graphics, print_figure, require_terminal
from facegender.rendering.view_options import Scope, View
from facegender.runs.events import LayerHealth
from facegender.runs.folder import RunFolder, open_run
from facegender.runs.health import findings, read_health
from facegender.support.errors import UserError
from facegender.support.text import UNKNOWN, counted, json_line, one_line, printable, table

if TYPE_CHECKING:
    from facegender.rendering.figures import Figure, FigureRequest

MAX_NAMED = 12
"""Layers or epochs that an error message names."""

Run = Annotated[str, typer.Argument(metavar="RUN", parser=not_empty, help="The run to look into.")]


def show(
    run: Run,
    epoch: Annotated[
        int | None,
        typer.Option("--epoch", metavar="N", min=0, help="Counted from 1; 0: initial weights. Default: the newest."),
    ] = None,
    layer: Annotated[
        str | None, typer.Option("--layer", metavar="L", parser=not_empty, help="Name or number; default: the first.")
    ] = None,
    view: Annotated[
        View, typer.Option("--view", help="cam: where it looked; top: patches that excite a channel.")
    ] = "maps",
    channel: Annotated[
        int | None,
        typer.Option("--channel", metavar="C", min=1, help="Only this channel, or with cam this class; from 1."),
    ] = None,
    probe: Annotated[int, typer.Option("--probe", metavar="P", min=1, help="Which probe photograph.")] = 1,
    reference: Annotated[
        int | None,
        typer.Option("--reference", metavar="N", min=0, help="Epoch to subtract, for difference; default: the first."),
    ] = None,
    scale: Annotated[
        Scope | None,
        typer.Option("--scale", help="What shares one colour scale; a GIF uses run if it can."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="F.png|F.gif", parser=to_path, help="Write a file; a GIF plays all epochs."),
    ] = None,
    graphics: Graphics = "auto",
    json: Json = False,
    root: Root = Path(),
) -> None:
    """Show the feature maps, filters or another view of a layer, in the terminal or as a file."""
    folder = open_run(root, run)
    _check_output(output, view, epoch, json=json)
    if reference is not None and view != "difference":
        raise UserError("--reference belongs to --view difference: leave it out, or give that view")
    from facegender.rendering.figures import read_figure, write_figure
    from facegender.rendering.views import NothingToShow
    from facegender.runs.frames import FrameUnreadable

    try:
        chosen = _selection(folder, epoch, layer, view, channel, probe, reference, scale)
        if output is not None and output.suffix.lower() == ".gif":
            _write_gif(folder, chosen, output)
            return
        figure = _read_top(folder, chosen) if view == "top" else read_figure(folder, chosen)
        if json:
            print(json_line(_numbers(folder, chosen, figure)))
        elif output is not None:
            with writing(output, "--output"):
                write_figure(output, figure)
        else:
            print_figure(figure, graphics, sys.stdout)
    except (NothingToShow, FrameUnreadable) as error:
        raise UserError(f"run {run}: {one_line(str(error))}") from None
    if output is not None:
        print(f"{printable(output)}: {figure.title}")


def _check_output(output: Path | None, view: View, epoch: int | None, *, json: bool) -> None:
    """Refuse what cannot be written or shown before anything is read."""
    if output is None:
        if not json:
            require_terminal(sys.stdout, "write a file with --output picture.png")
        return
    name = printable(output)
    if json:
        raise UserError("--json and --output exclude each other: give one of them")
    check_output(output, "--output", ".png", ".gif")
    if output.suffix.lower() == ".gif" and epoch is not None:
        raise UserError("--epoch: a GIF plays all epochs; leave it out, or write a .png")
    if output.suffix.lower() == ".gif" and view == "top":
        raise UserError(f"--output {name}: --view top has no GIF; write a .png")


def _selection(
    folder: RunFolder,
    epoch: int | None,
    layer: str | None,
    view: View,
    channel: int | None,
    probe: int,
    reference: int | None,
    scope: Scope | None,
) -> FigureRequest:
    """Check the options against what was recorded.

    Raises:
        UserError: Something does not exist; the message says what does.
        FrameUnreadable: The frame cannot be read.
    """
    from facegender.rendering.figures import FigureRequest
    from facegender.runs.frames import open_frame

    run, epochs = folder.name, folder.frame_epochs()
    if not epochs:
        raise UserError(f"run {run} has no pictures yet: they are recorded when an epoch ends, see --visualize-every")
    shown = epochs[-1] if epoch is None else epoch - 1
    for option, number in (("--epoch", shown), ("--reference", None if reference is None else reference - 1)):
        if number is not None and number not in epochs:
            raise UserError(f"{option} {number + 1}: run {run} has pictures of {_epochs_in_words(epochs)}")
    if reference is not None and reference - 1 == shown:
        raise UserError(f"--reference {reference}: is the shown epoch itself; name another one")
    subtracted = reference - 1 if reference is not None else epochs[0]
    with open_frame(folder.frame_path(shown)) as frame:
        name = _layer_named(run, frame.info.layers, layer)
        probes = len(frame.tensor("probe/labels"))
        if probe > probes:
            raise UserError(f"--probe {probe}: run {run} has {counted(probes, 'probe photograph')}")
        classes = [label for label in frame.info.classes if f"cam/{label}/high" in frame]
        channels = len(frame.tensor(f"maps/{name}/low", 0))
    if view == "cam" and channel is not None and classes and channel > len(classes):
        numbered = ", ".join(f"{one_line(label)} ({number})" for number, label in enumerate(classes, 1))
        raise UserError(f"--channel {channel}: with --view cam it is a class: {numbered}")
    if view != "cam" and channel is not None and channel > channels:
        raise UserError(f"--channel {channel}: {one_line(name)} has {counted(channels, 'channel')}")
    return FigureRequest(
        epoch=shown,
        layer=name,
        view=view,
        channel=None if channel is None and view != "top" else (channel or 1) - 1,
        probe=probe - 1,
        reference=subtracted if view == "difference" and subtracted != shown else None,
        scope=scope,
    )


def _layer_named(run: str, layers: list[str], wanted: str | None) -> str:
    """Find a layer by its name, else by its number, counted from 1.

    Raises:
        UserError: There is no such layer.
    """
    if wanted is None and layers:
        return layers[0]
    if wanted in layers:
        return wanted
    if wanted is not None and wanted.isdecimal() and 1 <= int(wanted) <= len(layers):
        return layers[int(wanted) - 1]
    known = ", ".join(f"{one_line(name)} ({number})" for number, name in enumerate(layers[:MAX_NAMED], 1))
    more = f" and {len(layers) - MAX_NAMED} more" if len(layers) > MAX_NAMED else ""
    raise UserError(f"--layer {one_line(str(wanted))}: run {run} has {known or 'no convolutions'}{more}")


def _epochs_in_words(epochs: list[int]) -> str:
    """Name the recorded epochs, e.g. "epochs 0 to 12"; of many with gaps only the first and the last ones."""
    first, last = epochs[0] + 1, epochs[-1] + 1
    if len(epochs) == 1:
        return f"epoch {first} only"
    if last - first + 1 == len(epochs):
        return f"epochs {first} to {last}"
    numbers = [str(epoch + 1) for epoch in epochs]
    if len(numbers) > MAX_NAMED:
        numbers = [*numbers[: MAX_NAMED // 2], "…", *numbers[-MAX_NAMED // 2 :]]
    return f"epochs {', '.join(numbers)}"


def _write_gif(folder: RunFolder, chosen: FigureRequest, output: Path) -> None:
    from facegender.rendering.figures import write_animation

    with writing(output, "--output"):
        figures = write_animation(output, folder, chosen)
    print(f"{printable(output)}: {counted(len(figures), 'epoch')}, the last is {figures[-1].title}")


def _read_top(folder: RunFolder, chosen: FigureRequest) -> Figure:
    """Cut what excites a channel most, the first one if none is chosen, from the photographs of the run."""
    from facegender.channel_patches import channel_patches, checkpoint_for
    from facegender.classifier import load_classifier
    from facegender.rendering.figures import patches_figure

    classifier = load_classifier(checkpoint_for(folder, chosen.epoch))
    patches = channel_patches(classifier, folder, chosen.epoch, chosen.layer, chosen.channel or 0)
    return patches_figure(folder.name, chosen, patches)


def _numbers(folder: RunFolder, chosen: FigureRequest, figure: Figure) -> dict[str, Any]:
    """The numbers behind a figure, as one JSON object; epochs, probes and channels are counted from 0."""
    from facegender.runs.frames import open_frame

    tiles = figure.tiles
    with open_frame(folder.frame_path(chosen.epoch)) as frame:
        stats, names = f"stats/{chosen.layer}", frame.info.statistics
        rows = frame.tensor(stats, chosen.probe).tolist() if stats in frame else []
        step = frame.info.global_step
    if chosen.channel is not None and chosen.view != "cam":
        rows = rows[chosen.channel : chosen.channel + 1]
    scales = zip(tiles.labels, tiles.low.tolist(), tiles.high.tolist(), strict=True)
    return {
        "run": folder.name,
        "step": step,
        **{name: getattr(chosen, name) for name in ("epoch", "layer", "view", "channel", "probe", "reference")},
        "title": figure.title,
        "notes": figure.notes,
        "scale": tiles.scope,
        "tiles": [{"label": label, "low": low, "high": high} for label, low, high in scales],
        "statistics": [
            {"channel": number, **dict(zip(names, row, strict=False))}
            for number, row in enumerate(rows, chosen.channel or 0)
        ],
    }


def health(
    run: Run,
    epoch: Annotated[
        int | None, typer.Option("--epoch", metavar="N", min=1, help="Counted from 1; the newest by default.")
    ] = None,
    json: Json = False,
    root: Root = Path(),
) -> None:
    """List dead, stuck and duplicate channels of each layer, its gradient, and how much a step changes its weights."""
    folder = open_run(root, run)
    measured = read_health(folder)
    if not measured:
        raise UserError(
            f"run {run} has no measurements of its layers: no epoch has ended yet, or an earlier version trained it"
        )
    if epoch is not None and epoch - 1 not in measured:
        raise UserError(f"--epoch {epoch}: run {run} has measurements of {_epochs_in_words(list(measured))}")
    chosen = measured[max(measured) if epoch is None else epoch - 1]
    found = findings(chosen, [one for number, one in measured.items() if number < chosen.epoch])
    if json:
        known_of = {name: getattr(chosen, name) for name in ("epoch", "step", "first_not_finite", "layers")}
        print(json_line({"run": run, **known_of, "findings": found}))
        return
    header = ["layer", "gradient", "update/weights", "channels", "dead", "stuck", "duplicates"]
    print("\n".join(table([header, *map(_row, chosen.layers)])))
    problems = counted(len(found), "problem") if found else "no problems"
    print(f"epoch {chosen.epoch + 1}: {problems} found in {counted(len(chosen.layers), 'layer')}")
    for finding in found:
        print(f"  {finding.layer}: {finding.text}")


def _row(layer: LayerHealth) -> list[str]:
    counts = (layer.channels, layer.dead_count, len(layer.saturated), len(layer.duplicates))
    return [layer.name, _figure(layer.gradient_norm), _figure(layer.update_ratio), *map(str, counts)]


def _figure(value: float) -> str:
    return UNKNOWN if math.isnan(value) else f"{value:.2e}"
