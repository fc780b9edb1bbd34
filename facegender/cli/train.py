"""``facegender train``, ``find-lr``, ``recipes`` and ``networks``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from facegender.cli.options import Config, Json, Root, not_empty, read_settings, settings_options, to_path
from facegender.cli.output import CHARTS, check_output, write_chart
from facegender.runs.config import FIELDS, RECIPES, option_of, validate
from facegender.runs.networks import NETWORKS
from facegender.runs.presets import FIND_LR_FIELDS, configure, describe
from facegender.support.errors import print_error
from facegender.support.text import json_line, printable, shell_command, thousands


@settings_options(FIELDS)
def train(
    given: dict[str, Any],
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="NAME", parser=not_empty, help="Name of the run; random if it is not given."),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="RUN", parser=not_empty, help="Continue a run from its last checkpoint."),
    ] = None,
    on_end: Annotated[
        str,
        typer.Option(
            "--on-end",
            metavar="COMMAND",
            help="Shell command to run when the run has ended, in whatever way, with FACEGENDER_RUN, FACEGENDER_STATUS "
            "and other facts in its environment; it may take a minute.",
        ),
    ] = "",
    root: Root = Path(),
    config: Config = None,
) -> None:
    """Train without an interface. Ctrl-C finishes the batch, saves and ends; --resume continues from there."""
    settings = read_settings(given, config)
    from facegender.training.run import train as start

    status = start(configure(settings), root, run, resume, changes=settings, on_end=on_end)
    raise typer.Exit(1 if status == "failed" else 0)


@settings_options(FIND_LR_FIELDS)
def find_lr(
    given: dict[str, Any],
    batches: Annotated[
        int, typer.Option("--batches", metavar="N", min=20, max=10_000, help="Number of learning rates to try.")
    ] = 100,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="F.png|pdf|svg", parser=to_path, help="Draw the curve of the losses."),
    ] = None,
    json: Json = False,
    root: Root = Path(),
    config: Config = None,
) -> None:
    """Suggest a learning rate: train on some batches, raising it with each, and find where the loss falls fastest.

    Uses one device and saves nothing: no run, no checkpoint.
    """
    if plot is not None:
        check_output(plot, "--plot", *CHARTS)
    settings = validate(configure(read_settings(given, config)))
    if not settings.demo:
        from facegender.data.dataset import find_data_folder

        find_data_folder(settings.data, root)  # report a mistyped folder before torch is imported
    from facegender.training.lr_finder import find_learning_rate

    curve = find_learning_rate(settings, root, batches)
    suggestion = curve.suggestion()
    options = [option_of(name) if value is True else f"{option_of(name)}={value}" for name, value in given.items()]
    options += [f"--config={config}"] if config else []
    command = shell_command(root, "train", *options, f"--learning-rate={suggestion:g}") if suggestion else None
    if curve.has_enough_points:
        if not json:
            print("\n".join(curve.table()))
        if plot is not None:
            from facegender.rendering.charts import learning_rate_figure

            write_chart(learning_rate_figure(curve.rates, curve.losses, curve.smoothed, suggestion), plot, "--plot")
            print(f"{printable(plot)}: loss by learning rate", file=sys.stderr if json else sys.stdout)
    if json:
        smoothed = curve.smoothed.tolist() if curve.has_enough_points else []
        series = {"learning_rates": curve.rates.tolist(), "losses": curve.losses.tolist(), "smoothed_losses": smoothed}
        print(json_line({"suggestion": suggestion, "command": command, **series}))
    if suggestion is None:
        print_error(f"no learning rate to suggest: {curve.problem()}")
        raise typer.Exit(1)
    if not json:
        print(f"suggested learning rate: {suggestion:g}")
        print(f"train with it: {command}")


def recipes() -> None:
    """Describe each recipe and its defaults; options of `facegender train` override them."""
    print("\n\n".join("\n".join(describe(recipe)) for recipe in RECIPES))


def networks(json: Json = False) -> None:
    """List the networks that --network takes: parameters with two classes, smallest image size."""
    if json:
        for name, network in NETWORKS.items():
            sizes = {"min_image_size": network.min_image_size, "image_size_multiple": network.patch or 1}
            print(json_line({"network": name, "parameters": network.parameters, **sizes}))
        return
    print(f"{'network':<20} {'parameters':>11}  image size")
    for name, network in NETWORKS.items():
        multiples = f", multiples of {network.patch}" if network.patch else ""
        parameters = thousands(network.parameters)
        print(f"{name:<20} {parameters:>11}  from {network.min_image_size} px{multiples}")
