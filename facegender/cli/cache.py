"""``facegender cache``, and what ``facegender doctor`` says about the cache."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from facegender.support.cache_dir import CACHE_VARIABLE, cache_folder
from facegender.support.errors import print_error
from facegender.support.text import ago, counted, printable, size_in_words, table

if TYPE_CHECKING:
    from facegender.data.cache.eviction import Entry


def cache(
    clear: Annotated[
        bool, typer.Option("--clear", metavar="", help="Remove them; the next run decodes its photographs again.")
    ] = False,
) -> None:
    """List the decoded photographs that runs have kept, or remove them."""
    if clear:
        _clear()
    else:
        _list()


def _list() -> None:
    """Print the sets, a line each, the most recently used first, and their total size."""
    from facegender.data.cache import eviction

    found = eviction.entries()
    where = printable(cache_folder())
    if not found:
        print(f"no decoded photographs in {where}: a training run puts them there")
        return
    now = time.time()
    rows = [["photographs", "px", "size", "used", "from"], *(_row(entry, now) for entry in found)]
    print("\n".join(table(rows)))
    print(f"{summary()}, in {where}; ${CACHE_VARIABLE} names another folder")


def _row(entry: Entry, now: float) -> list[str]:
    size, used = size_in_words(entry.size_bytes), ago(now - entry.used)
    photos = entry.photos
    if photos is None:
        return ["?" if entry.finished else "unfinished", "", size, used, "another version, or damaged"]
    count = str(len(photos.decoded_rows))
    if not entry.finished:
        count += f" of {photos.count}" + (", being decoded" if entry.busy else "")
    return [count, str(photos.side), size, used, photos.source]


def _clear() -> None:
    """Remove the sets and print what was removed; what could not be removed goes to stderr."""
    from facegender.data.cache import eviction

    removed, problems = eviction.clear()
    print(f"removed {counted(len(removed), 'set')}, {size_in_words(sum(entry.size_bytes for entry in removed))}")
    if removed:
        print("a run that uses one of them keeps it until it ends; only then is its disk space free")
    if busy := sum(entry.busy for entry in eviction.entries()):
        print(f"left {counted(busy, 'set')} that a run is decoding at this moment")
    for problem in problems:
        print_error(problem)
    if problems:
        raise typer.Exit(1)


def summary() -> str:
    """Say in one line how much the cache holds, and how much it may hold."""
    from facegender.data.cache import eviction

    found = eviction.entries()
    finished = [entry for entry in found if entry.finished]
    text = f"{counted(len(finished), 'set')}, {size_in_words(sum(entry.size_bytes for entry in finished))}"
    if unfinished := [entry for entry in found if not entry.finished]:
        size = size_in_words(sum(entry.size_bytes for entry in unfinished))
        busy = sum(entry.busy for entry in unfinished)
        text += f", and {len(unfinished)} unfinished, {size}" + (f" ({busy} being decoded)" if busy else "")
    try:
        allowed = eviction.allowed_bytes(sum(entry.size_bytes for entry in found))
        return f"{text}; at most {size_in_words(allowed)}"
    except OSError as error:
        return f"{text}; {error.strerror}"
