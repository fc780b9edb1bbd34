"""``facegender-tui``: parses the arguments, probes the terminal and runs the application."""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from facegender.support.signals import defer_signals
from tui.host.shutdown import Shutdown, report_crash

if TYPE_CHECKING:
    from tui.app import FaceGenderApp
    from tui.settings import Settings, SettingsError

# Textual writes at the end of a frame: at 60 frames per second that is half of the latency of a key.
os.environ.setdefault("TEXTUAL_FPS", "120")

SWITCH_INTERVAL_S = 0.001


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one safe line, as those of ``facegender``."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong, and end with exit code 2."""
        from facegender.support.text import one_line

        self.exit(2, f"{self.prog}: error: {one_line(message)}\n")


def _path(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be empty: leave it out, or give a value")
    return Path(text)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line; a wrong one ends the program with one line and exit code 2."""
    from facegender import __version__
    from facegender.support.files import READ_ONLY_VARIABLE
    from tui.graphics.terminal import ENVIRONMENT_VARIABLE, PROTOCOL_NAMES, invalid_override

    parser = Parser(
        prog="facegender-tui",
        description="Train a face-gender CNN and look inside it while it learns. Leaving never stops a run.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "runs", nargs="*", metavar="RUN", help="the run to show (default: the newest), or several to compare"
    )
    parser.add_argument(
        "--root", type=_path, help="where checkpoints/ and visuals/ live (default: the setting root, or here)"
    )
    new_run = parser.add_mutually_exclusive_group()
    new_run.add_argument("--demo", action="store_true", help="start a run on faces drawn by the program")
    new_run.add_argument("--data", type=_path, metavar="DIR", help="open the form for a new run on this folder")
    parser.add_argument(
        "--read-only", action="store_true", help="change nothing: no run is started, stopped, renamed or deleted"
    )
    parser.add_argument("--graphics", choices=PROTOCOL_NAMES, help="how pictures reach the terminal")
    parser.add_argument("--doctor", action="store_true", help="say which pictures this terminal can show, and exit")
    parser.add_argument("--config-path", action="store_true", help="print the path of the settings file, and exit")
    parser.add_argument("--version", action="version", version=f"facegender-tui {__version__}")
    options = parser.parse_args(given)
    options.read_only |= bool(os.environ.get(READ_ONLY_VARIABLE))
    # The option overrides the variable: a wrong value there matters only without the option.
    if options.graphics in (None, "auto") and (value := invalid_override(os.environ)):
        known = ", ".join(PROTOCOL_NAMES)
        parser.error(f"variable {ENVIRONMENT_VARIABLE}: unknown value {value!r} (choose from {known})")
    return options


def main() -> None:
    """The console script ``facegender-tui``."""
    from facegender.support.machine import complete_streams

    # The first screen appears a tenth sooner; `FaceGenderApp` enables it again.
    gc.disable()
    complete_streams()
    with Shutdown() as shutdown:
        with defer_signals():
            options = arguments()
        if options.config_path:
            from tui.settings import settings_path

            # A path may have any bytes, and must reach a shell as it is.
            sys.stdout.buffer.write(os.fsencode(settings_path()) + b"\n")
            return
        if options.doctor:
            describe_terminal(options.graphics)
            return
        sys.exit(run(options, shutdown))


def _load_settings() -> tuple[Settings, SettingsError | None]:
    """Read the settings file; what is wrong in it has its default, and is returned as well."""
    from tui.configured_app import unknown_names
    from tui.settings import SettingsError, load_settings, settings_path

    try:
        return load_settings(settings_path(), unknown_names), None
    except SettingsError as error:
        return error.settings, error


def _requested_graphics(option: str | None) -> str | None:
    """Return the protocol that the command line or the environment chooses; None leaves it to the settings."""
    from tui.graphics.terminal import ENVIRONMENT_VARIABLE

    return option or ("auto" if os.environ.get(ENVIRONMENT_VARIABLE) else None)


def describe_terminal(graphics: str | None) -> None:
    """Probe the terminal and print which pictures it can show."""
    from tui.graphics.probe import Probe

    probe = Probe()
    probe.override = _requested_graphics(graphics) or _load_settings()[0].graphics
    terminal = probe.finish()
    delay = "" if terminal.round_trip_s is None else f", round trip {1000 * terminal.round_trip_s:.0f} ms"
    print(f"pictures  by {terminal.protocol.value}: {terminal.reason}")
    print(f"cells     {terminal.cells_and_colours}{delay}")
    if name := " in ".join(filter(None, (terminal.multiplexer, terminal.name))):
        print(f"terminal  {name}")
    if terminal.advice:
        print(f"better    {terminal.advice}")


def run(options: argparse.Namespace, shutdown: Shutdown) -> int:
    """Probe the terminal, run the application, restore the terminal and return the exit code."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("facegender-tui: needs a terminal; `facegender train` works without one", file=sys.stderr)
        return 2
    if not sys.stderr.isatty():
        # Textual writes to it, wherever it leads.
        os.dup2(sys.stdout.fileno(), sys.stderr.fileno())
    from facegender.support.files import READ_ONLY_VARIABLE
    from tui.graphics.probe import Probe

    if options.read_only:
        os.environ[READ_ONLY_VARIABLE] = "1"  # for the processes that classify
    graphics = _requested_graphics(options.graphics)
    with Probe() as probe:
        # The terminal replies while Textual is imported.
        with defer_signals():
            from facegender.runs.folder import open_run
            from facegender.support.errors import UserError
            from facegender.support.files import expanded, is_folder, require_utf8
            from facegender.support.text import one_line
            from tui.app import FaceGenderApp
            from tui.host.access import WriteAccess
            from tui.settings import settings_path

        settings, settings_error = _load_settings()
        probe.override = graphics or settings.graphics
        try:
            root_source = "--root" if options.root or not settings.root else f"root in {settings_path()}:"
            root = require_utf8(expanded(options.root or settings.root).absolute(), root_source)
            data = require_utf8(expanded(options.data).absolute(), "--data") if options.data else None
            if options.runs and (options.demo or options.data):
                raise UserError("a run to show and a new one (--demo, --data) exclude each other: give one of them")
            if options.read_only and (options.demo or options.data):
                raise UserError("a new run (--demo, --data) and --read-only exclude each other: give one of them")
            if not is_folder(root):
                raise UserError(f"{root_source} {root} is not a folder: create it, or name another one")
            if data and not is_folder(data):
                raise UserError(f"--data {data}: no such folder; name one that holds female/ and male/")
            runs = tuple(open_run(root, name) for name in dict.fromkeys(options.runs))
        except UserError as error:
            probe.finish()
            print(f"facegender-tui: {one_line(str(error))}", file=sys.stderr)
            return 2
        terminal = probe.finish()
    app = FaceGenderApp(
        root,
        terminal,
        run=next(iter(runs), None),
        compared=runs[1:] and runs,
        demo=options.demo,
        data=str(data) if data else None,
        access=WriteAccess(read_only=options.read_only),
        graphics=graphics,
        settings=settings,
        settings_error=settings_error,
    )
    return _run_app(app, shutdown)


def _run_app(app: FaceGenderApp, shutdown: Shutdown) -> int:
    """Run the application and return the exit code; an error of its own becomes one line."""
    import io
    import termios
    import traceback

    from rich.console import Console

    from tui.graphics.context import context_of

    trace = io.StringIO()
    show_traceback = bool(os.environ.get("FACEGENDER_TRACEBACK"))
    if not show_traceback:
        app.error_console = Console(file=trace, width=120, markup=False, highlight=False)
    # Threads read journals and compose pictures. With Python's 5 ms a key waits up to that long, several times, for a
    # thread to give up the interpreter.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    shutdown.request_exit = app.request_exit
    shutdown.cleanup_sequence = context_of(app).image_cleanup_sequence
    try:
        app.run()
    except Exception:  # the boundary of the process
        shutdown.restore_terminal()
        if show_traceback:
            raise
        traceback.print_exc(file=trace)
    finally:
        # The terminal may be gone.
        with contextlib.suppress(OSError, ValueError, termios.error):
            try:
                context_of(app).discard_pending_reports()
            finally:  # also after a second Ctrl-C
                sys.stderr.write(context_of(app).image_cleanup_sequence())
                sys.stderr.flush()
    if trace.getvalue() and shutdown.received is None:
        report_crash(trace.getvalue())
        return 1
    if hint := app.reattach_hint():
        with contextlib.suppress(OSError):  # the terminal may be gone; a failed flush would change the exit code
            os.write(sys.__stdout__.fileno(), f"{hint}\n".encode())  # type: ignore[union-attr]  # it is a terminal
    return app.return_code or 0


if __name__ == "__main__":
    main()
