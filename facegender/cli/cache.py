"""What ``facegender cache`` and ``doctor`` say about the cached photographs, and ``facegender cache --clear``."""

from __future__ import annotations

import time

from facegender.data.cache import eviction
from facegender.data.cache.eviction import Entry
from facegender.support.cache_dir import CACHE_VARIABLE, cache_folder
from facegender.support.text import ago, counted, printable, size_in_words, table


def summary() -> str:
    """Say in one line how much the cache holds, and how much it may hold."""
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


def listing() -> list[str]:
    """List the sets, a line each, the most recently used first, and their total size."""
    found = eviction.entries()
    where = printable(cache_folder())
    if not found:
        return [f"no decoded photographs in {where}: a training run puts them there"]
    now = time.time()
    rows = [["photographs", "px", "size", "used", "from"], *(_row(entry, now) for entry in found)]
    return [*table(rows), f"{summary()}, in {where}; ${CACHE_VARIABLE} names another folder"]


def _row(entry: Entry, now: float) -> list[str]:
    size, used = size_in_words(entry.size_bytes), ago(now - entry.used)
    photos = entry.photos
    if photos is None:
        return ["?" if entry.finished else "unfinished", "", size, used, "another version, or damaged"]
    count = str(len(photos.decoded_rows))
    if not entry.finished:
        count += f" of {photos.count}" + (", being decoded" if entry.busy else "")
    return [count, str(photos.side), size, used, photos.source]


def clear_sets() -> tuple[list[str], list[str]]:
    """Remove the sets.

    Returns:
        Lines about what was removed, and lines about what could not be removed.
    """
    removed, problems = eviction.clear()
    lines = [f"removed {counted(len(removed), 'set')}, {size_in_words(sum(entry.size_bytes for entry in removed))}"]
    if removed:
        lines.append("a run that uses one of them keeps it until it ends; only then its room on the disk is free")
    if busy := sum(entry.busy for entry in eviction.entries()):
        lines.append(f"left {counted(busy, 'set')} that a run is decoding at this moment")
    return lines, [printable(problem) for problem in problems]
