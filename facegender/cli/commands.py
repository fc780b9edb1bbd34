"""The commands of ``facegender``. What needs torch is imported inside a command, so that the others answer at once."""

from __future__ import annotations

import math
import os
import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from facegender.cli.export import export_file, export_network
from facegender.cli.options import (
    Accelerator,
    BatchSize,
    ClassWeights,
    Config,
    Data,
    Demo,
    DemoFaces,
    ImageSize,
    Precision,
    Recipe,
    Root,
    Seed,
    Text,
    ValSplit,
    Widths,
    Workers,
    arguments_of,
    filled,
    filled_path,
    setting,
    settings_of,
    typed,
)
from facegender.runs.config import RECIPES
from facegender.runs.folder import LIVE_STATES, RunFolder, list_runs, open_run
from facegender.runs.presets import configured, described
from facegender.runs.summary import summarise
from facegender.support.errors import UserError, print_error
from facegender.support.files import expanded, is_folder
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


@app.command()
def train(
    data: Data = None,
    demo: Demo = False,
    demo_faces: DemoFaces = None,
    epochs: Annotated[Text, setting("epochs", "How often every photograph is seen.")] = None,
    batch_size: BatchSize = None,
    learning_rate: Annotated[Text, setting("learning_rate", "At the start, or its highest.", "X")] = None,
    step_size: Annotated[Text, setting("step_size", "Epochs between reductions of the learning rate.")] = None,
    gamma: Annotated[Text, setting("gamma", "Factor of each reduction.", "X")] = None,
    image_size: ImageSize = None,
    widths: Widths = None,
    val_split: ValSplit = None,
    seed: Seed = None,
    recipe: Recipe = None,
    class_weights: ClassWeights = None,
    patience: Annotated[
        Text, setting("patience", "Epochs without a better validation accuracy to end after; 0 for never.")
    ] = None,
    precision: Precision = None,
    accelerator: Accelerator = None,
    devices: Annotated[Text, setting("devices", "How many, or auto.")] = None,
    num_nodes: Annotated[Text, setting("num_nodes", "Machines.")] = None,
    strategy: Annotated[Text, setting("strategy", "auto, or ddp: one process a device.", "KIND")] = None,
    cache: Annotated[
        Text, setting("cache", "Where decoded photographs are held: auto, disk, memory or gpu.", "PLACE")
    ] = None,
    workers: Workers = None,
    visualize_every: Annotated[Text, setting("visualize_every", "Epochs between feature maps; 0 for none.")] = None,
    probes: Annotated[Text, setting("probes", "Photographs whose feature maps are kept.")] = None,
    run: Annotated[
        Text, typer.Option("--run", metavar="NAME", parser=filled, help="Name of the run; drawn if not given.")
    ] = None,
    resume: Annotated[Text, typer.Option("--resume", metavar="RUN", parser=filled, help="Go on with a run.")] = None,
    root: Root = Path(),
    config: Config = None,
) -> None:
    """Train without a screen. Ctrl-C finishes the batch, saves and ends; --resume goes on from there."""
    settings = settings_of(typed(locals()), config)
    from facegender.training.run import train as start

    status = start(configured(settings), _folder(root), run, resume, changes=settings)
    raise typer.Exit(1 if status == "failed" else 0)


@app.command("find-lr")
def find_lr(
    data: Data = None,
    demo: Demo = False,
    demo_faces: DemoFaces = None,
    batch_size: BatchSize = None,
    image_size: ImageSize = None,
    widths: Widths = None,
    val_split: ValSplit = None,
    seed: Seed = None,
    recipe: Recipe = None,
    class_weights: ClassWeights = None,
    precision: Precision = None,
    accelerator: Accelerator = None,
    workers: Workers = None,
    batches: Annotated[
        int, typer.Option("--batches", metavar="N", min=20, max=10_000, help="How many learning rates are tried.")
    ] = 100,
    root: Root = Path(),
    config: Config = None,
) -> None:
    """Suggest a learning rate: train some batches, each with a higher one than before, and see where the loss falls.

    Uses one device and keeps nothing: no run, no checkpoint.
    """
    given = typed(locals())
    settings = configured(settings_of(given, config))
    folder = _folder(root)
    if not settings.demo:
        from facegender.data.dataset import locate

        locate(settings.data, folder)  # so that a mistyped folder is answered before torch is imported
    from facegender.training.lr_finder import find_learning_rate

    curve = find_learning_rate(settings, folder, batches)
    suggestion = curve.suggestion()
    if curve.can_be_judged:
        print("\n".join(curve.lines()))
    if suggestion is None:
        print_error(f"no learning rate to suggest: {curve.objection()}")
        raise typer.Exit(1)
    print(f"suggested learning rate: {suggestion:g}")
    command = ["facegender", "train", *arguments_of(given), f"--learning-rate={suggestion:g}"]
    command += [] if config is None else [f"--config={config}"]
    command += [] if root == Path() else [f"--root={root}"]
    print(f"train with it: {printable(shlex.join(command))}")


@app.command()
def recipes() -> None:
    """Print what each recipe does and sets; options of `facegender train` override what it sets."""
    print("\n\n".join("\n".join(described(recipe)) for recipe in RECIPES))


@app.command()
def predict(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATH]...", parser=filled_path, help="Photographs and folders.")
    ] = None,
    checkpoint: Annotated[
        Text, typer.Option(metavar="RUN|FILE", parser=filled, help="Default: the newest run's best.ckpt.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="One line of comma-separated values each.")] = False,
    heatmap: Annotated[
        Path | None, typer.Option(metavar="DIR", parser=filled_path, help="Save where the network looked as PNG.")
    ] = None,
    root: Root = Path(),
) -> None:
    """Classify photographs; without a path, ask for one after another."""
    if json and csv:
        raise UserError("--json and --csv exclude each other: give one of them")
    root = _folder(root)
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

    rows = [_describe(run) for run in list_runs(_folder(root))]
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
    run: Annotated[str, typer.Argument(metavar="RUN", parser=filled)],
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Wait until it has ended, at most this long.")
    ] = 0,
    root: Root = Path(),
) -> None:
    """Ask a run to finish its batch, save and end."""
    if not math.isfinite(wait):
        raise UserError("--wait must be a number of seconds")
    folder = open_run(_folder(root), run)
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
        typer.Argument(metavar="RUN|FILE", parser=filled, help="A run, whose best.ckpt is taken, or a checkpoint."),
    ],
    format: Annotated[str, typer.Option("--format", metavar="pth|safetensors|onnx")] = "safetensors",
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", parser=filled_path, help="Default: RUN.FORMAT here.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
    root: Root = Path(),
) -> None:
    """Save a trained network for other programs."""
    root = _folder(root)
    target = export_file(run, format, output, force=force)
    print(export_network(root, run, format, target))


@app.command("demo-data")
def demo_data(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", parser=filled_path, help="A new or an empty folder, or one of demo faces.")
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


def _folder(root: Path) -> Path:
    """The root, if it is a folder.

    Raises:
        UserError: It is not.
    """
    root = expanded(root)
    if not is_folder(root):
        raise UserError(f"--root {printable(root)} is not a folder: make it, or name another")
    return root
