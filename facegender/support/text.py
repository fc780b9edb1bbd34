"""Text from files, names and the network, made safe for a terminal."""

from __future__ import annotations

import math
import os
import shlex
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

UNKNOWN = "-"
"""Stands for a value that is not known, or that was not measured."""


def printable(text: str | Path) -> str:
    """Replace every character that could control a terminal or reorder a line by U+FFFD.

    These are C0 and C1 controls, delete, bidirectional and other format characters, line separators, private use
    characters, and lone surrogates, which stand for bytes of a file name that are not valid UTF-8. Emoji joiners stay.
    """
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    unsafe = ("Cc", "Cf", "Cs", "Zl", "Zp", "Co")
    return "".join("\ufffd" if unicodedata.category(c) in unsafe and c != "\u200d" else c for c in text)


def one_line(text: str) -> str:
    """Make a text one safe line: runs of white space become one space, the rest goes through `printable`."""
    return printable(" ".join(text.split()))


def printable_strings(value: T) -> T:
    """Return a copy of a value in which every string went through `one_line`.

    Data that somebody else may have written goes through this where it is read, so that whoever shows a field need not
    think of it. Covers structs, lists, tuples and dictionaries, their keys included. Everything else stays as it is,
    e.g. a `Path` that is still to be opened.
    """
    copy: Any = value
    if isinstance(value, str):
        copy = one_line(value)
    elif isinstance(value, dict):
        copy = {one_line(key): printable_strings(item) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        copy = type(value)(map(printable_strings, value))
    elif isinstance(value, msgspec.Struct):
        fields = {name: printable_strings(getattr(value, name)) for name in value.__struct_fields__}
        copy = msgspec.structs.replace(value, **fields)
    return copy  # type: ignore[no-any-return]  # the same type, which cannot be expressed


def json_line(value: Any) -> str:
    """Encode a value of plain types or msgspec structs as one line of JSON.

    Only printable ASCII is left unescaped, so that no terminal obeys the line and lone surrogates can be printed. NaN
    and infinity, which JSON lacks, become null.
    """
    import json  # not by msgspec, which would leave characters unescaped that are not ASCII

    text = json.dumps(msgspec.to_builtins(value))
    return json.dumps(json.loads(text, parse_constant=lambda _: None))


def shell_command(root: Path, *arguments: str, program: str = "facegender") -> str:
    """A command line to paste into a shell, with ``--root`` unless it is the current folder.

    Args:
        root: The folder that has the runs.
    """
    options = [] if root == Path() else [f"--root={root}"]
    return " ".join(map(shell_word, [program, *arguments, *options]))


def shell_word(word: str) -> str:
    r"""Quote a word for a shell; what a terminal might obey is escaped as bash and zsh read it, e.g. ``$'\x1b'``."""
    if printable(word) == word:
        return shlex.quote(word)
    parts = (
        character
        if printable(character) == character and character not in "'\\"
        else "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
        for character in word
    )
    return f"$'{''.join(parts)}'"


def end_of(text: str, width: int) -> str:
    """Shorten a path at its beginning, because its last folders tell more than its first."""
    return text if len(text) <= width else "…" + text[-width + 1 :]


def counted(count: int, thing: str) -> str:
    """Write a number of things, such as "1 epoch" or "2 epochs"."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def figure(value: float) -> str:
    """Write a loss, an accuracy or another measure with three decimals; ``NaN`` and ``∞`` as such."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.3f}"


def measured(value: float | None) -> str:
    """Write a measure with three decimals; `UNKNOWN` if it was not measured, which is NaN or None."""
    return UNKNOWN if value is None or math.isnan(value) else figure(value)


def significant(value: float) -> str:
    """Write a number, e.g. a learning rate, with three significant digits, without an exponent where that is short."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else figure(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def percent(share: float, decimals: int = 2) -> str:
    """Write a share in [0, 1] as ``87.34%``."""
    return f"{100 * share:.{decimals}f}%"


def thousands(value: float) -> str:
    """Write a number as ``1 243``; fractions below 10 keep a decimal."""
    if not math.isfinite(value):
        return UNKNOWN
    return f"{value:.1f}" if 0 < value < 10 and value % 1 else f"{value:,.0f}".replace(",", " ")


def duration(seconds: float | None) -> str:
    """Write a duration as ``00:01:12`` or ``2 d 00:01:12``; ``--:--:--`` if unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "--:--:--"
    minutes, second = divmod(int(max(0.0, seconds)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days} d {hour:02}:{minute:02}:{second:02}" if days else f"{hour:02}:{minute:02}:{second:02}"


def age_in_words(seconds: float) -> str:
    """Write a duration in its largest whole unit, such as "3 min"."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def ago(seconds: float) -> str:
    """Write how long ago something happened, such as "3 min ago"."""
    return "just now" if seconds < 60 else f"{age_in_words(seconds)} ago"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align rows in columns. Where a line exceeds 80 characters, its last cell, a path, is shortened to 10 or more."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    room = max(10, 80 - sum(widths) - 2 * len(widths))
    aligned = ([*map(str.ljust, cells, widths), end_of(cells[-1], room)] for cells in rows)
    return ["  ".join(cells).rstrip() for cells in aligned]


def size_in_words(size_bytes: float) -> str:
    """Write a size in KiB, MiB or GiB."""
    if size_bytes >= 2**30:
        return f"{size_bytes / 2**30:.1f} GiB"
    return f"{size_bytes / 2**20:.0f} MiB" if size_bytes >= 2**20 else f"{size_bytes / 2**10:.0f} KiB"
