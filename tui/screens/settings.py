"""The settings screen: each setting with its value, its default and its help; a changed one is saved at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import Input, OptionList, Select, Static

from facegender.support.errors import UserError
from facegender.support.fields import Field
from facegender.support.text import one_line, printable
from tui import commands
from tui.messages import ChangeSetting, EditSettings, SettingsChanged
from tui.screens.base import BaseScreen
from tui.settings import FIELDS, described, settings_of
from tui.widgets.inputs import TextInput
from tui.widgets.keys import KeyHints


class SettingsScreen(BaseScreen[None]):
    """A row for each setting. A choice is saved when it is made, a text with Enter or when its field is left.

    Args:
        path: The settings file, for the title.
    """

    CSS_PATH = "settings.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (76, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (9, "-tall")]
    SCREEN_COMMANDS = commands.SETTINGS
    FOOTER = commands.SETTINGS_FOOTER

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def compose(self) -> ComposeResult:
        """One row per setting."""
        yield Static(Text.assemble((" Settings", "bold"), (f"  {printable(self._path)}", "dim")), id="title")
        with VerticalScroll(can_focus=False):
            for field in FIELDS.values():
                with Horizontal(classes="row"):
                    yield Static(field.label, id=f"label-{field.name}", classes="label", markup=False)
                    yield self._widget(field)
                    yield Static(id=f"note-{field.name}", classes="note", markup=False)
        yield Static(id="help", markup=False)
        yield KeyHints(*self.hints())

    def _widget(self, field: Field) -> Widget:
        value, id = getattr(settings_of(self.app), field.name), f"field-{field.name}"
        if isinstance(value, dict):
            return Static(id=id)
        if choices := self._choices(field, value):
            return Select(choices, value=value, allow_blank=False, compact=True, id=id)
        return TextInput(printable(str(value)), compact=True, id=id)

    def _choices(self, field: Field, value: Any) -> list[tuple[str, Any]]:
        if field.type is bool:
            return [("on", True), ("off", False)]
        names = ["auto", *sorted(self.app.available_themes)] if field.name == "theme" else [*field.choices]
        if names and value not in names:
            names.append(value)  # a theme that is missing now
        return [(printable(name), name) for name in names]

    def on_mount(self) -> None:
        """Describe the settings."""
        self._describe()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave the keys that move between settings to an open list of choices."""
        return super().check_action(action, parameters) and not (
            action == "move" and isinstance(self.focused, OptionList)
        )

    @on(SettingsChanged)
    def _show_values(self) -> None:
        """Show the values in force, except in the field that somebody types in."""
        with self.prevent(Select.Changed, Input.Changed):
            for name, value in self._values().items():
                widget = self.query_one(f"#field-{name}")
                if isinstance(widget, Select):
                    widget.set_options(self._choices(FIELDS[name], value))
                    widget.value = value
                elif isinstance(widget, Input) and widget is not self.focused:
                    widget.value = printable(str(value))
        self._describe()

    def _values(self) -> dict[str, Any]:
        settings = settings_of(self.app)
        return {name: getattr(settings, name) for name in FIELDS}

    def _problem(self, name: str) -> str:
        """Return what is wrong with the text in a field."""
        widget = self.query_one(f"#field-{name}")
        if isinstance(widget, Input):
            try:
                FIELDS[name].parse(widget.value)
            except UserError as error:
                return one_line(str(error))
        return ""

    @on(Input.Changed)
    def _describe(self) -> None:
        """Say of each setting what it does or what is wrong with its text, and of the focused one all of it."""
        if not self.is_open or len(self.query(".note, #help")) <= len(FIELDS):
            return  # the widgets are being mounted or removed
        for name, value in self._values().items():
            field, problem = FIELDS[name], self._problem(name)
            changed = value != field.default
            label = self.query_one(f"#label-{name}")
            label.set_class(changed, "-changed")
            label.set_class(bool(problem), "-wrong")
            note = self.query_one(f"#note-{name}", Static)
            default = f"default {_shown(field.default)}: " if changed and field.default != {} else ""
            note.update(problem or default + field.help)
            note.set_class(bool(problem), "-wrong")
            if isinstance(value, dict):
                text = f"{len(value)} set in the file" if value else "none set"
                self.query_one(f"#field-{name}", Static).update(text)
        name = self._focused_name
        help_ = self.query_one("#help", Static)
        problem = self._problem(name) if name else ""
        help_.set_class(bool(problem), "-wrong")
        if not name:
            help_.update("")
        elif problem:
            help_.update(f"{FIELDS[name].label} {problem}")
        else:
            unsaved = isinstance(self.focused, Input) and self._has_unsaved(self.focused)
            remedy = "Enter saves it." if unsaved else f"Default: {_shown(FIELDS[name].default)}."
            help_.update(f"{described(FIELDS[name])} {remedy}")

    @property
    def _focused_name(self) -> str:
        """The name of the focused setting; empty if an open list of choices has the focus."""
        return (self.focused.id or "").removeprefix("field-") if isinstance(self.focused, (Input, Select)) else ""

    def on_descendant_focus(self) -> None:
        """Describe the focused setting."""
        self._describe()

    # Changing settings

    @on(Select.Changed)
    def _choice_made(self, event: Select.Changed) -> None:
        self._change((event.select.id or "").removeprefix("field-"), event.value)

    @on(Input.Blurred)
    def _field_left(self, event: Input.Blurred) -> None:
        self._save_text(event.input)

    def _save_text(self, field: Input) -> None:
        name = (field.id or "").removeprefix("field-")
        if self._has_unsaved(field) and not self._problem(name):
            self._change(name, FIELDS[name].parse(field.value))

    def _has_unsaved(self, field: Input) -> bool:
        # What a terminal cannot show cannot be edited either.
        value = getattr(settings_of(self.app), (field.id or "").removeprefix("field-"))
        return field.value != printable(str(value))

    def _change(self, name: str, value: Any) -> None:
        if value != getattr(settings_of(self.app), name):
            self.app.post_message(ChangeSetting(name, value))

    def action_move(self, by: int) -> None:
        """Move to the next or the previous setting."""
        if by > 0:
            self.focus_next()
        else:
            self.focus_previous()

    def action_reset(self) -> None:
        """Give the focused setting its default."""
        if name := self._focused_name:
            widget = self.focused
            if isinstance(widget, Input):
                widget.value = str(FIELDS[name].default)
            self._change(name, FIELDS[name].default)

    def action_edit(self) -> None:
        """Open the file in the user's editor."""
        self.app.post_message(EditSettings())

    def action_leave(self) -> None:
        """Save the text that has been typed, and go back."""
        if isinstance(self.focused, Input):
            self._save_text(self.focused)
        super().action_leave()


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value) if value not in ("", {}) else "none"
