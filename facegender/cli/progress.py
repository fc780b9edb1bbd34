"""A progress bar on standard error, where that is a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_bar(text: str, total: int, *, shown: bool = True) -> Iterator[Callable[[], None]]:
    """Show a bar that is gone when the block ends, below what is printed meanwhile.

    Args:
        text: What is being done, e.g. "classifying".
        total: Number of photographs.
        shown: False shows none.

    Yields:
        A function to call after each photograph.
    """
    if not (shown and sys.stderr.isatty()):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    redirect = sys.stdout.isatty()
    with Progress(*columns, console=console, transient=True, refresh_per_second=5, redirect_stdout=redirect) as bar:
        task = bar.add_task(text, total=total)
        yield lambda: bar.advance(task)
