"""The console script ``facegender`` and ``python -m facegender``: every mistake becomes one line and an exit code."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Lets Ctrl-C wait until the end of a block; msgspec (0.22) crashes where it raises while a type is built.

    Does nothing where it does nothing, in other threads and where it is ignored.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name.

    Returns:
        The exit code: 0 done, 1 failed, 2 bad input, 130 interrupted.
    """
    with _interrupts_held_back():
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
            # Those about arguments know whose they are.
            command = getattr(getattr(error, "ctx", None), "command_path", "facegender")
            print_error(f"{message.rstrip('.')}; see `{command} --help`")
        return 2
    except (Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; Python would print_error once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except Exception as error:  # the boundary of the process
        if os.environ.get("FACEGENDER_TRACEBACK"):
            raise
        print_error(f"{type(error).__name__}: {error} (set FACEGENDER_TRACEBACK=1 to see where)")
        return 1


def main() -> None:
    """Run the command of the command line and exit."""
    try:
        from facegender.support.machine import complete_streams

        complete_streams()
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while the first modules are imported
        code = 130
    # Taking down what torch has built takes a second, in which there is nothing left to stop.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


if __name__ == "__main__":
    main()
