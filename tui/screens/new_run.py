"""A form for a new training run; every field says at once what is wrong with it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.message import Message
from textual.widgets import Input, Static

from facegender.runs.config import FIELDS, RECIPES, TrainConfig, check_run_name, parse
from facegender.runs.data_folders import default_data_folders
from facegender.runs.folder import list_runs
from facegender.runs.presets import UNUSED, default_of
from facegender.support.errors import UserError
from facegender.support.files import is_folder, typed_path
from facegender.support.text import one_line, printable
from tui.completion import complete_path
from tui.messages import StartRun
from tui.screens.base import ReadyScreen

DEMO = "demo"

_FORM = (
    "recipe", "image_size", "epochs", "patience", "batch_size", "learning_rate", "step_size", "gamma", "val_split",
    "seed", "on_nan", "precision", "accelerator", "visualize_every", "probes",
)  # fmt: skip
_ROWS: tuple[tuple[str, str, str], ...] = (
    ("name", "run name", "leave empty for a random name"),
    ("data", FIELDS["data"].label, "a folder, or the word demo"),
    *((name, FIELDS[name].label, FIELDS[name].hint) for name in _FORM),
)

_LABELS = {field: label for field, label, _ in _ROWS}
_PLACEHOLDERS = {"data": "looks below datasets/"}


class FormInput(Input):
    """An input of the form."""

    BINDINGS = [
        # First, or what is typed right after it would be deleted with the rest.
        Binding("ctrl+u", "delete_left_all", "delete to the start", show=False, priority=True),
    ]


class NewRun(ReadyScreen[None]):
    """Starts a run when every field is right. Enter only moves on: whoever opens the form has not yet seen it."""

    class Found(Message):
        """The folder that a text means, if there is one."""

        def __init__(self, text: str, folder: Path | None) -> None:
            super().__init__()
            self.text = text
            self.folder = folder

    class Named(Message):
        """The names that are taken."""

        def __init__(self, names: frozenset[str]) -> None:
            super().__init__()
            self.names = names

    class Completed(Message):
        """The path in the data field, as far as it is unambiguous.

        Attributes:
            text: What the field should hold now, if it still holds ``of``.
        """

        def __init__(self, of: str, text: str, candidates: str) -> None:
            super().__init__()
            self.of = of
            self.text = text
            self.candidates = candidates

    CSS_PATH = "new_run.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (9, "-tall")]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (76, "-wide")]
    BINDINGS = [
        ("escape", "leave", "back"),
        ("ctrl+s", "start", "start the run"),
        ("ctrl+t", "complete", "complete the path"),
        # First: what is typed in one go with such a key belongs to the field that it leads to.
        Binding("tab,down,enter", "app.focus_next", "next field", show=False, priority=True),
        Binding("shift+tab,up", "app.focus_previous", "previous field", show=False, priority=True),
    ]

    def __init__(
        self, root: Path, config: TrainConfig, origin: str = "the reference recipe", *, first: str = "data"
    ) -> None:
        """Make the form.

        Args:
            config: What the fields begin with.
            origin: What to call that.
            first: The field that has the keyboard at first.
        """
        super().__init__()
        self._root = root
        self._config = config
        self._origin = origin
        self._first = first
        self._recipe: str = config.recipe
        self._folders: dict[str, Path | None] = {}
        self._looked_for: set[str] = set()
        self._names: frozenset[str] = frozenset()
        self._candidates: tuple[str, str] | None = None

    def compose(self) -> ComposeResult:
        """A row a field."""
        yield Static(Text.assemble((" New run", "bold"), (f"  begins with {self._origin}", "dim")), id="title")
        with VerticalScroll(can_focus=False):
            for field, label, note in _ROWS:
                with Horizontal(classes="row"):
                    yield Static(label, classes="label", markup=False)
                    yield FormInput(
                        self._beginning(field),
                        placeholder=_PLACEHOLDERS.get(field, ""),
                        id=f"field-{field}",
                        compact=True,
                    )
                    yield Static(note, id=f"note-{field}", classes="note", markup=False)
        yield Static("", id="verdict", markup=False)
        yield Static(
            " Ctrl+S start   Esc back   Enter ↑↓ Tab fields   Ctrl+T complete path", id="way-out", markup=False
        )

    def on_mount(self) -> None:
        """Check what the fields begin with."""
        self.run_worker(self._list_names, thread=True)
        self.set_focus(self.query_one(f"#field-{self._first}", FormInput))
        self._check_all()

    def _beginning(self, field: str) -> str:
        if field == "name":
            return ""
        if field == "data":
            text = DEMO if self._config.demo else (self._config.data or "")
        else:
            text = str(getattr(self._config, field))
        # What the terminal cannot show cannot be edited either, so the field starts empty.
        return text if text == printable(text) else ""

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        if event.input.id == "field-recipe" and event.value.strip() in RECIPES:
            self._take_up(event.value.strip())
        self._check_all()

    def _take_up(self, recipe: str) -> None:
        """Have what stands at one recipe's defaults stand at another one's."""
        before, self._recipe = self._recipe, recipe
        for field, _, _ in _ROWS:
            if field in FIELDS and field != "recipe":
                entry = self.query_one(f"#field-{field}", FormInput)
                if entry.value == str(default_of(field, before)):
                    entry.value = str(default_of(field, recipe))
        if self._config.widths == default_of("widths", before):
            self._config = msgspec.structs.replace(self._config, widths=default_of("widths", recipe))

    def _check_all(self) -> dict[str, Any] | None:
        """The values of all fields, or None while one is wrong; marks each field."""
        values: dict[str, Any] = {}
        wrong: dict[str, str] = {}
        for field, _, note in _ROWS:
            text = self.query_one(f"#field-{field}", FormInput).value
            row = self.query_one(f"#note-{field}", Static)
            try:
                values[field] = self._value(field, text)
            except UserError as error:
                wrong[field] = one_line(str(error))
                row.update(wrong[field])
                row.add_class("-wrong")
            else:
                row.update(f"not used by {self._recipe}" if field in UNUSED[self._recipe] else note)
                row.remove_class("-wrong")
        verdict = self.query_one("#verdict", Static)
        verdict.set_class(bool(wrong), "-wrong")
        said = "ready: Ctrl+S starts the run"
        if wrong:
            # Beside the field there may be too little room for it, so the whole of it stands here.
            focused = (self.focused.id or "").removeprefix("field-") if self.focused else ""
            field = focused if focused in wrong else next(iter(wrong))
            said = f"{len(wrong)} field{'s need' if len(wrong) > 1 else ' needs'} fixing"
            said += f"; {_LABELS[field]}: {wrong[field]}"
        if self._candidates and self.query_one("#field-data", FormInput).value == self._candidates[0]:
            # In this line they have the width of the screen.
            said = self._candidates[1]
            verdict.remove_class("-wrong")
        verdict.update(said)
        return None if wrong else values

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
                self._look_for(text)
                if text not in self._folders:
                    raise UserError("looking for the folder…")
                if self._folders[text] is None:
                    missing = "there is no such folder" if text else "no datasets/ here: name a folder, or type demo"
                    raise UserError(missing)
            return text
        return parse(field, text)

    def _look_for(self, text: str) -> None:
        """Find out in a thread whether there is such a folder."""
        if text not in self._looked_for:
            self._looked_for.add(text)
            self.run_worker(partial(self._find, text), thread=True, group="find")

    def _find(self, text: str) -> None:
        # Without a name the trainer searches below the root, and then what Kaggle's program downloaded.
        places = [typed_path(text, self._root)] if text else default_data_folders(self._root)
        self.post_message(self.Found(text, next(filter(is_folder, places), None)))

    def _list_names(self) -> None:
        self.post_message(self.Named(frozenset(run.name for run in list_runs(self._root))))

    @on(Found)
    def _found(self, event: Found) -> None:
        self._folders[event.text] = event.folder
        self._check_all()

    @on(Named)
    def _named(self, event: Named) -> None:
        self._names = event.names
        self._check_all()

    def on_descendant_focus(self) -> None:
        """Say what is wrong with the field that was entered."""
        self._check_all()

    def action_start(self) -> None:
        """Start the run, if every field is right."""
        values = self._check_all()
        if values is None:
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
        field = self.query_one("#field-data", FormInput)
        self.set_focus(field)
        self.run_worker(partial(self._find_completion, field.value), thread=True, group="complete")

    def _find_completion(self, text: str) -> None:
        self.post_message(self.Completed(text, *complete_path(text, self._root)))

    @on(Completed)
    def _completed(self, event: Completed) -> None:
        field = self.query_one("#field-data", FormInput)
        if field.value != event.of:
            return
        self._candidates = (event.text, event.candidates) if event.candidates else None
        field.value = event.text
        field.cursor_position = len(event.text)
        self._check_all()

    def action_leave(self) -> None:
        """Back, without a new run."""
        self.dismiss(None)
