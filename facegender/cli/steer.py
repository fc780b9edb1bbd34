"""``facegender set``, ``checkpoint`` and ``frame``: requests to the trainer of a live run."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from facegender.cli.options import Json, Root, not_empty
from facegender.runs.config import parse
from facegender.runs.events import RequestDone
from facegender.runs.folder import LIVE_STATES, RunFolder, State, open_run
from facegender.runs.journal import read_tail
from facegender.runs.requests import CheckpointRequest, FrameRequest, Request, SetRequest, send_request
from facegender.support.errors import UserError, print_error
from facegender.support.text import json_line, shell_command

POLL_S = 0.2

Run = Annotated[str, typer.Argument(metavar="RUN", parser=not_empty, help="A run that is training.")]
Wait = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", min=0, help="Wait up to this long for the trainer's answer.")
]


def set(
    run: Run,
    setting: Annotated[
        Literal["learning-rate", "epochs"],
        typer.Argument(
            metavar="SETTING",
            help="learning-rate: of the next step; the schedule continues from it. epochs: planned in total.",
        ),
    ],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="Its new value.")],
    wait: Wait = 30,
    json: Json = False,
    root: Root = Path(),
) -> None:
    """Change a live run: the trainer takes it after its next batch, and a resumed run keeps it.

    Later rates of the schedule change in proportion; one over the whole run, as of the tuned recipe, is stretched.
    """
    name = setting.replace("-", "_")
    try:
        request = SetRequest(**{name: parse(name, value)})
    except UserError as error:
        raise UserError(f"{setting} {error}") from None
    folder = open_run(root, run)
    _ask(folder, request, wait, json, *([f"--epochs={request.epochs}"] if request.epochs else []))


def checkpoint(run: Run, wait: Wait = 30, json: Json = False, root: Root = Path()) -> None:
    """Save last.ckpt of a live run after its next batch; of a run of somebody's own script, requested.ckpt."""
    _ask(open_run(root, run), CheckpointRequest(), wait, json)


def frame(run: Run, wait: Wait = 30, json: Json = False, root: Root = Path()) -> None:
    """Record the feature maps and filters of a live run after its next batch."""
    _ask(open_run(root, run), FrameRequest(), wait, json)


def _ask(folder: RunFolder, request: Request, wait_s: float, json: bool, *options: str) -> None:
    """Send a request, and print the answer that arrives in time.

    Args:
        options: Options of ``facegender train`` that have the same effect when the run is resumed.
    """
    if not math.isfinite(wait_s):
        raise UserError("--wait must be a number of seconds")
    if (state := folder.state()) not in LIVE_STATES:
        remedy = _remedy(folder, state, options)
        raise UserError(f"run {folder.name} has {state}, and takes requests only while it trains: {remedy}")
    sent = send_request(folder, request)
    answer = _answer(folder, sent, wait_s)
    has_ended = answer is None and (state := folder.state()) not in LIVE_STATES
    if json:
        fields = ("done", "outcome", "epoch", "step", "learning_rate", "epochs")
        known = {name: None if answer is None else getattr(answer, name) for name in fields}
        print(json_line({"run": folder.name, "request": str(request.__struct_config__.tag), **known}))
    elif has_ended:
        print_error(f"run {folder.name} has {state} before it took the request: {_remedy(folder, state, options)}")
    elif answer is None:
        print(f"run {folder.name}: no answer within {wait_s:g} s; the request waits, and its answer will be in the log")
    elif answer.done:
        print(f"run {folder.name}: {answer.outcome}")
    else:
        print_error(f"run {folder.name}: {answer.outcome}")
    if has_ended or (answer is not None and not answer.done):
        raise typer.Exit(1)


def _remedy(folder: RunFolder, state: State, options: tuple[str, ...]) -> str:
    """Return how a run that has ended can train again."""
    manifest = folder.read_manifest()
    if manifest is not None and manifest.script:
        return "start its script again"
    if state == "completed" and manifest is not None and not options:  # it resumes only with more epochs
        options = (f"--epochs={2 * manifest.config.epochs}",)
    return f"resume it with: {shell_command(folder.root, 'train', f'--resume={folder.name}', *options)}"


def _answer(folder: RunFolder, id: str, wait_s: float) -> RequestDone | None:
    deadline = time.monotonic() + wait_s
    while True:
        is_last = time.monotonic() >= deadline or folder.state() not in LIVE_STATES
        for event in read_tail(folder.journal_path):
            if isinstance(event, RequestDone) and event.id == id:
                return event
        if is_last:
            return None
        time.sleep(POLL_S)
