"""Requests to the trainer of a run: files in ``checkpoints/<run>/requests/``, one JSON object each.

They work from any host that sees the folder. The trainer takes them at its next batch and answers each with a
`RequestDone` in the journal.
"""

from __future__ import annotations

import contextlib
import os
import time

import msgspec

from facegender.runs.config import FIELDS
from facegender.runs.folder import RunFolder
from facegender.support.errors import UserError
from facegender.support.files import is_folder, make_private_folder, read_regular, replacing
from facegender.support.text import printable


class BaseRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """What all requests have.

    Attributes:
        id: Repeated in the `RequestDone` that answers it; `send_request` makes it up.
    """

    id: str = ""


class StopRequest(BaseRequest, frozen=True, tag="stop"):
    """Finish the batch, save and end."""


class FrameRequest(BaseRequest, frozen=True, tag="frame"):
    """Record a frame of the current weights."""


class CheckpointRequest(BaseRequest, frozen=True, tag="checkpoint"):
    """Save ``last.ckpt`` now."""


class SetRequest(BaseRequest, frozen=True, kw_only=True, tag="set"):
    """Change how the run is trained from now on, also after it is resumed.

    Attributes:
        learning_rate: The learning rate of the next step. The schedule multiplies it by the same factors as before, so
            that later rates are changed in proportion.
        epochs: Epochs planned in total; a schedule over the whole run is stretched to them.
    """

    learning_rate: float | None = None
    epochs: int | None = None

    def problem(self) -> str:
        """What is wrong with the values, as a clause; empty if nothing is."""
        given = {name: value for name in STEERABLE if (value := getattr(self, name)) is not None}
        if not given:
            return f"set needs {' or '.join(STEERABLE)}"
        problems = ((name, FIELDS[name].check(value)) for name, value in given.items())
        return next((f"{name.replace('_', ' ')} {problem}" for name, problem in problems if problem), "")


TrainerRequest = FrameRequest | CheckpointRequest | SetRequest
"""What the training thread carries out between two batches."""

Request = StopRequest | TrainerRequest

STEERABLE = ("learning_rate", "epochs")
"""Fields of `TrainConfig` that a `SetRequest` can change."""


def send_request(folder: RunFolder, request: Request) -> str:
    """Write a request, which appears whole.

    Returns:
        The ``id`` of its answer.

    Raises:
        UserError: The run folder is gone or cannot be written, or the values of the request are out of bounds.
    """
    if isinstance(request, SetRequest) and (problem := request.problem()):
        raise UserError(f"run {folder.name}: {problem}")
    request = msgspec.structs.replace(request, id=f"{time.time_ns()}-{os.urandom(3).hex()}")
    if not is_folder(folder.path):  # making its subfolder would make it again
        raise UserError(f"run {folder.name}: cannot write the request (the run folder is gone)")
    try:
        with contextlib.suppress(FileExistsError):
            make_private_folder(folder.requests_path)
        with replacing(folder.requests_path / f"{request.id}.json") as temporary:
            temporary.write_bytes(msgspec.json.encode(request))
    except OSError as error:
        raise UserError(f"run {folder.name}: cannot write the request ({error.strerror})") from None
    return request.id


def take_requests(folder: RunFolder) -> list[Request | str]:
    """Remove the requests that wait, and return them in the order in which they were written.

    Returns:
        Each request, or a clause, safe to print, that says why one cannot be read.
    """
    taken: list[Request | str] = []
    try:
        paths = sorted(folder.requests_path.glob("[!.]*.json"))
    except OSError:
        return []
    for path in paths:
        try:
            data = read_regular(path)
            path.unlink()
        except OSError:  # somebody else took it, or the disk does not respond: it is found again
            continue
        try:
            taken.append(msgspec.json.decode(data, type=Request))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            why = f" ({printable(str(error))})" if isinstance(error, msgspec.ValidationError) else ""
            taken.append(f"{printable(path.name)} is no request that this version knows{why}")
    return taken
