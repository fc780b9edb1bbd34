"""A process that answers requests: one JSON object per line on its standard input, an answer for each on its output."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from facegender.support.errors import UserError
from facegender.support.text import one_line

R = TypeVar("R")
A = TypeVar("A")


def serve_lines(
    request_type: type[R],
    answer: Callable[[R], A],
    refuse: Callable[[str], A],
    requests: IO[bytes],
    answers: IO[bytes],
) -> None:
    """Answer requests line by line until they end.

    Args:
        refuse: Makes the answer to a line that is not a request, from what is wrong with it.
    """
    for line in filter(bytes.strip, requests):
        try:
            answered = answer(msgspec.json.decode(line, type=request_type))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            answered = refuse(f"not a request: {one_line(str(error))}")
        answers.write(msgspec.json.encode(answered) + b"\n")
        answers.flush()


def problem_of(error: Exception) -> str:
    """Say in one line why a request could not be answered."""
    if isinstance(error, UserError):
        return one_line(str(error))
    return one_line(getattr(error, "strerror", None) or f"{type(error).__name__}: {error}")


def run_server(program: str, serve: Callable[[Path, IO[bytes], IO[bytes]], None]) -> None:
    """Be the process. Whatever else is printed goes to the standard error, so that answers stay intact.

    Args:
        program: Its name in the help.
        serve: Is called with the ``--root``, the requests and the answers; returns when the requests end.
    """
    parser = argparse.ArgumentParser(prog=program, allow_abbrev=False)
    parser.add_argument("--root", type=Path, default=Path())
    root: Path = parser.parse_args().root
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        serve(root, sys.stdin.buffer, answers)
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(0)
