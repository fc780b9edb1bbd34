"""The commands of ``facegender``. What needs torch is imported inside a command, so that the others answer at once."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from facegender.cli.export import export_file, export_network
from facegender.cli.options import Root, not_empty, root_folder, to_path
from facegender.cli.train import find_lr, recipes, train
from facegender.runs.folder import LIVE_STATES, RunFolder, list_runs, open_run
from facegender.runs.summary import summarise
from facegender.support.errors import UserError, print_error
from facegender.support.files import expanded
from facegender.support.text import age_in_words, printable, table

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Train a face-gender CNN and ask it about photographs. `facegender-tui` is the interface to watch it learn.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from facegender import __version__

        print(f"facegender-tui {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Common to all commands."""


app.command()(train)
app.command("find-lr")(find_lr)
app.command()(recipes)


@app.command()
def predict(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATH]...", parser=to_path, help="Photographs and folders.")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="RUN|FILE", parser=not_empty, help="Default: the newest run's best.ckpt.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="One line of comma-separated values each.")] = False,
    heatmap: Annotated[
        Path | None, typer.Option(metavar="DIR", parser=to_path, help="Save where the network looked as PNG.")
    ] = None,
    root: Root = Path(),
) -> None:
    """Classify photographs; without a path, ask for one after another."""
    if json and csv:
        raise UserError("--json and --csv exclude each other: give one of them")
    root = root_folder(root)
    named = [expanded(path) for path in paths or []]
    if named and not any(map(os.path.lexists, named)):
        for path in named:
            print_error(f"{path}: no such file; name a photograph or a folder of them")
        raise typer.Exit(2)
    from facegender.cli.predict import Form, classify_all

    form: Form = "json" if json else "csv" if csv else "text"
    if not classify_all(root, named, checkpoint, form, heatmap):
        raise typer.Exit(2)


@app.command()
def runs(
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    root: Root = Path(),
) -> None:
    """List the runs, newest first."""
    import msgspec

    rows = [_describe(run) for run in list_runs(root_folder(root))]
    if json:
        for row in rows:
            print(msgspec.json.encode(row).decode())
        return
    if not rows:
        print("no runs yet: `facegender train` starts one")
        return
    lines = [["run", "state", "epochs", "best", "at epoch", "age", "data"]]
    for row in rows:
        best = "" if row["best_validation_accuracy"] is None else f"{row['best_validation_accuracy']:.3f}"
        at = "" if row["best_epoch"] is None else str(row["best_epoch"])
        epochs = f"{row['epochs_done']}/{row['epochs']}"
        data = "demo faces" if row["demo"] else printable(row["data"])
        age = "" if row["age_s"] is None else age_in_words(row["age_s"])
        lines.append([row["run"], row["state"], epochs, best, at, age, data])
    print("\n".join(table(lines)))


def _describe(run: RunFolder) -> dict[str, Any]:
    summary = summarise(run)
    known = summary.best_epoch >= 0
    return {
        "run": run.name,
        "state": summary.state,
        "epochs_done": summary.epochs_done,
        "epochs": summary.epochs,
        "best_validation_accuracy": summary.best_accuracy if known else None,
        "best_epoch": summary.best_epoch if known else None,
        "age_s": round(max(0.0, time.time() - summary.created)) if summary.created else None,
        "demo": summary.demo,
        "data": summary.data,
    }


@app.command()
def stop(
    run: Annotated[str, typer.Argument(metavar="RUN", parser=not_empty)],
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Wait until it has ended, at most this long.")
    ] = 0,
    root: Root = Path(),
) -> None:
    """Ask a run to finish its batch, save and end."""
    if not math.isfinite(wait):
        raise UserError("--wait must be a number of seconds")
    folder = open_run(root_folder(root), run)
    state = folder.state()
    if state not in LIVE_STATES:
        print(f"run {run} has {state}: there is nothing to stop")
        return
    folder.request_stop()
    print(f"run {run}: asked to finish its batch, save last.ckpt and end; go on later with --resume {run}")
    until = time.monotonic() + wait
    while wait and (state := folder.state()) in LIVE_STATES:
        if time.monotonic() > until:
            print_error(f"run {run} has not ended within {wait:g} s")
            raise typer.Exit(1)
        time.sleep(0.2)
    if wait:
        print(f"run {run} is {state}")


@app.command()
def export(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN|FILE", parser=not_empty, help="A run, whose best.ckpt is taken, or a checkpoint."),
    ],
    format: Annotated[str, typer.Option("--format", metavar="pth|safetensors|onnx")] = "safetensors",
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", parser=to_path, help="Default: RUN.FORMAT here.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
    root: Root = Path(),
) -> None:
    """Save a trained network for other programs."""
    root = root_folder(root)
    target = export_file(run, format, output, force=force)
    print(export_network(root, run, format, target))


@app.command("demo-data")
def demo_data(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", parser=to_path, help="A new or an empty folder, or one of demo faces.")
    ],
    faces: Annotated[int, typer.Option("--faces", min=1, max=100_000, help="Faces per class.")] = 120,
    image_size: Annotated[int, typer.Option("--image-size", min=16, max=4096, help="Side in pixels.")] = 256,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1)] = 42,
) -> None:
    """Write drawn faces as a data set, to try the program without photographs."""
    from facegender.data.demo.faces import write_demo_faces

    folder = expanded(folder)
    count = write_demo_faces(folder, faces, image_size, seed)
    earlier = f", {count - 2 * faces} of them from before" if count > 2 * faces else ""
    print(f"{count} demo faces in {printable(folder)}{earlier}; train on them with --data {printable(folder)}")


@app.command()
def download() -> None:
    """Download the reference data set from Kaggle."""
    from facegender.data.kaggle import download as fetch

    folder = fetch()
    print(f"photographs in {printable(folder)}")


@app.command()
def doctor(root: Root = Path()) -> None:
    """Say what the program finds on this machine: versions, devices, disk, terminal."""
    from facegender.cli.doctor import findings

    rows = findings(expanded(root))
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name.ljust(width)}  {printable(text)}")


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove them; the next run decodes again.")] = False,
) -> None:
    """List the decoded photographs that runs have kept, or remove them."""
    from facegender.cli.cache import cleared, listing

    done, problems = cleared() if clear else (listing(), [])
    for line in done:
        print(line)
    for problem in problems:
        print_error(problem)
    if problems:
        raise typer.Exit(1)
