"""Tells a terminal's late answer from key presses.

When a terminal answers after the probe has given up, Textual is the one who reads it. It leaves out control sequences
that it does not know, but takes control strings (the terminal's name, kitty's answer) for keys: `^`, then one for every
character. On a screen where letters are commands that must not be.
"""

from __future__ import annotations

_OPENING = "circumflex_accent"
_INTRODUCERS = ("P", "underscore")
TOGETHER_S = 0.1
"""Characters of one answer are not further apart; those that a person types seldom follow a `^` so soon."""


class LateAnswer:
    """Is shown every key.

    Attributes:
        seen: An answer has come.
    """

    def __init__(self) -> None:
        self.seen = False
        self._inside = self._opened = False
        self._last_s = float("-inf")

    def swallows(self, key: str, now_s: float) -> bool:
        """Whether a key, by its name in Textual, belongs to an answer; the harmless `^` before it does not count.

        Args:
            now_s: By any clock that does not go back.
        """
        soon = now_s - self._last_s < TOGETHER_S
        self._last_s = now_s
        self._inside = soon and (self._inside or (self._opened and key in _INTRODUCERS))
        self._opened = key == _OPENING
        self.seen = self.seen or self._inside
        return self._inside
