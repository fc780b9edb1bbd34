"""The settings screen: each setting with its value, its default and its help; a changed one is saved at once."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from facegender.support.errors import UserError
from facegender.support.fields import Check, Field
from facegender.support.text import counted, one_line, printable
from tui import commands
from tui import format as fmt
from tui.commands import EVERYWHERE, TABLES, Command
from tui.graphics.textual_internals import Row
from tui.keymap import checked_keymap
from tui.messages import ChangeSetting, EditSettings, SettingsChanged
from tui.screens.base import BaseScreen
from tui.settings import FIELDS, described, settings_of
from tui.themes import THEMES_FOLDER, theme_names
from tui.widgets.inputs import TextInput
from tui.widgets.keys import KeyHints

_LABEL_CELLS = max(len(field.label) for field in FIELDS.values()) + 2
_VALUE_CELLS = 26
_BESIDE_CELLS = 3
"""Padding, and the scroll bar of a list that is too high."""
_MIN_HELP_CELLS = 40
"""Where there is less room beside a value, only the setting under the cursor shows its help."""


class SettingsScreen(BaseScreen[None]):
    """A list of the settings. Below it is a line to change the one under the cursor, open while that happens.

    One line of widgets for all settings, because a widget or two for each would delay the key that opens the screen.

    Args:
        path: The settings file, for the title.
    """

    CSS_PATH = "settings.tcss"
    AUTO_FOCUS = "#list"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (24, "-tall")]
    SCREEN_COMMANDS = commands.SETTINGS
    FOOTER = commands.SETTINGS_FOOTER

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._themes = theme_names(path.parent / THEMES_FOLDER)
        self._fields = list(FIELDS.values())
        self._list = OptionList(id="list", compact=True, markup=False)
        self._choices_list = OptionList(id="choices", compact=True, markup=False)
        self._input = TextInput(compact=True, id="input")
        self._help = Static(id="help", markup=False)

    def compose(self) -> ComposeResult:
        """The list, the line to change a setting, and its help."""
        yield Static(Text.assemble((" Settings", "bold"), (f"  {printable(self._path)}", "dim")), id="title")
        self._list.set_options(self._options())
        self._list.highlighted = 0
        yield self._list
        with Row(id="editor"):
            yield Static(id="label", markup=False)
            yield self._choices_list
            yield self._input
        yield self._help
        yield KeyHints(*self.hints())

    def on_resize(self, event: events.Resize) -> None:
        """Fit the lines into the new width."""
        if event.size.width != self._width:
            self._show_values()

    @property
    def _field(self) -> Field:
        """The setting under the cursor."""
        return self._fields[self._list.highlighted or 0]

    @property
    def _value(self) -> Any:
        return self._value_of(self._field)

    def _value_of(self, field: Field) -> Any:
        settings = settings_of(self.app)
        table, _, name = field.name.rpartition(".")
        return settings.keys.get(name, field.default) if table else getattr(settings, name)

    def _key_fields(self) -> list[Field]:
        """Return a field for the keys of each command."""

        def problem(name: str) -> Check:
            return lambda keys: checked_keymap({**settings_of(self.app).keys, name: keys})[1].get(name, "")

        table: dict[str, Command] = {}
        for command in chain(EVERYWHERE, *TABLES.values()):
            if command.keys:
                table.setdefault(command.name, command)
        return [
            Field(f"Command: {command.description}.", problem(name), name=f"keys.{name}", label=f"  {name}",
                  default=command.keys)
            for name, command in table.items()
        ]  # fmt: skip

    def _choices(self, field: Field, value: Any) -> list[tuple[str, Any]]:
        """Return what a setting may be, in words and as a value; empty if that is a text or a number."""
        if field.type is bool:
            return [("on", True), ("off", False)]
        names = [*self._themes] if field.name == "theme" else [*field.choices]
        if names and value not in names:
            names.append(value)  # a theme that is missing now
        return [(printable(name), name) for name in names]

    # Showing them

    def restyle(self) -> None:
        """Draw everything in the colours of another theme; a list keeps those of its lines."""
        super().restyle()
        self._show_values()

    @on(SettingsChanged)
    def _show_values(self) -> None:
        highlighted = self._list.highlighted or 0
        with self.prevent(OptionList.OptionHighlighted):
            self._list.set_options(self._options())
            self._list.highlighted = highlighted
        self._show_help()

    def _options(self) -> list[Option]:
        self._width = self.app.size.width
        return [Option(self._line(field, self._width - _BESIDE_CELLS)) for field in self._fields]

    def _line(self, field: Field, width: int) -> Text:
        value = self._value_of(field)
        changed = value != field.default
        room = width - _LABEL_CELLS - _VALUE_CELLS - 1
        cells = _VALUE_CELLS if room >= _MIN_HELP_CELLS else max(1, width - _LABEL_CELLS)
        line = fmt.cut(field.label, _LABEL_CELLS)
        line.append_text(fmt.cut(_shown(value), cells))
        line.truncate(max(1, width))
        line.stylize("bold $accent" if changed else "", 0, len(line))
        if room >= _MIN_HELP_CELLS:
            default = f"default {_shown(field.default)}: " if changed else ""
            line.append(" ").append_text(Text.assemble((fmt.cut(default + field.help, room).plain, "dim")))
        return line

    @on(OptionList.OptionHighlighted, "#list")
    @on(Input.Changed)
    def _show_help(self) -> None:
        """Say all about the setting under the cursor, or what is wrong with the text that is typed for it."""
        field = self._field
        problem = self._problem() if self._input.display else ""
        self._help.set_class(bool(problem), "-wrong")
        if problem:
            name = field.label if field.name in FIELDS else f"{field.name}:"
            self._help.update(f"{name} {problem}")
        elif self._input.display:
            self._help.update(f"{described(field)} Enter saves, Esc cancels.")
        elif isinstance(field.default, dict):
            self._help.update(f"{described(field)} Enter lists all commands, or hides them.")
        else:
            self._help.update(f"{described(field)} Default: {_shown(field.default)}.")

    # Changing one

    def action_change(self) -> None:
        """Change the setting under the cursor: the other one of two values, a list of choices, or a line to type in."""
        if self._editing:
            return
        field, value = self._field, self._value
        choices = self._choices(field, value)
        if isinstance(value, dict):
            shown = len(self._fields) > len(FIELDS)
            self._fields = [*FIELDS.values(), *([] if shown else self._key_fields())]
            self._show_values()
        elif len(choices) == 2:
            self.action_step(1)
        else:
            self.query_one("#label", Static).update(field.label.strip())
            self.query_one("#editor").display = True
            self._choices_list.display, self._input.display = bool(choices), not choices
            if choices:
                self._choices_list.set_options(text for text, _ in choices)
                self._choices_list.highlighted = [choice for _, choice in choices].index(value)
            else:
                self._input.value = printable(str(value))
            # At once: keys that were typed ahead belong to the line.
            self.set_focus(self._choices_list if choices else self._input)
            self._show_help()

    @on(OptionList.OptionSelected, "#list")
    def _selected(self) -> None:
        self.action_change()

    @property
    def _editing(self) -> bool:
        return bool(self.query_one("#editor").display)

    def _close(self) -> None:
        self.query_one("#editor").display = self._choices_list.display = self._input.display = False
        self.set_focus(self._list)
        self._show_help()

    def action_step(self, by: int) -> None:
        """Choose the next or the previous value of a setting that has only some."""
        choices = [choice for _, choice in self._choices(self._field, self._value)]
        if choices and not self._editing:
            self._change(choices[(choices.index(self._value) + by) % len(choices)])

    @on(OptionList.OptionSelected, "#choices")
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self._change(self._choices(self._field, self._value)[event.option_index][1])
        self._close()

    @on(Input.Submitted)
    def _submitted(self) -> None:
        if not self._problem():
            # What a terminal cannot show cannot be edited either.
            if self._input.value != printable(str(self._value)):
                self._change(self._field.parse(self._input.value))
            self._close()

    def _problem(self) -> str:
        """Return what is wrong with the text in the line."""
        try:
            self._field.parse(self._input.value)
        except UserError as error:
            return one_line(str(error))
        return ""

    def _change(self, value: Any) -> None:
        if value == self._value:
            return
        is_command = self._field.name not in FIELDS
        self.app.post_message(
            ChangeSetting(self._field.name, None if is_command and value == self._field.default else value)
        )

    def action_reset(self) -> None:
        """Give the setting under the cursor its default."""
        if not self._editing and not isinstance(self._value, dict):
            self._change(self._field.default)

    def action_edit(self) -> None:
        """Open the file in the user's editor."""
        self.app.post_message(EditSettings())

    def action_leave(self) -> None:
        """Close the line without a change, or go back."""
        if self._editing:
            self._close()
        else:
            super().action_leave()


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, dict):
        return f"{counted(len(value), 'command')} changed" if value else "none changed"
    return printable(str(value)) or "none"
