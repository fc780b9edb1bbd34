"""``facegender runs``, ``note``, ``compare`` and ``stop``."""

from __future__ import annotations

import math
import os
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from facegender.cli.options import Json, Root, not_empty
from facegender.runs.comparison import differences, seed_groups, setting_text
from facegender.runs.folder import LIVE_STATES, RunFolder, list_runs, open_run
from facegender.runs.run_filter import HELP as FILTER_HELP
from facegender.runs.run_filter import parse_filter
from facegender.runs.run_table import COLUMNS, find_column, fit_cell, fit_columns, natural_widths, sort_runs
from facegender.runs.summary import RunSummary, summarise
from facegender.support.errors import UserError, print_error
from facegender.support.text import UNKNOWN, counted, figure, json_line, one_line, printable_strings, shell_command

POLL_S = 0.2


def runs(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            parser=not_empty,
            show_default=False,
            help="Show everything about this run instead: settings, figures, files, commands.",
        ),
    ] = None,
    sort: Annotated[
        str,
        typer.Option("--sort", metavar="COLUMN", help="Sort by a column of the table; -COLUMN: the highest first."),
    ] = "",
    filter: Annotated[str, typer.Option("--filter", metavar="EXPRESSION", help=FILTER_HELP)] = "",
    json: Json = False,
    root: Root = Path(),
) -> None:
    """List the runs, newest first, or show everything about one."""
    if run is not None:
        if sort or filter:
            raise UserError("--sort and --filter are for the list of runs: leave them out, or leave out RUN")
        _show_details(open_run(root, run), json=json)
        return
    chosen, column = parse_filter(filter), find_column(sort.removeprefix("-")) if sort else None
    now = time.time()
    found = [summarise(run) for run in list_runs(root)]
    summaries = chosen.select(found, now)
    if column:
        summaries = sort_runs(summaries, column, now, descending=sort.startswith("-"))
    if json:
        for summary in summaries:
            print(json_line(_row(summary, now)))
    elif summaries:
        print("\n".join(_table([printable_strings(summary) for summary in summaries], now)))
    elif found:
        print(f"none of the {counted(len(found), 'run')} matches the filter")
    else:
        print(f"no runs yet; start one with: {shell_command(root, 'train', '--demo')}")


def _show_details(folder: RunFolder, *, json: bool) -> None:
    from facegender.runs.details import read_details

    details = read_details(folder)
    print(json_line(details) if json else "\n\n".join(section.as_text() for section in details.sections))


def _row(run: RunSummary, now: float) -> dict[str, Any]:
    """What is known of a run, as one JSON object; what is not known is null."""
    return {
        "run": run.run,
        "state": run.state,
        "epochs_done": run.epochs_done,
        "epochs": run.epochs,
        "best_validation_accuracy": run.best_accuracy,
        "best_epoch": run.best_epoch if run.best_epoch >= 0 else None,
        "validation_loss": run.validation_loss,
        "lowest_validation_loss": run.lowest_loss,
        "train_loss": run.train_loss,
        "network": run.network or None,
        "recipe": run.recipe or None,
        "learning_rate": run.learning_rate,
        "batch_size": run.batch_size or None,
        "image_size": run.image_size or None,
        "seed": run.seed if run.seed >= 0 else None,
        "duration_s": run.duration_s,
        "age_s": round(max(0.0, now - run.created)) if run.created else None,
        "demo": run.demo,
        "data": run.data,
        "note": run.note,
    }


def _table(summaries: Sequence[RunSummary], now: float) -> list[str]:
    """The lines of the table; all of it where the output is no terminal."""
    cells = {name: [column.cell(run, now) for run in summaries] for name, column in COLUMNS.items()}
    widths = fit_columns(natural_widths(cells), _line_width())
    columns = [
        [fit_cell(name, text, width) for text in (COLUMNS[name].header, *cells[name])] for name, width in widths.items()
    ]
    return ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]


def _line_width() -> int:
    """Width of the terminal, or of what ``COLUMNS`` says; for files and pipes as much as is needed."""
    is_narrow = "COLUMNS" in os.environ or sys.stdout.isatty()
    return shutil.get_terminal_size().columns if is_narrow else sys.maxsize


def note(
    run: Annotated[str, typer.Argument(metavar="RUN", parser=not_empty, help="The run to write about.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="One line; an empty text removes the note.")],
    root: Root = Path(),
) -> None:
    """Write a note about a run, which the list of runs shows."""
    open_run(root, run).write_note(text)


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", parser=not_empty, help="Two or more runs.")],
    json: Json = False,
    root: Root = Path(),
) -> None:
    """Show what differs between the configurations of runs, and their best figures side by side."""
    names = list(dict.fromkeys(runs))
    if len(names) < 2:
        raise UserError(f"compare needs two different runs or more; list them with: {shell_command(root, 'runs')}")
    folders = [open_run(root, name) for name in names]
    manifests = [folder.read_manifest() for folder in folders]
    summaries = [printable_strings(summarise(folder)) for folder in folders]
    different, now = differences(manifests), time.time()
    groups = [[summaries[index] for index in group] for group in seed_groups(manifests) if len(group) > 1]
    if json:
        whole = {
            "runs": [_row(summary, now) for summary in summaries],
            "differences": {row.name: row.values for row in different},
            "seed_groups": [[summary.run for summary in group] for group in groups],
        }
        print(json_line(whole))
        return
    figures = [[COLUMNS[name].header, *(COLUMNS[name].cell(run, now) for run in summaries)] for name in _COMPARED]
    settings = [[row.label, *map(setting_text, row.values)] for row in different if row.name not in _COMPARED]
    lines = [["run", *names], *(row for row in figures if any(row[1:])), *settings]
    print("\n".join(_side_by_side([[one_line(text) or UNKNOWN for text in line] for line in lines])))
    if not different:
        print("their configurations are the same")
    for group in groups:
        print(f"only the seed differs: {', '.join(run.run for run in group)}")
        best = [run.best_accuracy for run in group if run.best_epoch >= 0]
        if len(best) > 1:
            print(
                f"best accuracy {figure(statistics.mean(best))} ± {figure(statistics.stdev(best))} (standard deviation)"
            )


_COMPARED = ("state", "epochs", "best", "at", "lowest", "loss", "train", "duration", "note")


def _side_by_side(lines: Sequence[Sequence[str]]) -> list[str]:
    """Align a label and one text for each run; runs that do not fit beside the others follow below them."""
    from rich.cells import cell_len

    room = _line_width()
    labels, *columns = zip(*lines, strict=True)
    first = max(map(len, labels))
    widths = [min(max(map(cell_len, column)), max(12, room - first - 2)) for column in columns]
    out: list[str] = []
    while columns:
        count = 1
        while count < len(columns) and first + sum(widths[: count + 1]) + 2 * (count + 1) <= room:
            count += 1
        for label, *texts in zip(labels, *columns[:count], strict=True):
            cells = [fit_cell("", text, width) for text, width in zip(texts, widths, strict=False)]
            out.append("  ".join([label.ljust(first), *cells]).rstrip())
        out.append("")
        columns, widths = columns[count:], widths[count:]
    return out


def stop(
    run: Annotated[str, typer.Argument(metavar="RUN", parser=not_empty, help="The run to stop.")],
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, help="Wait up to this long until the run has ended.")
    ] = 0,
    root: Root = Path(),
) -> None:
    """Ask a run to finish its batch, save a checkpoint and end."""
    if not math.isfinite(wait):
        raise UserError("--wait must be a number of seconds")
    folder = open_run(root, run)
    state = folder.state()
    if state not in LIVE_STATES:
        print(f"run {run} has {state}: there is nothing to stop")
        return
    folder.request_stop()
    manifest = folder.read_manifest()
    if manifest is not None and manifest.script:
        print(f"run {run}: stop requested; its script ends the training after this batch")
    else:
        print(f"run {run}: stop requested; it finishes its batch, saves last.ckpt and ends")
        print(f"resume with: {shell_command(root, 'train', '--resume', run)}")
    deadline = time.monotonic() + wait
    while wait and (state := folder.state()) in LIVE_STATES:
        if time.monotonic() > deadline:
            print_error(f"run {run} has not ended within {wait:g} s; it ends after its batch")
            raise typer.Exit(1)
        time.sleep(POLL_S)
    if wait:
        print(f"run {run} has {state}")
