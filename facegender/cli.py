"""The commands of ``facegender``. What needs torch is imported inside a command, so that the others answer at once."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from facegender.runs.complaint import complain
from facegender.runs.config import FIELDS, RECIPES, parse, read_toml
from facegender.runs.errors import UserError
from facegender.runs.folder import LIVE_STATES, RunFolder, list_runs, open_run
from facegender.runs.paths import expanded, is_folder
from facegender.runs.recipes import configured, default_of, described, shown
from facegender.runs.summary import summarise
from facegender.runs.text import end_of, printable

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Train a face-gender CNN and ask it about photographs. `facegender-tui` is the interface to watch it learn.",
)

TABLE_WIDTH = 80
LEAST_DATA_WIDTH = 10


def _filled(text: str) -> str:
    """A value that was given, which an empty one was not, e.g. that of a variable of a script that is not set."""
    if not text.strip():
        raise typer.BadParameter("must not be empty: leave it out, or give a value")
    return text


def _path(text: str | Path) -> Path:
    return Path(_filled(str(text)))


Root = Annotated[
    Path, typer.Option("--root", metavar="DIR", parser=_path, help="Where checkpoints/ and visuals/ live.")
]


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


def _setting(field: str, text: str, metavar: str = "N") -> Any:
    """An option that stands for one field of `TrainConfig`, whose default it names in its help."""
    default = FIELDS[field].default
    others = {recipe: default_of(field, recipe) for recipe in RECIPES}
    differing = "".join(f"; {recipe}: {shown(value)}" for recipe, value in others.items() if value != default)
    note = "" if default is None else f" (default: {shown(default)}{differing})"
    return typer.Option(f"--{field.replace('_', '-')}", metavar=metavar, help=text + note, show_default=False)


Text = str | None


@app.command()
def train(
    data: Annotated[
        Text, _setting("data", "Folder with female/ and male/; without it datasets/ is searched.", "DIR")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Train on faces that the program draws.")] = False,
    demo_faces: Annotated[Text, _setting("demo_faces", "Demo faces per class.")] = None,
    epochs: Annotated[Text, _setting("epochs", "How often every photograph is seen.")] = None,
    batch_size: Annotated[Text, _setting("batch_size", "Photographs a step on each device.")] = None,
    learning_rate: Annotated[Text, _setting("learning_rate", "At the start, or its highest.", "X")] = None,
    step_size: Annotated[Text, _setting("step_size", "Epochs between reductions of the learning rate.")] = None,
    gamma: Annotated[Text, _setting("gamma", "Factor of each reduction.", "X")] = None,
    image_size: Annotated[Text, _setting("image_size", "Side in pixels that photographs are resized to.")] = None,
    widths: Annotated[Text, _setting("widths", "Channels of the three convolutions or stages.", "A,B,C")] = None,
    val_split: Annotated[Text, _setting("val_split", "Share kept for validation.", "X")] = None,
    seed: Annotated[Text, _setting("seed", "Of everything random.")] = None,
    recipe: Annotated[
        Text, _setting("recipe", "How to train; `facegender recipes` prints what each one does and sets.", "NAME")
    ] = None,
    class_weights: Annotated[
        Text, _setting("class_weights", "auto: all classes count the same, however many photographs.", "KIND")
    ] = None,
    patience: Annotated[
        Text, _setting("patience", "Epochs without a better validation accuracy to end after; 0 for never.")
    ] = None,
    precision: Annotated[
        Text, _setting("precision", "auto takes bf16 where it is faster than 32; or 32, bf16, 16.", "KIND")
    ] = None,
    accelerator: Annotated[Text, _setting("accelerator", "auto, cpu, gpu, cuda or mps.", "KIND")] = None,
    devices: Annotated[Text, _setting("devices", "How many, or auto.")] = None,
    num_nodes: Annotated[Text, _setting("num_nodes", "Machines.")] = None,
    strategy: Annotated[Text, _setting("strategy", "Lightning's way of using several devices.", "NAME")] = None,
    workers: Annotated[Text, _setting("workers", "Processes that load batches.")] = None,
    visualize_every: Annotated[Text, _setting("visualize_every", "Epochs between feature maps; 0 for none.")] = None,
    probes: Annotated[Text, _setting("probes", "Photographs whose feature maps are kept.")] = None,
    run: Annotated[
        Text, typer.Option("--run", metavar="NAME", parser=_filled, help="Name of the run; drawn if not given.")
    ] = None,
    resume: Annotated[Text, typer.Option("--resume", metavar="RUN", parser=_filled, help="Go on with a run.")] = None,
    root: Root = Path(),
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", parser=_path, help="Settings as TOML.")
    ] = None,
) -> None:
    """Train without a screen. Ctrl-C finishes the batch, saves and ends; --resume goes on from there."""
    options = {name: value for name, value in locals().items() if name in FIELDS and value not in (None, False)}
    given: dict[str, Any] = {}
    for name, value in options.items():
        try:
            given[name] = parse(name, value) if isinstance(value, str) else value
        except UserError as error:
            raise UserError(f"--{name.replace('_', '-')} {error}") from None
    if demo and data is not None:
        raise UserError("--demo and --data exclude each other: give one of them")
    settings = read_toml(expanded(config)) if config else {}
    if demo or data is not None:
        # The command line decides between photographs and demo faces, also against a file that has the other.
        settings = {name: value for name, value in settings.items() if name not in ("demo", "data")}
    settings |= given
    from facegender.training.session import train as start

    status = start(configured(settings), _folder(root), run, resume, changes=settings)
    raise typer.Exit(1 if status == "failed" else 0)


@app.command()
def recipes() -> None:
    """Print what each recipe does and sets; options of `facegender train` override what it sets."""
    print("\n\n".join("\n".join(described(recipe)) for recipe in RECIPES))


@app.command()
def predict(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATH]...", parser=_path, help="Photographs and folders.")
    ] = None,
    checkpoint: Annotated[
        Text, typer.Option(metavar="RUN|FILE", parser=_filled, help="Default: the newest run's best.ckpt.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="One line of comma-separated values each.")] = False,
    heatmap: Annotated[
        Path | None, typer.Option(metavar="DIR", parser=_path, help="Save where the network looked as PNG.")
    ] = None,
    root: Root = Path(),
) -> None:
    """Classify photographs; without a path, ask for one after another."""
    if json and csv:
        raise UserError("--json and --csv exclude each other: give one of them")
    from facegender.prediction import Form, classify_all

    form: Form = "json" if json else "csv" if csv else "text"
    if not classify_all(_folder(root), [expanded(path) for path in paths or []], checkpoint, form, heatmap):
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
    table = [["run", "state", "epochs", "best", "at epoch", "age", "data"]]
    for row in rows:
        best = "" if row["best_validation_accuracy"] is None else f"{row['best_validation_accuracy']:.3f}"
        at = "" if row["best_epoch"] is None else str(row["best_epoch"])
        epochs = f"{row['epochs_done']}/{row['epochs']}"
        data = "demo faces" if row["demo"] else printable(row["data"])
        table.append([row["run"], row["state"], epochs, best, at, _age(row["age_s"]), data])
    widths = [max(len(cells[column]) for cells in table) for column in range(len(table[0]))]
    room = max(LEAST_DATA_WIDTH, TABLE_WIDTH - sum(widths[:-1]) - 2 * len(widths[:-1]))
    for cells in table:
        cells[-1] = end_of(cells[-1], room)
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


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


def _age(seconds: int | None) -> str:
    if seconds is None:
        return ""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


@app.command()
def stop(
    run: Annotated[str, typer.Argument(metavar="RUN", parser=_filled)],
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
        print(f"run {run} is {state}: there is nothing to stop")
        return
    folder.request_stop()
    print(f"run {run}: asked to finish its batch, save last.ckpt and end; go on later with --resume {run}")
    until = time.monotonic() + wait
    while wait and (state := folder.state()) in LIVE_STATES:
        if time.monotonic() > until:
            complain(f"run {run} has not ended within {wait:g} s")
            raise typer.Exit(1)
        time.sleep(0.2)
    if wait:
        print(f"run {run} is {state}")


@app.command()
def export(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN|FILE", parser=_filled, help="A run, whose best.ckpt is taken, or a checkpoint."),
    ],
    format: Annotated[str, typer.Option("--format", metavar="pth|safetensors|onnx")] = "safetensors",
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", parser=_path, help="Default: RUN.FORMAT here.")
    ] = None,
    root: Root = Path(),
) -> None:
    """Save a trained network for other programs."""
    from facegender.export import FORMATS, export_network

    if format not in FORMATS:
        raise UserError(f"--format {printable(format)}: must be one of {', '.join(FORMATS)}")
    print(export_network(_folder(root), run, format, output))


@app.command("demo-data")
def demo_data(
    folder: Annotated[Path, typer.Argument(metavar="DIR", parser=_path, help="A new or an empty folder.")],
    faces: Annotated[int, typer.Option("--faces", min=1, max=100_000, help="Faces per class.")] = 120,
    image_size: Annotated[int, typer.Option("--image-size", min=16, max=4096, help="Side in pixels.")] = 256,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1)] = 42,
) -> None:
    """Write drawn faces as a data set, to try the program without photographs."""
    from facegender.data.demo import write_demo_faces

    folder = expanded(folder)
    write_demo_faces(folder, faces, image_size, seed)
    print(f"{2 * faces} demo faces in {printable(str(folder))}; train on them with --data {printable(str(folder))}")


@app.command()
def download() -> None:
    """Download the reference data set from Kaggle."""
    from facegender.data.kaggle import download as fetch

    folder = fetch()
    print(f"photographs in {printable(str(folder))}")


@app.command()
def doctor(root: Root = Path()) -> None:
    """Say what the program finds on this machine: versions, devices, disk, terminal."""
    from facegender.doctor import findings

    rows = findings(expanded(root))
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name.ljust(width)}  {printable(text)}")


def _folder(root: Path) -> Path:
    """The root, if it is a folder.

    Raises:
        UserError: It is not.
    """
    root = expanded(root)
    if not is_folder(root):
        raise UserError(f"--root {printable(str(root))} is not a folder: make it, or name another")
    return root
