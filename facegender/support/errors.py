"""The one exception that becomes one clear line for the person at the keyboard."""

import contextlib
import sys

from facegender.support.text import one_line


def print_error(text: str) -> None:
    """Print one safe line on stderr; a terminal that is gone is no error."""
    with contextlib.suppress(OSError, ValueError):
        print(f"facegender: {one_line(text)}", file=sys.stderr, flush=True)


class UserError(Exception):
    """Something the user can mend; its message names the thing and the remedy, without a trailing traceback."""
