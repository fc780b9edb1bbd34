"""The palette: a line at the bottom of every screen to type any command, with a list of those that match."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from rich.text import Text
from textual import actions, events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.fuzzy import FuzzySearch
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Static
from textual.widgets.input import Selection

from facegender.support.errors import UserError
from facegender.support.text import one_line
from tui import commands
from tui.commands import Command
from tui.completion import complete_path
from tui.graphics.textual_internals import OrderedKeysApp
from tui.host.history import History
from tui.screens.base import BaseScreen
from tui.settings import SINGLE as SETTINGS
from tui.settings import described
from tui.widgets.inputs import TextInput

MAX_ROWS = 12
RECENT = 3
"""Commands of the history that are listed before anything is typed."""
MAX_MATCHES = 2000
"""Ways to match a query letter by letter that are compared; there may be millions of them in a long name."""
LATE_S = 0.1
"""How long the list may lag behind the typed text while more characters wait to be handled."""
DISK_LIMIT_S = 0.5
"""How long keys wait for a folder that is read."""


@dataclass(frozen=True)
class Entry:
    """One row.

    Attributes:
        text: What is typed to run it.
        description: What it does.
        key: The key that does the same.
        reason: Why it does nothing at the moment; empty if it does something.
    """

    text: str
    description: str = ""
    key: str = ""
    reason: str = ""


class Palette(Vertical):
    """Lists what matches the typed text, and runs it on the screen that it is part of.

    A modal screen would draw all of the screen below again, which takes ten times as long. This is a widget on a layer
    of its own, which is mounted when it is first opened.

    Args:
        history: What was typed before; a new command is added.
        load: Returns the known arguments by `Command.argument`; called in a thread, because it reads folders.
    """

    DEFAULT_CSS = """
    Palette {
        layer: palette; dock: bottom; width: 100%; height: auto; background: $panel; border-top: solid $accent;
        display: none;
    }
    Palette #palette-rows { height: 1; }
    Palette #palette-note { height: 1; padding: 0 1; color: $text-muted; }
    Palette #palette-note.-error { color: $text-error; }
    Palette Horizontal { height: 1; }
    Palette #palette-colon { width: 2; color: $accent; text-style: bold; text-align: right; }
    Palette Input { background: transparent; width: 1fr; }
    """
    BINDINGS = [
        *commands.bindings(
            (
                Command("palette-run", "enter", "accept", "run the command", priority=True),
                Command("palette-complete", "tab", "complete", "complete", priority=True),
                Command("palette-close", "escape", "close", "close", priority=True),
                Command("palette-up", "up,ctrl+p", "move(-1)", "previous entry, then older commands", priority=True),
                Command("palette-down", "down,ctrl+n", "move(1)", "next entry, then newer commands", priority=True),
                Command("palette-page-up", "pageup", "page(-1)", "page up", priority=True),
                Command("palette-page-down", "pagedown", "page(1)", "page down", priority=True),
            )
        )
    ]

    def __init__(self, history: History, load: Callable[[], dict[str, list[str]]]) -> None:
        super().__init__()
        self._history = history
        self._load = load
        self._names: dict[str, list[str]] = {}
        self._loading: asyncio.Task[None] | None = None
        self._error = ""
        self._focused_before: Widget | None = None
        self._commands: dict[str, Command] = {}
        self._entries: list[Entry] = []
        self._search = FuzzySearch()
        self._found: list[tuple[Entry, tuple[int, ...]]] = []
        self._matched = ""
        """The text that was looked for last."""
        self._late: Timer | None = None
        self._cursor = 0
        self._recalled = 0
        """How many commands back in the history the line is; 0 for what was typed."""
        self._height = 0
        """How many rows there are."""
        self._rows = Static(id="palette-rows")
        self._note = Static(id="palette-note", markup=False)
        self.input = TextInput(compact=True, select_on_focus=False, id="palette-input")

    def compose(self) -> ComposeResult:
        """The entries, what is asked for or wrong, and the line."""
        yield self._rows
        yield self._note
        with Horizontal():
            yield Static(":", id="palette-colon")
            yield self.input

    @property
    def _below(self) -> BaseScreen[Any]:
        assert isinstance(self.screen, BaseScreen)
        return self.screen

    def open(self, text: str = "", error: str = "") -> None:
        """Show it, with a text in the line and why that could not be run, and give it the focus."""
        below = self._below
        lacks, keymap = below.lacks(), below.keymap
        self._commands = {command.name: command for command in commands.for_palette(below.SCREEN_COMMANDS)}
        self._entries = [
            Entry(
                command.name,
                command.description,
                " ".join(commands.shown_keys(keymap.get(command.name, command.keys))),
                below.reason(command, lacks),
            )
            for command in self._commands.values()
        ]
        self._error, self._recalled, self._cursor = error, 0, 0
        if not below.palette_is_open:
            self._focused_before = below.focused
        below.palette_is_open = True
        self.display = True
        # At once: keys that were typed ahead belong to the line.
        below.set_focus(self.input)
        self.input.value = text
        start = len(self.input.value.partition(" ")[0]) + 1 if self._error else len(self.input.value)
        self.input.selection = Selection(start, len(self.input.value))  # what was wrong is typed over
        self._match()
        self._loading = asyncio.create_task(self._read_names())

    async def _read_names(self) -> None:
        """Read which runs and themes exist; the commands are listed meanwhile."""
        names = await asyncio.to_thread(self._load)
        if self.is_attached and self.display and names != self._names:
            self._names = names
            self._match(keep=True)

    # What matches

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        if not (isinstance(self.app, OrderedKeysApp) and self.app.keys_wait):
            self._catch_up()
        elif self._late is None:  # of characters that arrive together the last one is enough
            self._late = self.set_timer(LATE_S, self._catch_up)

    def _catch_up(self) -> None:
        """List what matches the line, if that has changed."""
        if self._late is not None:
            self._late.stop()
            self._late = None
        if self.input.value != self._matched:
            self._error = ""
            self._match()

    def _argument(self, text: str) -> tuple[Command | None, str]:
        """Return the command that a text begins with, if it takes an argument, and that."""
        name, space, argument = text.partition(" ")
        command = self._commands.get(name)
        return (command, argument.lstrip()) if space and command and command.argument else (None, "")

    def _match(self, *, keep: bool = False) -> None:
        """List what matches the line, with the cursor on the best match, or kept where it is."""
        text = self._matched = self.input.value
        count = MAX_ROWS
        command, argument = self._argument(text.lstrip())
        if command is not None:
            choices = [Entry(choice) for choice in self._choices(command, argument)]
            self._found = self._ranked(argument.rpartition(" ")[2], choices)
            count = len(choices)
        elif text.strip():
            runs = [Entry(f"open {name}", "show this run on the dashboard") for name in self._names.get("run", ())]
            self._found = self._ranked(text.strip(), [*self._entries, *runs])
        else:
            recent = [Entry(line, "typed before") for line in reversed(self._history.lines[-RECENT:])]
            self._found = [(entry, ()) for entry in [*recent, *sorted(self._entries, key=lambda one: bool(one.reason))]]
        self._cursor = min(self._cursor, max(0, len(self._found) - 1)) if keep else 0
        # As high as the list is before anything is typed: the layout does not change with each character.
        self._rows.styles.height = self._height = max(0, min(count, MAX_ROWS, self.app.size.height - 4))
        self._show()

    def _choices(self, command: Command, argument: str) -> list[str]:
        before = argument.split(" ")[:-1]
        if command.argument == "setting":
            if before == ["theme"]:
                return self._names.get("theme", [])
            if not before:
                return list(SETTINGS)
            field = SETTINGS.get(before[0])
            is_switch = field is not None and isinstance(field.default, bool)
            return ["true", "false"] if is_switch else list(field.choices if field else ())
        if command.argument in self._names:
            return [name for name in self._names[command.argument] if name not in before]
        return self._below.choices(command.argument)

    def _ranked(self, query: str, entries: list[Entry]) -> list[tuple[Entry, tuple[int, ...]]]:
        """Return the entries that match, with the indices of the matching characters.

        What begins with the query comes first, then what can be run, then the better match.
        """
        if not query:
            return [(entry, ()) for entry in entries]
        found: list[tuple[bool, bool, float, Entry, tuple[int, ...]]] = []
        lowered = query.lower()
        for entry in entries:
            score: float = 0.0
            offsets: Sequence[int] = ()
            name = entry.text.lower()
            if lowered in name or prod(name.count(letter) for letter in lowered) <= MAX_MATCHES:
                score, offsets = self._search.match(query, entry.text)
            if not score and lowered in entry.description.lower():
                score = 0.1
            if score:
                found.append((not name.startswith(lowered), bool(entry.reason), -score, entry, tuple(offsets)))
        found.sort(key=lambda match: match[:3])
        return [(entry, offsets) for *_, entry, offsets in found]

    # Showing it

    @property
    def _first_shown(self) -> int:
        """The index of the first entry that is visible."""
        return min(max(0, self._cursor - self._height + 1), max(0, len(self._found) - self._height))

    def _show(self) -> None:
        height, first = self._height, self._first_shown
        shown = self._found[first : first + height]
        width = max(8, self.app.size.width)
        names = min(max((len(entry.text) for entry, _ in shown), default=0), width // 2)
        keys = max((len(entry.key) for entry, _ in shown), default=0)
        rows = []
        for index, (entry, offsets) in enumerate(shown, first):
            name = Text(one_line(entry.text), "dim" if entry.reason else "")
            for offset in offsets:
                name.stylize("bold $accent", offset, offset + 1)
            name.truncate(names, pad=True, overflow="ellipsis")
            about = Text(entry.reason or one_line(entry.description), "$warning" if entry.reason else "dim")
            row = Text.assemble(" ", name, "  ", (entry.key.ljust(keys), "bold"), "  " if keys else "", about)
            row.truncate(width, pad=True, overflow="ellipsis")
            if index == self._cursor:
                row.stylize("on $selected")
            rows.append(row)
        rows = [Text("")] * (height - len(rows)) + rows  # the last ones are the nearest to the line
        self._rows.update(Text("\n").join(rows), layout=False)
        note = self._error or self._hint()
        self._note.set_class(bool(self._error) or not (self._found or self._is_free()), "-error")
        if note != self._note.content:
            self._note.update(note, layout=False)

    def _is_free(self) -> bool:
        """Whether what is typed now need not be in the list."""
        command, argument = self._argument(self.input.value.lstrip())
        return command is not None and not self._choices(command, argument)

    def _hint(self) -> str:
        text = self.input.value.strip()
        command, argument = self._argument(self.input.value.lstrip())
        if command is not None:
            if reason := self._below.reason(command):
                return f"{command.name}: {reason}"
            expected = f"{command.name} takes {commands.ARGUMENTS[command.argument]}"
            if command.argument == "setting":
                name, space, _ = argument.partition(" ")
                name = name if space or not self._found else self._found[self._cursor][0].text
                expected = f"{name}: {described(SETTINGS[name])}" if name in SETTINGS else expected
            return expected if self._found or self._is_free() else f"no match; {expected}"
        if not self._found:
            return one_line(f"no match: no command and no run is like “{text}”")
        entry = self._found[self._cursor][0]
        chosen = self._commands.get(entry.text)
        if chosen is not None and chosen.argument:
            return f"{chosen.name} takes {commands.ARGUMENTS[chosen.argument]}"
        return "Enter runs it, Tab completes, ↑↓ choose, Esc closes"

    # Keys

    def action_move(self, by: int) -> None:
        """Move the cursor; beyond the first entry recall older commands, and from there newer ones."""
        self._catch_up()
        if (by < 0 and (self._cursor == 0 or not self._found)) or self._recalled:
            lines = self._history.lines
            self._recalled = min(max(0, self._recalled - by), len(lines))
            self._write(lines[-self._recalled] if self._recalled else "")
        elif self._found:
            self._cursor = min(max(0, self._cursor + by), len(self._found) - 1)
            self._show()

    def action_page(self, by: int) -> None:
        """Move the cursor by a page."""
        self._catch_up()
        if self._found:
            self._cursor = min(max(0, self._cursor + by * MAX_ROWS), len(self._found) - 1)
            self._show()

    def _write(self, text: str) -> None:
        self.input.value = text
        self.input.cursor_position = len(text)
        self._error = ""
        self._match()

    async def action_complete(self) -> None:
        """Complete a path as far as it is unambiguous, or anything else to the entry under the cursor."""
        self._catch_up()
        command, argument = self._argument(self.input.value.lstrip())
        if command is not None and command.argument == "path":
            work = asyncio.to_thread(complete_path, argument, self.app.root)  # type: ignore[attr-defined]  # ours
            try:
                completed, candidates = await asyncio.wait_for(work, DISK_LIMIT_S)
            except TimeoutError:
                completed, candidates = argument, "the disk does not answer"
            self._write(f"{command.name} {completed}")
            self._note.update(candidates or self._hint(), layout=False)
        elif self._found:
            self._write(self._completed())

    def _completed(self) -> str:
        """Return the line with its last word, or all of it, replaced by the entry under the cursor."""
        entry = self._found[self._cursor][0]
        command, argument = self._argument(self.input.value.lstrip())
        if command is not None:
            before = argument.rpartition(" ")[0]
            return " ".join(filter(None, (command.name, before, entry.text)))
        chosen = self._commands.get(entry.text)
        return entry.text + (" " if chosen is not None and chosen.argument else "")

    async def action_accept(self) -> None:
        """Run the command under the cursor, or ask for its argument."""
        if self._loading is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._loading), DISK_LIMIT_S)
        self._catch_up()
        text = self.input.value.strip()
        command, argument = self._argument(self.input.value.lstrip())
        if self._found and text not in self._commands:
            known = command is not None and argument.rpartition(" ")[2] in (entry.text for entry, _ in self._found)
            text = text if known else self._completed().strip()
        if not text:
            self.action_close()
            return
        name, _, argument = text.partition(" ")
        command = self._commands.get(name)
        if command is None:
            self._show()
        elif reason := self._below.reason(command):
            self._error = f"{name}: {reason}"
            self._show()
        elif argument and not command.argument:
            self._error = f"{name} takes no argument"
            self._show()
        elif command.argument and not argument.strip():
            self._write(f"{name} ")
        else:
            await self._run(command, text, argument.strip())

    async def _run(self, command: Command, text: str, argument: str) -> None:
        """Run a command on the screen below; what is wrong with its argument is said in the palette, open again."""
        self.action_close()
        app, history = self.app, self._history
        namespace, action, parameters = actions.parse(command.action)
        try:
            await app.run_action((namespace, action, (argument,) if command.argument else parameters), self._below)
        except UserError as error:
            self.open(text, one_line(str(error)))
        else:
            history.add(text)
            app.run_worker(asyncio.to_thread(history.save, text), group="history", exit_on_error=False)

    def action_close(self) -> None:
        """Close the palette, and give the focus back."""
        self.display = False
        self._below.palette_is_open = False
        if self.screen.focused is self.input:
            before = self._focused_before
            self.screen.set_focus(before if before is not None and before.is_attached else None)

    def on_descendant_blur(self) -> None:
        """Close when something else was clicked; not when the terminal has lost the focus."""
        if self.display and self.screen.focused not in (None, self.input):
            self.action_close()

    def on_resize(self) -> None:
        """Fit the rows into another width."""
        if self.display:
            self._show()

    # Mouse

    def on_click(self, event: events.Click) -> None:
        """Write the entry that was clicked into the line."""
        if event.widget is self._rows:
            height = self._height
            row = event.y - max(0, height - len(self._found)) + self._first_shown
            if 0 <= row < len(self._found):
                self._cursor = row
                self._write(self._completed())
