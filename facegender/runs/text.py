"""Text from files, names and the network, made safe for a terminal."""

from __future__ import annotations

import unicodedata


def printable(text: str) -> str:
    """The text with every character that could control a terminal or reorder a line replaced by U+FFFD.

    Covers C0 and C1 controls, escape, delete, bidirectional and other format characters, lone surrogates (which is
    how undecodable bytes of a file name arrive) and line separators. Emoji joiners are kept.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join("\ufffd" if _unsafe(character) else character for character in text)


def _unsafe(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp", "Co") and character != "\u200d"


def one_line(text: str) -> str:
    """The text as a single safe line: runs of white space become one space."""
    return printable(" ".join(text.split()))


def end_of(text: str, width: int) -> str:
    """The end of a path that is too long: its last folders tell more than its first."""
    return text if len(text) <= width else "…" + text[-width + 1 :]


def counted(count: int, thing: str) -> str:
    """A number of things, such as "1 epoch" and "2 epochs"."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def size_in_words(size_bytes: float) -> str:
    """A size as people write it."""
    return f"{size_bytes / 2**30:.1f} GiB" if size_bytes >= 2**30 else f"{size_bytes / 2**20:.0f} MiB"
