"""``facegender runs`` and ``stop``."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from facegender.cli.options import Json, Root, not_empty
from facegender.runs.folder import LIVE_STATES, RunFolder, list_runs, open_run
from facegender.runs.summary import summarise
from facegender.support.errors import UserError, print_error
from facegender.support.text import age_in_words, json_line, printable, shell_command, table

POLL_S = 0.2


def runs(json: Json = False, root: Root = Path()) -> None:
    """List the runs, newest first."""
    rows = [_row(run) for run in list_runs(root)]
    if json:
        for row in rows:
            print(json_line(row))
    elif rows:
        print("\n".join(table([["run", "state", "epochs", "best", "at epoch", "age", "data"], *map(_cells, rows)])))
    else:
        print(f"no runs yet; start one with: {shell_command(root, 'train', '--demo')}")


def _row(run: RunFolder) -> dict[str, Any]:
    """What is known of a run, as one JSON object."""
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


def _cells(row: dict[str, Any]) -> list[str]:
    """A row as the cells of the table; epochs are counted from 1 there."""
    accuracy, epoch, age_s = row["best_validation_accuracy"], row["best_epoch"], row["age_s"]
    return [
        row["run"],
        row["state"],
        f"{row['epochs_done']}/{row['epochs']}",
        "" if accuracy is None else f"{accuracy:.3f}",
        "" if epoch is None else str(epoch + 1),
        "" if age_s is None else age_in_words(age_s),
        "demo faces" if row["demo"] else printable(row["data"]),
    ]


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
