"""A form for a new training run; every field says at once what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import Input, Static

from facegender.runs.config import FIELDS, TrainConfig, check_run_name, parse
from facegender.runs.errors import UserError
from facegender.runs.folder import RunFolder
from facegender.runs.text import one_line
from tui.completion import complete_path, resolve_path
from tui.requests import StartRun

DEMO = "demo"

_ROWS: tuple[tuple[str, str, str], ...] = (
    ("name", "run name", "empty draws one"),
    ("data", "photographs", "a folder, or demo; empty looks below datasets/"),
    ("image_size", "image size", "pixels a side"),
    ("epochs", "epochs", ""),
    ("batch_size", "batch size", "photographs a step"),
    ("learning_rate", "learning rate", "of Adam, at the start"),
    ("step_size", "step size", "epochs between two reductions of the learning rate"),
    ("gamma", "gamma", "factor of each reduction"),
    ("val_split", "validation share", "kept apart for validation"),
    ("seed", "seed", "same seed, same split and same order"),
    ("precision", "precision", "auto, 32, bf16 or 16"),
    ("accelerator", "accelerator", "auto, cpu, gpu or mps"),
    ("visualize_every", "pictures every", "epochs; 0 saves none"),
    ("probes", "probe images", "photographs whose feature maps are kept"),
)


class FormInput(Input):
    """An input in which Tab completes a path where there is one to complete, and goes on otherwise."""

    BINDINGS = [
        ("up", "app.focus_previous", "previous field"),
        ("down", "app.focus_next", "next field"),
    ]


class NewRun(Screen[None]):
    """Starts a run when every field is right."""

    CSS_PATH = "new_run.tcss"
    BINDINGS = [
        ("escape", "leave", "back"),
        ("ctrl+t", "complete", "complete the path"),
    ]

    def __init__(self, root: Path, config: TrainConfig, origin: str = "the reference recipe") -> None:
        """Make the form.

        Args:
            config: What the fields begin with.
            origin: What to call that.
        """
        super().__init__()
        self._root = root
        self._config = config
        self._origin = origin

    def compose(self) -> ComposeResult:
        """A row a field."""
        yield Static(Text.assemble((" New run", "bold"), (f"  begins with {self._origin}", "dim")), id="title")
        with VerticalScroll(can_focus=False):
            for field, label, note in _ROWS:
                with Horizontal(classes="row"):
                    yield Static(label, classes="label", markup=False)
                    yield FormInput(self._beginning(field), id=f"field-{field}", select_on_focus=False, compact=True)
                    yield Static(note, id=f"note-{field}", classes="note", markup=False)
        yield Static("", id="verdict", markup=False)
        yield Static(" Enter start   ↑↓ Tab fields   Ctrl+T complete path   Esc back", id="way-out", markup=False)

    def on_mount(self) -> None:
        """Check what the fields begin with."""
        self.query_one("#field-data", FormInput).focus()
        self._check_all()

    def _beginning(self, field: str) -> str:
        if field == "name":
            return ""
        if field == "data":
            return DEMO if self._config.demo else (self._config.data or "")
        value = getattr(self._config, field)
        return f"{value:g}" if isinstance(value, float) else str(value)

    @on(Input.Changed)
    def _changed(self) -> None:
        self._check_all()

    def _check_all(self) -> dict[str, Any] | None:
        """The values of all fields, or None while one is wrong; marks each field."""
        values: dict[str, Any] = {}
        wrong = 0
        for field, _, note in _ROWS:
            text = self.query_one(f"#field-{field}", FormInput).value
            row = self.query_one(f"#note-{field}", Static)
            try:
                values[field] = self._value(field, text)
            except UserError as error:
                wrong += 1
                row.update(one_line(str(error)))
                row.add_class("-wrong")
            else:
                row.update(note)
                row.remove_class("-wrong")
        verdict = self.query_one("#verdict", Static)
        verdict.set_class(bool(wrong), "-wrong")
        verdict.update(f" {wrong} field{'s' if wrong > 1 else ''} to mend" if wrong else " ready: Enter starts the run")
        return None if wrong else values

    def _value(self, field: str, text: str) -> Any:
        text = text.strip()
        if field == "name":
            if text:
                check_run_name(text)
                if RunFolder(self._root, text).path.exists():
                    raise UserError("a run of that name exists")
            return text
        if field == "data":
            if text and text != DEMO and not resolve_path(text, self._root).is_dir():
                raise UserError("there is no such folder")
            return text
        return parse(field, text)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        values = self._check_all()
        if values is None:
            return
        name, data = values.pop("name"), values.pop("data")
        config = TrainConfig(
            data=str(resolve_path(data, self._root)) if data and data != DEMO else None,
            demo=data == DEMO,
            **{field: value for field, value in values.items() if field in FIELDS},
        )
        self.app.post_message(StartRun(config, name))
        self.dismiss(None)

    def action_complete(self) -> None:
        """Complete the path in the data field."""
        field = self.query_one("#field-data", FormInput)
        text, candidates = complete_path(field.value, self._root)
        field.value = text
        field.cursor_position = len(text)
        field.focus()
        if candidates:
            self.query_one("#verdict", Static).update(" " + candidates)

    def action_leave(self) -> None:
        """Back, without a new run."""
        self.dismiss(None)
