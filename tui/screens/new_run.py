"""The form for a new training run; every field shows at once what is wrong with its value."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input, OptionList, Select, Static

from facegender.runs.config import FIELDS, TrainConfig, check_run_name, parse
from facegender.runs.data_folders import default_data_folders
from facegender.runs.folder import list_runs
from facegender.runs.networks import NETWORKS, RECIPE_NETWORK, size_problem
from facegender.runs.presets import UNUSED, default_of
from facegender.support.errors import UserError
from facegender.support.files import is_folder, typed_path
from facegender.support.text import counted, one_line, printable
from tui import commands
from tui.completion import complete_path
from tui.messages import StartRun
from tui.screens.base import BaseScreen
from tui.widgets.inputs import PathInput, TextInput
from tui.widgets.keys import KeyHints

DEMO = "demo"

_FORM = (
    "recipe", "network", "image_size", "epochs", "patience", "batch_size", "learning_rate", "step_size", "gamma",
    "val_split", "seed", "on_nan", "precision", "accelerator", "visualize_every", "probes",
)  # fmt: skip
_ROWS: tuple[tuple[str, str, str], ...] = (
    ("name", "run name", "leave empty for a random name"),
    ("data", FIELDS["data"].label, "a folder, or the word demo"),
    *((name, FIELDS[name].label, FIELDS[name].hint) for name in _FORM),
)
_LABELS = {field: label for field, label, _ in _ROWS}


class NewRun(BaseScreen[None]):
    """Starts a run once every field is valid. Enter only moves to the next field."""

    CSS_PATH = "new_run.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (9, "-tall")]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (76, "-wide")]
    SCREEN_COMMANDS = commands.NEW_RUN
    FOOTER = commands.NEW_RUN_FOOTER

    def __init__(
        self, root: Path, config: TrainConfig, origin: str = "the reference recipe", *, first: str = "data"
    ) -> None:
        """Create the form.

        Args:
            origin: Where the initial values come from, in words.
            first: The field that has the focus at first.
        """
        super().__init__()
        self._root = root
        self._config = config
        self._origin = origin
        self._first = first
        self._recipe: str = config.recipe
        self._folders: dict[str, Path | None] = {}
        self._looked_up: set[str] = set()
        self._names: frozenset[str] = frozenset()
        self._candidates = ""

    def compose(self) -> ComposeResult:
        """One row per field."""
        yield Static(Text.assemble((" New run", "bold"), (f"  starts from {self._origin}", "dim")), id="title")
        with VerticalScroll(can_focus=False):
            for field, label, note in _ROWS:
                with Horizontal(classes="row"):
                    yield Static(label, classes="label", markup=False)
                    yield self._widget(field)
                    yield Static(note, id=f"note-{field}", classes="note", markup=False)
        yield Static("", id="verdict", markup=False)
        yield KeyHints(*self.hints())

    def _widget(self, field: str) -> Widget:
        id = f"field-{field}"
        if field == "data":
            value = DEMO if self._config.demo else (self._config.data or "")
            # What the terminal cannot show cannot be edited either, so the field starts empty.
            value = value if value == printable(value) else ""
            complete = partial(complete_path, root=self._root)
            return PathInput(complete, value, placeholder="looks below datasets/", id=id)
        value = "" if field == "name" else str(getattr(self._config, field))
        if field != "name" and (choices := FIELDS[field].choices):
            return Select.from_values(choices, value=value, allow_blank=False, compact=True, id=id)
        suggester = SuggestFromList([RECIPE_NETWORK, *NETWORKS]) if field == "network" else None
        return TextInput(value, compact=True, suggester=suggester, id=id)

    def _field(self, field: str) -> Input | Select[str]:
        widget = self.query_one(f"#field-{field}")
        assert isinstance(widget, (Input, Select))
        return widget

    def on_mount(self) -> None:
        """Check the initial values."""
        self._list_names()
        self.set_focus(self._field(self._first))
        self._check_all()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave the keys that move between fields to an open list of choices."""
        return super().check_action(action, parameters) and not (
            action == "move" and isinstance(self.focused, OptionList)
        )

    def action_move(self, by: int) -> None:
        """Move to the next or the previous field."""
        if by > 0:
            self.focus_next()
        else:
            self.focus_previous()

    @on(Input.Changed)
    def _input_changed(self) -> None:
        self._candidates = ""
        self._check_all()

    @on(Select.Changed)
    def _choice_changed(self, event: Select.Changed) -> None:
        if event.select.id == "field-recipe":
            self._apply_defaults(str(event.value))
        self._check_all()

    def _apply_defaults(self, recipe: str) -> None:
        """Change the fields that are at the default of the previous recipe to the default of another recipe."""
        previous, self._recipe = self._recipe, recipe
        for field, _, _ in _ROWS:
            if field in FIELDS and field != "recipe":
                widget = self._field(field)
                if widget.value == str(default_of(field, previous)):
                    widget.value = str(default_of(field, recipe))
        if self._config.widths == default_of("widths", previous):
            self._config = msgspec.structs.replace(self._config, widths=default_of("widths", recipe))

    def _check_all(self) -> dict[str, Any] | None:
        """Show for each field whether it is valid; return all values, or None if one is not."""
        if len(self.query(".note, #verdict, TextInput, Select")) < 2 * len(_ROWS) + 1:
            return None  # the widgets are being mounted or removed
        values: dict[str, Any] = {}
        errors: dict[str, str] = {}
        for field, _, note in _ROWS:
            row = self.query_one(f"#note-{field}", Static)
            try:
                values[field] = self._value(field, str(self._field(field).value))
            except UserError as error:
                note = errors[field] = one_line(str(error))
            else:
                note = f"not used by {self._recipe}" if field in UNUSED[self._recipe] else note
            row.update(note)
            row.set_class(field in errors, "-wrong")
        verdict = self.query_one("#verdict", Static)
        verdict.set_class(bool(errors) and not self._candidates, "-wrong")
        message = "ready: Ctrl+S starts the run"
        if errors:
            # The whole message: there may be too little room beside the field.
            focused = (self.focused.id or "").removeprefix("field-") if self.focused else ""
            field = focused if focused in errors else next(iter(errors))
            verb = "needs" if len(errors) == 1 else "need"
            message = f"{counted(len(errors), 'field')} {verb} fixing; {_LABELS[field]}: {errors[field]}"
        verdict.update(self._candidates or message)
        return None if errors else values

    def _value(self, field: str, text: str) -> Any:
        text = text.strip()
        if field == "name":
            if text:
                check_run_name(text)
                if text in self._names:
                    raise UserError("a run of that name exists")
            return text
        if field == "data":
            if text != DEMO:
                if text not in self._looked_up:
                    self._looked_up.add(text)
                    self._look_up(text)
                if text not in self._folders:
                    raise UserError("looking for the folder…")
                if self._folders[text] is None:
                    missing = "there is no such folder" if text else "no datasets/ here: name a folder, or type demo"
                    raise UserError(missing)
            return text
        value = parse(field, text)
        if field == "image_size" and (problem := size_problem(str(self._field("network").value).strip(), value)):
            raise UserError(problem)
        return value

    @work
    async def _look_up(self, text: str) -> None:
        folders = [typed_path(text, self._root)] if text else default_data_folders(self._root)
        self._folders[text] = await asyncio.to_thread(lambda: next(filter(is_folder, folders), None))
        self._check_all()

    @work
    async def _list_names(self) -> None:
        self._names = frozenset(run.name for run in await asyncio.to_thread(list_runs, self._root))
        self._check_all()

    def on_descendant_focus(self) -> None:
        """Show what is wrong with the focused field."""
        self._candidates = ""
        self._check_all()

    def action_start(self) -> None:
        """Start the run, if every field is valid."""
        values = self._check_all()
        if values is None or not self.is_active:  # the key may have been pressed twice
            return
        name, data = values.pop("name"), values.pop("data")
        config = msgspec.structs.replace(
            self._config,
            data=str(self._folders[data]) if data and data != DEMO else None,
            demo=data == DEMO,
            **values,
        )
        self.app.post_message(StartRun(config, name))

    def action_complete(self) -> None:
        """Complete the path in the data field."""
        path = self.query_one(PathInput)
        self.set_focus(path)
        path.action_complete()

    @on(PathInput.Completed)
    def _show_candidates(self, event: PathInput.Completed) -> None:
        # In the verdict, which has the width of the screen.
        self._candidates = event.candidates
        self._check_all()
