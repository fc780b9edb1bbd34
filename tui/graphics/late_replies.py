"""Tell a terminal's late reply from key presses.

If a terminal replies after the probe has given up, Textual reads the reply and turns what it does not know into key
presses: `^` or nothing for the escape, then one for each character. On a screen where letters are commands, they must
be dropped.
"""

from __future__ import annotations

_AFTER_ESCAPE = ("P", "_", "[")
MAX_GAP_S = 0.3
"""The longest gap between characters of one reply; a person seldom types so soon after a `^`."""
MAX_REPLY_CHARACTERS = 80
"""The length of the longest reply."""


class LateReplyFilter:
    """Recognises the key presses of a late reply; it must see every key.

    Attributes:
        seen: A reply has begun.
    """

    def __init__(self) -> None:
        self.seen = False
        self._left = 0
        self._opened = False
        self._last_s = float("-inf")

    def consumes(self, character: str | None, now_s: float) -> bool:
        """Return whether a key belongs to a reply. `[` always begins one; the harmless `^` before it does not count.

        Args:
            character: The character that the key types; None, as for arrow keys, is never part of a reply.
            now_s: The time of the key by a monotonic clock.
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
