"""The exception that becomes one clear line for the user, and the function that prints it."""

import contextlib
import sys
from typing import TextIO

from facegender.support.text import one_line


def print_error(text: str, file: TextIO | None = None) -> None:
    """Print one safe line on stderr, or on another stream. A terminal that is gone is ignored."""
    # The newline is part of the text, because otherwise another thread's line could come between the two.
    with contextlib.suppress(OSError, ValueError):
        print(f"facegender: {one_line(text)}\n", end="", file=file or sys.stderr, flush=True)


class UserError(Exception):
    """Something the user can fix. Its message is one line: the thing, what happened, and the remedy."""
