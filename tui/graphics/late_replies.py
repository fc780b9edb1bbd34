"""Tells a terminal's late answer from key presses.

When a terminal answers after the probe has given up, Textual is the one who reads it, and takes what it does not know
for keys: `^` or nothing for the escape, then one for every character. On a screen where letters are commands that must
not be.
"""

from __future__ import annotations

_AFTER_ESCAPE = ("P", "_", "[")
MAX_GAP_S = 0.3
"""Characters of one answer are not further apart; those that a person types seldom follow a `^` so soon."""
MAX_REPLY_CHARACTERS = 80
"""Characters in an answer."""


class LateReplyFilter:
    """Is shown every key.

    Attributes:
        seen: An answer has come.
    """

    def __init__(self) -> None:
        self.seen = False
        self._left = 0
        self._opened = False
        self._last_s = float("-inf")

    def consumes(self, character: str | None, now_s: float) -> bool:
        """Whether a key belongs to an answer; the harmless `^` before it does not count. `[` always begins one.

        Args:
            character: What the key types; None for one that types nothing, which no answer has.
            now_s: When it came, by any clock that does not go back.
        """
        soon = now_s - self._last_s < MAX_GAP_S
        self._last_s = now_s
        if character is None or not character.isprintable():
            self._left = 0
        elif character == "[" or (soon and self._opened and character in _AFTER_ESCAPE):
            self._left = MAX_REPLY_CHARACTERS
        elif not soon:
            self._left = 0
        self._opened = character == "^"
        if not self._left:
            return False
        self._left -= 1
        self.seen = True
        return True
