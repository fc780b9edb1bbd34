"""Everything that the files of a run say about it, as sections of labelled lines: the run page shows them."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from facegender.runs.calibration import FILE_NAME as CALIBRATION
from facegender.runs.comparison import setting_text
from facegender.runs.config import FIELDS, option_of
from facegender.runs.events import (
    LATEST_TIME,
    AnyEvent,
    CheckpointSaved,
    EpochFinished,
    Notice,
    RequestDone,
    RunFinished,
    RunStarted,
)
from facegender.runs.folder import LIVE_STATES, Manifest, RunFolder, State
from facegender.runs.journal import read_kinds
from facegender.runs.presets import FIND_LR_FIELDS, default_of, train_arguments, unused_fields
from facegender.support.files import is_file
from facegender.support.text import (
    counted,
    duration,
    measured,
    one_line,
    printable,
    shell_command,
    shell_word,
    size_in_words,
    thousands,
)

Kind = Literal["", "heading", "table", "command", "path", "changed", "dim", "warning", "error"]
"""How a line is shown: "table" lines are aligned with those around them, "changed" is not at its default."""
Action = Literal[
    "", "train", "longer", "resume", "stop", "find-rate", "evaluate", "export-safetensors", "export-onnx", "export-pth"
]
EXPORTS: dict[str, Action] = {"safetensors": "export-safetensors", "onnx": "export-onnx", "pth": "export-pth"}
"""By the format of ``facegender export``."""
TABLE_WIDTH = 56
"""Characters: fits a terminal of 60 columns. Of a wider confusion matrix, the largest cells are listed instead."""
MAX_CONFUSIONS = 20
OF_RECORDER = ("epochs", "visualize_every", "probes")
"""The settings of a run that a script records; all others are in the script."""


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """One line, safe for a terminal.

    Attributes:
        label: What the text is about; empty in headings and tables.
        copied: What to copy instead of the text, ready to paste into a shell.
        action: What the command does, for a program that can carry it out; empty for other lines.
        arguments: Arguments of the command, after the name of the program.
    """

    label: str = ""
    text: str = ""
    kind: Kind = ""
    copied: str = ""
    action: Action = ""
    arguments: tuple[str, ...] = ()


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A title and the lines below it."""

    title: str
    lines: tuple[Detail, ...]

    def as_text(self) -> str:
        """Return the section as plain text: its title, then a line for each of its lines."""
        width = max((len(line.label) for line in self.lines), default=0)
        texts = (f"{line.label:<{width}}  {line.text}" if line.label else line.text for line in self.lines)
        return "\n".join([self.title, *map(str.rstrip, texts)])


class RunDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a run."""

    run: str
    state: State
    sections: tuple[Section, ...]

    def command(self, action: Action) -> Detail | None:
        """Return the line of the command for an action; None if the run has no such command now."""
        lines = (line for section in self.sections for line in section.lines)
        return next((line for line in lines if line.action == action), None)


class _Journal(msgspec.Struct):
    """The events of a journal that the page shows."""

    started: list[RunStarted] = []
    epochs: int = 0
    finished: dict[int, EpochFinished] = {}
    saved: dict[str, CheckpointSaved] = {}
    told: list[Notice | RequestDone] = []
    ended: list[RunFinished] = []


def read_details(folder: RunFolder) -> RunDetails:
    """Read everything about a run. Files that are missing or damaged leave their lines out.

    A long journal takes about a second for 500 MB, as the lines of its steps are not decoded: call it in a thread.
    """
    manifest, state, journal = folder.read_manifest(), folder.state(), _read_journal(folder)
    sections = (
        Section(title="Run", lines=tuple(_run_lines(folder, manifest, state, journal))),
        Section(title="Commands", lines=tuple(_command_lines(folder, manifest, state, journal))),
        Section(title="Figures", lines=tuple(_figure_lines(journal))),
        Section(title="Configuration", lines=tuple(_setting_lines(manifest))),
        Section(title="Data", lines=tuple(_data_lines(manifest, journal))),
        Section(title="Checkpoints", lines=tuple(_checkpoint_lines(folder, journal))),
        Section(title="Files", lines=tuple(_file_lines(folder))),
        Section(title="Segments", lines=tuple(_segment_lines(journal))),
        Section(title="Log", lines=tuple(_log_lines(journal))),
        Section(title="Skipped files", lines=tuple(_skipped_lines(manifest))),
    )
    return RunDetails(
        run=folder.name,
        state=state,
        sections=tuple(section for section in sections if section.lines),
    )


def _read_journal(folder: RunFolder) -> _Journal:
    journal = _Journal()
    kinds = RunStarted, EpochFinished, CheckpointSaved, Notice, RequestDone, RunFinished
    for event in read_kinds(folder.journal_path, *kinds):
        match event:
            case RunStarted():
                journal.started.append(event)
                journal.epochs = event.epochs
                journal.finished = {n: value for n, value in journal.finished.items() if n < event.start_epoch}
            case EpochFinished():
                journal.finished[event.epoch] = event
            case CheckpointSaved():
                journal.saved[event.file] = event
            case Notice() | RequestDone():
                journal.told.append(event)
                if isinstance(event, RequestDone) and event.epochs is not None:
                    journal.epochs = event.epochs
            case RunFinished():
                journal.ended.append(event)
    return journal


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if 0 < seconds < LATEST_TIME else "unknown"


def _known(*lines: tuple[str, str]) -> Iterator[Detail]:
    """The lines that have a text."""
    yield from (Detail(label=label, text=one_line(text)) for label, text in lines if text)


def _path(label: str, path: Path, note: str = "") -> Detail:
    """A line about a file, whose path is copied."""
    return Detail(label=label, text=f"{printable(path)}{note}", kind="path", copied=_pasted(str(path.absolute())))


def _pasted(path: str) -> str:
    """A path as it is, or as a shell reads it if a terminal might obey some of its characters."""
    return path if printable(path) == path else shell_word(path)


def _run_lines(folder: RunFolder, manifest: Manifest | None, state: State, journal: _Journal) -> Iterator[Detail]:
    ended = journal.ended[-1] if journal.ended and state not in LIVE_STATES else None
    bad = state in ("failed", "crashed")
    yield Detail(label="state", text=state, kind="error" if bad else "")
    if ended and ended.error:
        yield Detail(label="why", text=ended.error, kind="error")
    yield from _known(("note", folder.read_note()))
    started = journal.started[-1] if journal.started else None
    planned = journal.epochs if started else manifest.config.epochs if manifest else 0
    done = len(journal.finished)
    seconds = sum(event.seconds for event in journal.finished.values())
    yield from _known(
        ("epochs", f"{done} of {planned}" if planned else str(done)),
        ("created", _time(manifest.created) if manifest else ""),
        ("started", _time(journal.started[0].time) if journal.started else ""),
        ("ended", _time(ended.time) if ended else ""),
        ("trained for", duration(seconds) if 0 < seconds < LATEST_TIME else ""),
    )
    if manifest:
        yield from _known(("trained by", f"{manifest.process}"), ("script", manifest.script))
    if started:
        yield from _known(
            ("device", started.device_text),
            ("precision", started.precision),
            ("recipe", started.recipe),
            ("network", started.network or (f"of the {started.recipe} recipe" if started.recipe else "")),
            ("parameters", thousands(started.parameters)),
            ("image size", f"{started.image_size} px"),
            (
                "batches",
                f"{started.steps_per_epoch} per epoch, {started.batch_size} images each"
                if started.steps_per_epoch
                else "",
            ),
            ("layers", ", ".join(layer.name for layer in started.layers)),
        )
    if manifest:
        yield from _known(("written by", manifest.program))


def _command_lines(folder: RunFolder, manifest: Manifest | None, state: State, journal: _Journal) -> Iterator[Detail]:
    root, name = folder.root.absolute(), folder.name

    def line(label: str, *arguments: str, action: Action = "", program: str = "facegender") -> Detail:
        command, whole = shell_command(root, *arguments, program=program), (*arguments, f"--root={root}")
        return Detail(label=label, text=command, kind="command", copied=command, action=action, arguments=whole)

    yield line("show it", name, program="facegender-tui")
    if manifest is None:
        return
    if manifest.script:
        yield line("evaluate", "evaluate", name, "--recorded", action="evaluate")
        return
    yield line("train again", "train", *train_arguments(manifest.config), action="train")
    if state in LIVE_STATES:
        yield line("stop", "stop", name, action="stop")
    elif state == "completed":
        longer = 2 * manifest.config.epochs
        yield line("train longer", "train", f"--resume={name}", f"--epochs={longer}", action="longer")
    else:
        yield line("resume", "train", f"--resume={name}", action="resume")
    yield line("find a rate", "find-lr", *train_arguments(manifest.config, FIND_LR_FIELDS), action="find-rate")
    if not journal.saved:
        return
    yield line("predict", "predict", "PHOTO.jpg", f"--checkpoint={name}")
    yield line("evaluate", "evaluate", name, action="evaluate")
    for format, action in EXPORTS.items():
        yield line("export", "export", name, f"--format={format}", action=action)


def _figure_lines(journal: _Journal) -> Iterator[Detail]:
    events = list(journal.finished.values())
    if not events:
        return
    validated = [event for event in events if not math.isnan(event.validation_accuracy)]
    best = max(validated, key=lambda event: (event.validation_accuracy, -event.epoch), default=None)
    losses = [event for event in events if not math.isnan(event.validation_loss)]
    lowest, last = min(losses, key=lambda event: event.validation_loss, default=None), events[-1]
    named = ("best", best), ("lowest loss", lowest), ("last", last)
    columns: list[Sequence[str]] = [("", "epoch", "accuracy", "loss", "macro F1", "train accuracy", "train loss")]
    columns += [(label, *_epoch_cells(event)) for label, event in named if event is not None]
    yield from _table(list(zip(*columns, strict=True)))
    if last.metrics:
        logged = ", ".join(f"{name} {value:.6g}" for name, value in sorted(last.metrics.items()))
        yield Detail(label="logged", text=logged)
    for title, event in (("best", best), ("last", last)):
        if event is not None and _has_confusion(event) and not (title == "last" and event is best):
            yield from _class_lines(event, title)


def _has_confusion(event: EpochFinished) -> bool:
    """Whether there is a confusion matrix of the classes; a damaged journal may have another."""
    count = len(event.classes)
    return count > 0 and len(event.confusion) == count and all(len(row) == count for row in event.confusion)


def _epoch_cells(event: EpochFinished) -> tuple[str, ...]:
    validation = event.validation_accuracy, event.validation_loss, event.macro_f1
    return str(event.epoch + 1), *map(measured, (*validation, event.train_accuracy, event.train_loss))


def _class_lines(event: EpochFinished, title: str) -> Iterator[Detail]:
    """The figures of each class, then the confusion matrix, or its largest cells where the matrix is too wide."""
    names, counts = event.classes, event.confusion
    yield Detail(text=f"classes in epoch {event.epoch + 1}, the {title} one", kind="heading")
    scores = zip(names, event.precision, event.recall, event.f1, counts, strict=False)
    rows = [(name, *map(measured, three), str(sum(row))) for name, *three, row in scores]
    yield from _table([("label", "precision", "recall", "F1", "photographs"), *rows])
    matrix = [(name, *map(str, row)) for name, row in zip(names, counts, strict=True)]
    lines = list(_table([("label", *(f"as {name}" for name in names)), *matrix]))
    if len(lines[0].text) <= TABLE_WIDTH:
        yield from lines
        return
    cells = [(n, label, got) for label, row in enumerate(counts) for got, n in enumerate(row) if n and got != label]
    yield Detail(text=f"most frequent mistakes in epoch {event.epoch + 1}", kind="heading")
    mistakes = [(f"{names[label]} as {names[got]}", str(n)) for n, label, got in sorted(cells, reverse=True)]
    yield from _table(mistakes[:MAX_CONFUSIONS])


def _table(rows: Sequence[Sequence[str]]) -> Iterator[Detail]:
    """Lines with aligned cells, the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *cells in rows:
        right = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        yield Detail(text="  ".join([first.ljust(widths[0]), *right]), kind="table")


def _setting_lines(manifest: Manifest | None) -> Iterator[Detail]:
    if manifest is None:
        return
    config = manifest.config
    unused = unused_fields(config.recipe, config.network)
    for name in OF_RECORDER if manifest.script else FIELDS:
        value, default = getattr(config, name), default_of(name, config.recipe)
        text = one_line(setting_text(value))
        if name in unused:
            yield Detail(label=option_of(name), text=f"{text}  not used", kind="dim")
        elif value == default:
            yield Detail(label=option_of(name), text=text)
        elif default is None:
            yield Detail(label=option_of(name), text=text, kind="changed")
        else:
            yield Detail(label=option_of(name), text=f"{text}  (default {setting_text(default)})", kind="changed")


def _data_lines(manifest: Manifest | None, journal: _Journal) -> Iterator[Detail]:
    started = journal.started[-1] if journal.started else None
    if manifest is not None:
        if manifest.data and not manifest.config.demo and not manifest.script:
            yield _path("folder", Path(manifest.data))
        else:
            yield from _known(("data", manifest.data))
        yield from _known(("digest", manifest.data_digest))
    if started is not None:
        for label, images in (("training", started.train_images), ("validation", started.validation_images)):
            if images:
                counts = ", ".join(f"{name} {thousands(count)}" for name, count in images.items())
                yield Detail(label=label, text=f"{thousands(sum(images.values()))}: {counts}")
    if manifest is not None:
        if manifest.near_copies:
            photographs = sum(map(len, manifest.near_copies))
            groups = counted(len(manifest.near_copies), "group")
            yield Detail(
                label="near copies", text=f"{photographs} photographs in {groups}, each on one side of the split"
            )
        if manifest.skipped:
            text = f"{counted(len(manifest.skipped), 'file')} without a photograph, listed at the end"
            yield Detail(label="skipped", text=text, kind="warning")


def _checkpoint_lines(folder: RunFolder, journal: _Journal) -> Iterator[Detail]:
    for path in (folder.best_checkpoint, folder.last_checkpoint):
        saved = journal.saved.get(path.name)
        where = f"epoch {saved.epoch + 1}, step {saved.step}, " if saved else ""
        try:
            status = path.stat()
        except OSError:
            if saved:
                yield Detail(label=path.name, text=f"of epoch {saved.epoch + 1} is missing", kind="warning")
            continue
        yield _path(path.name, path.absolute(), f"  {where}{size_in_words(status.st_size)}, {_time(status.st_mtime)}")
    if is_file(calibration := folder.path / CALIBRATION):
        yield _path("calibration", calibration.absolute())


def _file_lines(folder: RunFolder) -> Iterator[Detail]:
    named = (("manifest", folder.manifest_path), ("journal", folder.journal_path), ("log", folder.log_path),
             ("photographs", folder.photographs_path))  # fmt: skip
    yield _path("run folder", folder.path.absolute(), f"  {_total(_entries(folder.path))}")
    for label, path in named:
        try:
            yield _path(label, path.absolute(), f"  {size_in_words(path.stat().st_size)}")
        except OSError:
            continue
    if not (entries := _entries(folder.visuals)):
        return
    yield _path("visuals", folder.visuals.absolute(), f"  {_total(entries)}")
    predictions = [entry for entry in entries if entry[0].endswith("_predictions.safetensors")]
    frames = [entry for entry in entries if entry[0].endswith(".safetensors") and entry not in predictions]
    pictures = [entry for entry in entries if entry[0].endswith(".png")]
    for label, some in (("frames", frames), ("predictions", predictions), ("pictures", pictures)):
        if some:
            yield Detail(label=label, text=_total(some))


def _entries(folder: Path) -> list[tuple[str, int]]:
    """The files of a folder with their sizes in bytes."""
    try:
        with os.scandir(folder) as found:
            return [(entry.name, entry.stat().st_size) for entry in found if entry.is_file(follow_symlinks=False)]
    except OSError:
        return []


def _total(entries: Sequence[tuple[str, int]]) -> str:
    size = sum(size for _, size in entries)
    return f"{counted(len(entries), 'file')}, {size_in_words(size)} ({thousands(size)} bytes)"


def _segment_lines(journal: _Journal) -> Iterator[Detail]:
    for number, event in enumerate(journal.started, 1):
        how = "resumed" if event.resumed else "started"
        text = (
            f"{_time(event.time)}  {how} at epoch {event.start_epoch + 1}, step {event.start_step + 1}, "
            f"on {event.device_text}, precision {event.precision}"
        )
        yield Detail(label=str(number), text=text)


def _log_lines(journal: _Journal) -> Iterator[Detail]:
    told: list[AnyEvent] = sorted([*journal.told, *journal.ended], key=lambda event: event.time)
    for event in told:
        match event:
            case Notice(level=level, text=text):
                yield Detail(label=_time(event.time), text=text, kind="" if level == "info" else level)
            case RequestDone(request=request, outcome=text, done=done):
                yield Detail(label=_time(event.time), text=f"{request}: {text}", kind="" if done else "warning")
            case RunFinished(status=status, error=error):
                text = f"{status}: {error}" if error else status
                yield Detail(label=_time(event.time), text=text, kind="error" if error else "")


def _skipped_lines(manifest: Manifest | None) -> Iterator[Detail]:
    for skipped in manifest.skipped if manifest else ():
        text = f"{one_line(skipped.file)}  {one_line(skipped.reason)}"
        yield Detail(text=text, copied=_pasted(f"{manifest.data}/{skipped.file}" if manifest else ""))
