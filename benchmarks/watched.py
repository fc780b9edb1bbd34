"""The interface, watched from within: how long its thread was blocked, for every moment.

``python -m benchmarks.watched FILE ARGUMENTS`` runs ``facegender-tui`` and leaves a line of two numbers in the file for
every look: when it was, by the monotonic clock, and how many milliseconds the event loop took to answer.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from pathlib import Path
from typing import IO

from tui.__main__ import main  # before the application, as in the program

import tui.app  # isort: skip

EVERY_S = 0.002


class WatchedApp(tui.app.FaceGenderApp):
    """Has its event loop looked at from another thread."""

    def on_ready(self) -> None:
        """Begin to look."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=_watch, args=(loop, REPORT), daemon=True).start()


def _watch(loop: asyncio.AbstractEventLoop, report: IO[str]) -> None:
    answered = threading.Event()
    while True:
        answered.clear()
        asked = time.monotonic()
        loop.call_soon_threadsafe(answered.set)
        answered.wait()
        report.write(f"{asked} {(time.monotonic() - asked) * 1000:.2f}\n")
        time.sleep(EVERY_S)


if __name__ == "__main__":
    REPORT = Path(sys.argv.pop(1)).open("w", buffering=1)  # noqa: SIM115 - written to until the process ends
    tui.app.FaceGenderApp = WatchedApp  # type: ignore[misc]  # the class that `main` makes
    main()
