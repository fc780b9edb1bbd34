"""The user's own command at the end of a run (``--on-end``)."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess

from facegender.runs.events import Status
from facegender.runs.folder import RunFolder
from facegender.runs.summary import summarise
from facegender.support.errors import print_error
from facegender.support.text import one_line

LIMIT_S = 60.0
"""How long the command may take before it is ended."""


def facts_of(folder: RunFolder, status: Status, error: str) -> dict[str, str]:
    """Return environment variables that describe the run to the command; unknown facts are empty.

    Epochs are counted from 1, as people see them.
    """
    summary = summarise(folder)
    known = summary.best_epoch >= 0
    return {
        "FACEGENDER_RUN": folder.name,
        "FACEGENDER_STATUS": status,
        "FACEGENDER_ERROR": one_line(error),
        "FACEGENDER_FOLDER": str(folder.path.absolute()),
        "FACEGENDER_EPOCHS_DONE": str(summary.epochs_done),
        "FACEGENDER_EPOCHS": str(summary.epochs),
        "FACEGENDER_BEST_EPOCH": str(summary.best_epoch + 1) if known else "",
        "FACEGENDER_BEST_ACCURACY": f"{summary.best_accuracy:.4f}" if known else "",
        "FACEGENDER_VALIDATION_LOSS": "" if math.isnan(summary.validation_loss) else f"{summary.validation_loss:.4f}",
    }


def run_on_end(command: str, folder: RunFolder, status: Status, error: str = "", limit_s: float = LIMIT_S) -> None:
    """Have the shell run a command, and report if it fails or takes too long; the lock of the run is free by then.

    The facts of the run are in environment variables and never become part of the command. It writes to the standard
    output and error of the trainer.
    """
    try:
        process = subprocess.Popen(
            command,
            shell=True,
            env={**os.environ, **facts_of(folder, status, error)},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as problem:  # the second one: a zero byte
        print_error(f"run {folder.name}: --on-end cannot be started ({one_line(str(problem))})")
        return
    try:
        code = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        print_error(f"run {folder.name}: --on-end was ended after {limit_s:g} s: append & to run it in the background")
    else:
        if code:
            print_error(f"run {folder.name}: --on-end failed with exit code {code}: {one_line(command)}")
    finally:
        if process.poll() is None:  # also at a second Ctrl-C
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
