"""What all screens have in common: their keys wait for the whole of them."""

from __future__ import annotations

from textual.screen import Screen, ScreenResultType


class ReadyScreen(Screen[ScreenResultType]):
    """A screen whose keys do nothing before all of its widgets are there.

    On a busy machine its first widget can have the focus long before its last one is mounted, and would hand on keys
    for actions that look for that one.
    """

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Not before the screen is mounted, which is after its widgets are."""
        return self.is_mounted
