"""Text fields: a plain one, and one for a path, which completes as a shell does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.reactive import Reactive
from textual.suggester import Suggester
from textual.widgets import Input

Completer = Callable[[str], tuple[str, str]]
"""Completes a text; returns the longer text, and the candidates in one line (empty if there is only one)."""


class TextInput(Input):
    """An input in one row."""

    # That of Textual lays out the whole screen with each character, in case the width follows from the text.
    virtual_size: Reactive[Size] = Reactive(Size(0, 0))

    BINDINGS = [
        # With priority: otherwise it would also delete characters that arrive in the same read, after the key.
        Binding("ctrl+u", "delete_left_all", "delete to the start", show=False, priority=True),
    ]

    def action_delete_left_all(self) -> None:
        """Delete to the start, as a shell does; if text is selected, Textual would delete only that."""
        self.delete(0, max(self.selection))


class PathSuggester(Suggester):
    """Suggests the rest of a path, as far as it is unambiguous."""

    def __init__(self, complete: Completer) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._complete = complete

    async def get_suggestion(self, value: str) -> str | None:
        """Return the completed path, or None if nothing can be added."""
        completed, _ = await asyncio.to_thread(self._complete, value)
        return completed if completed != value else None


class PathInput(TextInput):
    """An input for a path; Tab completes it.

    Args:
        complete: Called in a thread, as it reads folders.
        options: Those of `Input`.
    """

    BINDINGS = [Binding("tab", "complete", "complete", show=False)]

    @dataclass
    class Completed(Message):
        """The path was completed; ``candidates`` lists in one line how it may go on, if there are several ways."""

        candidates: str

    def __init__(self, complete: Completer, value: str = "", **options: Any) -> None:
        super().__init__(value, suggester=PathSuggester(complete), compact=True, **options)
        self._completer = complete

    def action_complete(self) -> None:
        """Complete the path."""
        self.run_worker(self._complete(self.value), group="completion", exclusive=True)

    async def _complete(self, text: str) -> None:
        completed, candidates = await asyncio.to_thread(self._completer, text)
        if self.value == text:  # nothing was typed meanwhile
            self.value = completed
            self.cursor_position = len(completed)
            self.post_message(self.Completed(candidates))
