"""Requests to the trainer of a run: files in ``checkpoints/<run>/requests/``, one JSON object each.

They work from any host that sees the folder. The trainer takes them at its next batch and answers each with a
`RequestDone` in the journal.
"""

from __future__ import annotations

import contextlib
import secrets
import time

import msgspec

from facegender.runs.folder import RunFolder
from facegender.support.errors import UserError
from facegender.support.files import is_folder, make_private_folder, read_regular, replacing
from facegender.support.text import printable


class StopRequest(msgspec.Struct, frozen=True, tag_field="type", tag="stop"):
    """Finish the batch, save and end."""


class FrameRequest(msgspec.Struct, frozen=True, tag_field="type", tag="frame"):
    """Record a frame of the current weights."""


Request = StopRequest | FrameRequest


def send_request(folder: RunFolder, request: Request) -> None:
    """Write a request, which appears whole.

    Raises:
        UserError: The run folder is gone or cannot be written.
    """
    if not is_folder(folder.path):  # making its subfolder would make it again
        raise UserError(f"run {folder.name}: cannot write the request (the run folder is gone)")
    try:
        with contextlib.suppress(FileExistsError):
            make_private_folder(folder.requests_path)
        with replacing(folder.requests_path / f"{time.time_ns()}-{secrets.token_hex(3)}.json") as temporary:
            temporary.write_bytes(msgspec.json.encode(request))
    except OSError as error:
        raise UserError(f"run {folder.name}: cannot write the request ({error.strerror})") from None


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
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            taken.append(f"{printable(path.name)} is no request that this version knows")
    return taken
