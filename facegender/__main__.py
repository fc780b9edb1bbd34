"""The console script ``facegender``, also ``python -m facegender``: every error becomes one line and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from facegender.support.signals import defer_signals

_EXPECTED = {
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "float_parsing": "a number",
    "greater_than_equal": "at least {ge:g}",
    "less_than_equal": "at most {le:g}",
}
"""What a value of the command line must be, by the type of pydantic's error: Typer validates with pydantic."""


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name.

    Returns:
        The exit code: 0 done, 1 failed, 2 bad input, 130 interrupted.
    """
    with defer_signals():
        from typer.exceptions import Abort, TyperException

        from facegender.cli.app import app
        from facegender.support.errors import UserError, print_error

    try:
        code = app(list(arguments), standalone_mode=False, prog_name="facegender")
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except UserError as error:
        print_error(str(error))
        return 2
    except TyperException as error:
        if message := error.format_message():
            for problem in getattr(error.__cause__, "errors", list)():
                message = message.replace(problem["msg"], _in_words(problem))
            # Errors about arguments know their command.
            command = getattr(getattr(error, "ctx", None), "command_path", "facegender")
            print_error(f"{message.rstrip('.')}; see `{command} --help`")
        return 2
    except (Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # The reader of our output is gone; Python would report it once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except Exception as error:  # the boundary of the process
        if os.environ.get("FACEGENDER_TRACEBACK"):
            raise
        print_error(f"{type(error).__name__}: {error} (set FACEGENDER_TRACEBACK=1 to see where)")
        return 1


def _in_words(problem: dict[str, Any]) -> str:
    """Say what is wrong with a value, as all other errors of the program do.

    Args:
        problem: One of ``pydantic.ValidationError.errors()``.
    """
    from facegender.support.fields import shortened

    if expected := _EXPECTED.get(problem["type"]):
        return f"must be {expected.format(**problem.get('ctx', {}))}, not {shortened(str(problem['input']))}"
    return str(problem.get("ctx", {}).get("error", problem["msg"]))


def main() -> None:
    """Run the command of the command line and exit."""
    try:
        from facegender.support.machine import complete_streams, let_waiting_threads_sleep

        complete_streams()
        let_waiting_threads_sleep()
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while the first modules are imported
        code = 130
    # Torch takes a second to tear down; a signal in that time has nothing left to stop.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


if __name__ == "__main__":
    main()
