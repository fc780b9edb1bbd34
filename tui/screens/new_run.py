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
from textual.widgets import Input, OptionList, Select, Static

from facegender.runs.config import FIELDS, TrainConfig, check_run_name, option_of, parse
from facegender.runs.data_folders import default_data_folders
from facegender.runs.folder import RunFolder, list_runs
from facegender.runs.networks import NETWORKS, RECIPE_NETWORK, size_problem
from facegender.runs.presets import FIND_LR_FIELDS, RESUME_MAY_CHANGE, UNUSED, default_of, train_arguments
from facegender.support.errors import UserError
from facegender.support.fields import to_text
from facegender.support.files import is_folder, typed_path
from facegender.support.text import counted, one_line, printable
from tui import commands
from tui.completion import complete_path
from tui.messages import ResumeRun, StartRun
from tui.screens.base import BaseScreen
from tui.widgets.inputs import PathInput, TextInput
from tui.widgets.keys import KeyHints

DEMO = "demo"

_COMMON = (
    "recipe", "network", "image_size", "epochs", "patience", "batch_size", "learning_rate", "class_weights", "seed",
)  # fmt: skip
_MORE = tuple(name for name in FIELDS if name not in (*_COMMON, "data", "demo"))
"""Shown if they are asked for, or have another value than the default."""
_ROWS: tuple[tuple[str, str, str], ...] = (
    ("name", "run name", "leave empty for a random name"),
    ("data", FIELDS["data"].label, "a folder, or the word demo"),
    *((name, FIELDS[name].label, FIELDS[name].hint) for name in (*_COMMON, *_MORE)),
)
_LABELS = {field: label for field, label, _ in _ROWS}
WIDE_COLUMNS = 120
"""From here on there is room for the whole help of a field."""
_OTHER_LINES = 8
"""Lines of the screen that have no field."""
ROWS_AT_A_TIME = 3
_LOOKING = "looking for the folder…"


class NewRun(BaseScreen[None]):
    """Starts a run once every field is valid, or resumes one. Enter only moves to the next field."""

    CSS_PATH = "new_run.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (9, "-tall")]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (76, "-wide"), (WIDE_COLUMNS, "-roomy")]
    HELP = (
        "Dim values are the defaults of the recipe. Beside a changed value is its default, beside the others is their "
        "meaning."
    )
    SCREEN_COMMANDS = commands.NEW_RUN
    FOOTER = commands.NEW_RUN_FOOTER

    def __init__(
        self,
        root: Path,
        config: TrainConfig,
        origin: str = "the reference recipe",
        *,
        first: str = "data",
        resumed: RunFolder | None = None,
        epochs_done: int = 0,
    ) -> None:
        """Create the form.

        Args:
            origin: Where the initial values come from, in words.
            first: The field that has the focus at first.
            resumed: Resume this run, whose configuration it is, instead of starting one: it has the fields that may
                change then.
            epochs_done: How many epochs it has trained.
        """
        super().__init__()
        self._root = root
        self._config = config
        self._origin = origin
        self._resumed = resumed
        self._epochs_done = epochs_done
        self._rows = _ROWS
        if resumed is not None:
            changeable = set(RESUME_MAY_CHANGE) - ({"data"} if config.demo else set())
            rows = {field: (field, label, note) for field, label, note in _ROWS if field in changeable}
            if "data" in rows:
                rows["data"] = ("data", rows["data"][1], "where they are now")
            self._rows = tuple(rows.values())
        self._first = first
        self._all: bool | None = None
        """Whether all settings are shown; None: if the screen has room for them."""
        self._errors: dict[str, str] = {}
        self._recipe: str = config.recipe
        self._folders: dict[str, Path | None] = {}
        self._looked_up: set[str] = set()
        self._names: frozenset[str] = frozenset()
        self._candidates = ""
        self._check_is_due = False
        self._verdict = Static("", id="verdict", markup=False)
        self._more = Static("", id="more", markup=False)
        self._fields: dict[str, Input | Select[str]] = {}
        self._notes: dict[str, Static] = {}
        self._lines: dict[str, Horizontal] = {}

    def compose(self) -> ComposeResult:
        """The form without its fields."""
        heading, origin = " New run", f"starts from {self._origin}"
        if self._resumed is not None:
            heading, origin = f" Resume {self._resumed.name}", self._origin
        yield Static(Text.assemble((heading, "bold"), (f"  {origin}", "dim")), id="title")
        yield VerticalScroll(can_focus=False)
        yield self._verdict
        yield KeyHints(*self.hints())

    def lacks(self) -> frozenset[str]:
        """Return which needs a run that is resumed does not meet."""
        return frozenset({"new-run"} if self._resumed else ())

    def _row(self, field: str, label: str, note: str) -> Horizontal:
        """Make the widgets of a field, with their classes: to add these later would style each widget again."""
        self._fields[field] = self._widget(field)
        self._notes[field] = Static(note, id=f"note-{field}", classes="note", markup=False)
        label_line = Static(label, classes="label", markup=False)
        self._lines[field] = Horizontal(
            label_line, self._fields[field], self._notes[field], classes="row", id=f"row-{field}"
        )
        return self._lines[field]

    def _widget(self, field: str) -> Input | Select[str]:
        id = f"field-{field}"
        if field == "data":
            value = DEMO if self._config.demo else (self._config.data or "")
            # What the terminal cannot show cannot be edited either, so the field starts empty.
            value = value if value == printable(value) else ""
            complete = partial(complete_path, root=self._root)
            return PathInput(complete, value, placeholder="looks below datasets/", id=id)
        value = "" if field == "name" else to_text(getattr(self._config, field))
        classes = "-default" if value == self._default(field) else ""
        if field != "name" and (choices := FIELDS[field].choices):
            return Select.from_values(choices, value=value, allow_blank=False, compact=True, id=id, classes=classes)
        suggester = SuggestFromList([RECIPE_NETWORK, *NETWORKS]) if field == "network" else None
        return TextInput(value, compact=True, suggester=suggester, id=id, classes=classes)

    def _default(self, field: str) -> str | None:
        """The value that a field has if nobody changes it: that of the recipe, or of the run; None if it has none."""
        if field in ("name", "data"):
            return None
        return to_text(getattr(self._config, field) if self._resumed else default_of(field, self._recipe))

    def on_resize(self) -> None:
        """Show as much help as there is room for."""
        self._check_soon()

    async def on_mount(self) -> None:
        """Mount the rows a few at a time, because all of them would block the event loop for a tenth of a second."""
        form = self.query_one(VerticalScroll)
        for start in range(0, len(self._rows), ROWS_AT_A_TIME):
            await form.mount_all([self._row(*row) for row in self._rows[start : start + ROWS_AT_A_TIME]])
        await form.mount(self._more)
        self._list_names()
        self.set_focus(self._fields[self._first])
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
        self._check_soon()

    @on(Select.Changed)
    def _choice_changed(self, event: Select.Changed) -> None:
        if event.select.id == "field-recipe":
            self._apply_defaults(str(event.value))
        self._check_soon()

    def _apply_defaults(self, recipe: str) -> None:
        """Change the fields that are at the default of the previous recipe to the default of another recipe."""
        previous, self._recipe = self._recipe, recipe
        for field, _, _ in self._rows:
            if field in FIELDS and field != "recipe":
                widget = self._fields[field]
                if widget.value == to_text(default_of(field, previous)):
                    widget.value = to_text(default_of(field, recipe))

    def _check_soon(self) -> None:
        """Check all fields once, however many of them have just changed."""
        if not self._check_is_due:
            self._check_is_due = True
            self.call_later(self._check_all)

    def _check_all(self) -> dict[str, Any] | None:
        """Show for each field whether it is valid; return all values, or None if one is not."""
        self._check_is_due = False
        if not self._more.is_attached:
            return None  # the widgets are being mounted or removed
        values: dict[str, Any] = {}
        errors: dict[str, str] = {}
        for field, _, _ in self._rows:
            try:
                values[field] = self._value(field, str(self._fields[field].value))
            except UserError as error:
                errors[field] = one_line(str(error))
        if values.get("workers") and values.get("cache") in ("memory", "gpu"):
            errors["workers"] = f"cannot load from the cache {values['cache']}: 0, or another cache"
        self._errors = errors
        self._show_rows()
        self._verdict.set_class(bool(errors) and not self._candidates, "-wrong")
        message = "ready: Ctrl+S resumes the run" if self._resumed else "ready: Ctrl+S starts the run"
        focused = (self.focused.id or "").removeprefix("field-") if self.focused else ""
        # The whole text of both: there may be too little room beside the field.
        if errors:
            field = focused if focused in errors else next(iter(errors))
            verb = "needs" if len(errors) == 1 else "need"
            message = f"{counted(len(errors), 'field')} {verb} fixing; {_LABELS[field]}: {errors[field]}"
        elif focused in FIELDS and not self.has_class("-short"):
            message = f"{_LABELS[focused]}: {FIELDS[focused].help}\n{message}"
        if (text := self._candidates or message) != self._verdict.content:
            self._verdict.update(text)
        return None if errors else values

    def _show_rows(self) -> None:
        """Show the note of each field; hide fields that few people change while they have their defaults."""
        hidden, show_all = 0, self._shows_all
        for field, _, hint in self._rows:
            widget, note, default = self._fields[field], self._notes[field], self._default(field)
            is_default = default is not None and widget.value == default
            text = FIELDS[field].help if field in FIELDS and self.app.size.width >= WIDE_COLUMNS else hint
            if not is_default and default is not None:
                text = f"default {default}: Ctrl+D"
            if field in UNUSED[self._recipe]:
                text = f"not used by {self._recipe}"
            if (text := self._errors.get(field, text)) != note.content:
                note.update(text, layout=field in self._errors)
            self._lines[field].set_class(field in self._errors, "-wrong")
            note.set_class(not is_default and default is not None, "-changed")
            widget.set_class(is_default, "-default")
            shown = show_all or field not in _MORE or not is_default or field in self._errors or widget.has_focus
            row = self._lines[field]
            if row.display != shown:
                row.display = shown
            hidden += not shown
        more = f"{counted(hidden, 'more setting')} at the default: Ctrl+N" if hidden else ""
        if more != self._more.content:
            self._more.update(more)

    def _value(self, field: str, text: str) -> Any:
        text = text.strip()
        if field == "name":
            if text:
                check_run_name(text)
                if text in self._names:
                    raise UserError("a run of that name exists")
            return text
        if field == "data":
            if text == DEMO and self._resumed is not None:
                raise UserError("the run was trained on photographs: name their folder")
            if text != DEMO:
                if text not in self._looked_up:
                    self._looked_up.add(text)
                    self._look_up(text)
                if text not in self._folders:
                    raise UserError(_LOOKING)
                if self._folders[text] is None:
                    missing = "there is no such folder" if text else "no datasets/ here: name a folder, or type demo"
                    raise UserError(missing)
            return text
        value = parse(field, text)
        if field == "epochs" and value <= self._epochs_done:
            raise UserError(f"must be more than {self._epochs_done}, which are done")
        if field == "image_size" and (problem := size_problem(str(self._fields["network"].value).strip(), value)):
            raise UserError(problem)
        return value

    @work
    async def _look_up(self, text: str) -> None:
        folders = [typed_path(text, self._root)] if text else default_data_folders(self._root)
        self._folders[text] = await asyncio.to_thread(lambda: next(filter(is_folder, folders), None))
        self._check_soon()

    @work
    async def _list_names(self) -> None:
        self._names = frozenset(run.name for run in await asyncio.to_thread(list_runs, self._root))
        self._check_soon()

    def on_descendant_focus(self) -> None:
        """Show what is wrong with the focused field."""
        self._candidates = ""
        self._check_soon()

    def action_start(self) -> None:
        """Start or resume the run, if every field is valid; else go to the first that is not."""
        values = self._check_all()
        if values is None:
            for field in self._errors:
                self.set_focus(self._fields[field])
                break
        elif self.is_active:  # the key may have been pressed twice
            config, name = self._configuration(values)
            if self._resumed is None:
                self.app.post_message(StartRun(config, name))
            else:
                changes = [f for f in RESUME_MAY_CHANGE if getattr(config, f) != getattr(self._config, f)]
                self.app.post_message(
                    ResumeRun(self._resumed, tuple(f"{option_of(f)}={to_text(getattr(config, f))}" for f in changes))
                )

    def _configuration(self, values: dict[str, Any]) -> tuple[TrainConfig, str]:
        """The configuration with the values of the fields, and the name of the run."""
        name, data = values.pop("name", ""), values.pop("data", DEMO if self._config.demo else "")
        folder = str(self._folders[data]) if data and data != DEMO else None
        if self._resumed is not None and not folder:
            folder = self._config.data
        return msgspec.structs.replace(self._config, data=folder, demo=data == DEMO, **values), name

    def action_show_all(self) -> None:
        """Show all settings, or only those that many people change or that have other values than their defaults."""
        self._all = not self._shows_all
        self._show_rows()

    @property
    def _shows_all(self) -> bool:
        return self.app.size.height >= len(self._rows) + _OTHER_LINES if self._all is None else self._all

    def action_restore(self) -> None:
        """Give the focused field its default."""
        field = (self.focused.id or "").removeprefix("field-") if self.focused else ""
        if field in _LABELS and (default := self._default(field)) is not None:
            self._fields[field].value = default

    @work
    async def action_find_rate(self) -> None:
        """Find a learning rate for what the form says, and take it into the form."""
        if self._resumed is not None:
            return
        if (values := self._check_all()) is None:
            self.notify("fix the fields first", severity="error")
            return
        from tui.screens.find_rate import FindRate

        config, _ = self._configuration(values)
        arguments = ["find-lr", *train_arguments(config, FIND_LR_FIELDS), f"--root={self._root}"]
        rate = await self.app.push_screen_wait(FindRate(arguments, config))
        if rate is not None:
            self._fields["learning_rate"].value = to_text(rate)
            self.set_focus(self._fields["learning_rate"])

    def action_complete(self) -> None:
        """Complete the path in the data field."""
        path = self.query_one(PathInput)
        self.set_focus(path)
        path.action_complete()

    @on(PathInput.Completed)
    def _show_candidates(self, event: PathInput.Completed) -> None:
        # In the verdict, which has the width of the screen.
        self._candidates = event.candidates
        self._check_soon()
