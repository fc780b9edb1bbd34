"""One line on stderr for the person at the keyboard, if there still is one."""

from __future__ import annotations

import contextlib
import sys

from facegender.runs.text import one_line


def complain(text: str) -> None:
    """Print one safe line on stderr; a terminal that is gone is no error."""
    with contextlib.suppress(OSError, ValueError):
        print(f"facegender: {one_line(text)}", file=sys.stderr, flush=True)
