"""What ``facegender cache`` and ``doctor`` say of the sets of decoded photographs, and ``facegender cache --clear``."""

from __future__ import annotations

import time

from facegender.data.cache import eviction
from facegender.data.cache.eviction import Entry
from facegender.support.cache_dir import CACHE_VARIABLE, cache_folder
from facegender.support.text import ago, counted, printable, size_in_words, table


def account() -> str:
    """How much there is of how much there may be, in one line."""
    found = eviction.entries()
    finished = [entry for entry in found if entry.finished]
    text = f"{counted(len(finished), 'set')}, {size_in_words(sum(entry.size_bytes for entry in finished))}"
    if unfinished := [entry for entry in found if not entry.finished]:
        size = size_in_words(sum(entry.size_bytes for entry in unfinished))
        building = sum(entry.busy for entry in unfinished)
        text += f", and {len(unfinished)} unfinished, {size}" + (f" ({building} being built)" if building else "")
    try:
        return f"{text}; at most {size_in_words(eviction.share())}"
    except OSError as error:
        return f"{text}; {error.strerror}"


def listing(now: float | None = None) -> list[str]:
    """The sets, a line each, those first that were used last, and what they take in all.

    Args:
        now: In seconds since 1970.
    """
    found = eviction.entries()
    where = printable(cache_folder())
    if not found:
        return [f"no decoded photographs in {where}: a run keeps them there"]
    now = time.time() if now is None else now
    rows = [["photographs", "px", "size", "used", "from"], *(_row(entry, now) for entry in found)]
    return [*table(rows), f"{account()}, in {where}; ${CACHE_VARIABLE} names another folder"]


def _row(entry: Entry, now: float) -> list[str]:
    size, used = size_in_words(entry.size_bytes), ago(now - entry.used)
    description = entry.description
    if description is None:
        return ["unfinished" if not entry.finished else "?", "", size, used, "another version, or damaged"]
    count = str(entry.done)
    if not entry.finished:
        count = f"{entry.done} of {len(description.kept)}" + (", being built" if entry.busy else "")
    return [count, str(description.side), size, used, printable(description.source)]


def cleared() -> tuple[list[str], list[str]]:
    """Remove the sets: what was done, and what could not be done."""
    result = eviction.clear()
    lines = [f"removed {counted(result.count, 'set')}, {size_in_words(result.freed_bytes)}"]
    if result.count:
        lines.append("a run that uses one of them keeps it until it ends, and the disk is free only then")
    if result.building:
        lines.append(f"left {counted(result.building, 'set')} that a run is building at this moment")
    return lines, [printable(problem) for problem in result.problems]
