"""The program ``facegender``: its commands. They import what needs torch when they run, so that the help is quick."""

from __future__ import annotations

from typing import Annotated

import typer

from facegender import __version__
from facegender.cli.data import cache, demo_data, download
from facegender.cli.doctor import doctor
from facegender.cli.evaluate import evaluate
from facegender.cli.export import export
from facegender.cli.inspect import health, show
from facegender.cli.mistakes import mistakes
from facegender.cli.predict import predict
from facegender.cli.report import report
from facegender.cli.runs import compare, note, runs, stop
from facegender.cli.steer import checkpoint, frame, set
from facegender.cli.suspects import suspects
from facegender.cli.train import find_lr, networks, recipes, train

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Train a face-gender CNN and classify photographs with it. `facegender-tui` shows the training live.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"facegender-tui {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", metavar="", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Options of the program itself."""


for _command in (
    train, find_lr, recipes, networks, predict, evaluate, show, health, mistakes, suspects, runs, compare, report, note,
    set, checkpoint, frame, stop, export, demo_data, download, doctor, cache,
):  # fmt: skip
    app.command(_command.__name__.replace("_", "-"))(_command)
