"""Progress on standard error: a bar where that is a terminal, else a sentence every few seconds."""

from __future__ import annotations

import contextlib
import io
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from facegender.support.errors import print_error
from facegender.support.progress import progress_in_sentences

if TYPE_CHECKING:
    from rich.console import Console

PRINT_EVERY_S = 0.1


@contextlib.contextmanager
def progress_bar(text: str, total: int, *, shown: bool = True) -> Iterator[Callable[[], None]]:
    """Show a bar, below what is printed meanwhile, that disappears with the block; without a terminal print sentences.

    Args:
        text: What is being done, e.g. "classifying".
        total: Number of photographs.
        shown: False shows none.

    Yields:
        A function to call after each photograph.
    """
    if not shown:
        yield lambda: None
        return
    if not sys.stderr.isatty():
        report, done = progress_in_sentences(print_error), itertools.count(1)
        report(text, 0, total)
        yield lambda: report(text, next(done), total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, refresh_per_second=5, redirect_stdout=False)
    # Drawing the bar anew below every line would take longer than classifying.
    printed = _Printed(console)
    redirected = contextlib.redirect_stdout(printed) if sys.stdout.isatty() else contextlib.nullcontext()
    with bar, redirected:
        task = bar.add_task(text, total=total)

        def advance() -> None:
            bar.advance(task)
            printed.flush_sometimes()

        try:
            yield advance
        finally:
            printed.flush()


class _Printed(io.StringIO):
    """Standard output while a bar is shown on the same terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._flushed_at = 0.0

    def flush_sometimes(self) -> None:
        """Print what is waiting, a few times a second."""
        if time.monotonic() - self._flushed_at > PRINT_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Print what is waiting, above the bar."""
        if text := self.getvalue():
            self.seek(0)
            self.truncate()
            self._console.print(text, end="")
        self._flushed_at = time.monotonic()
