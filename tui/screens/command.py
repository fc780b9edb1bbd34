"""A command of ``facegender`` that runs in a process of its own: its progress, then its output."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.worker import Worker

from facegender.runs.details import Detail, Section
from facegender.support.errors import UserError
from facegender.support.text import one_line, printable, shell_word
from tui import commands
from tui import format as fmt
from tui.host.processes import CommandOutput, run_command
from tui.screens.document import DocumentScreen
from tui.widgets.keys import KeyHints
from tui.widgets.lines import Lines

ResultType = TypeVar("ResultType")


class CommandScreen(DocumentScreen[ResultType]):
    """Runs ``facegender`` with some arguments. Leaving the screen ends the command.

    Args:
        title: What the command does, in words.
        arguments: Of ``facegender``.
    """

    CSS_PATH = "command.tcss"
    HELP = "The command runs in a process of its own; leaving the screen ends it."
    SCREEN_COMMANDS = commands.COMMAND_OUTPUT
    FOOTER = commands.COMMAND_OUTPUT_FOOTER

    def __init__(self, title: str, arguments: Sequence[str]) -> None:
        super().__init__()
        self._heading = title
        self._arguments = tuple(arguments)
        self._began = 0.0
        self._told = ""
        self._is_running = False
        self._worker: Worker[None] | None = None
        self._title, self._status = Lines(id="title"), Lines(id="status")

    def compose(self) -> ComposeResult:
        """The output between the title and the state of the command."""
        yield self._title
        yield self.details
        yield self._status
        yield KeyHints(*self.hints())

    def footer(self) -> str:
        """Return the key that cancels while the command runs."""
        return "| back=cancel" if self._is_running else self.FOOTER

    def on_mount(self) -> None:
        """Run the command."""
        command = " ".join(map(shell_word, ("facegender", *self._arguments)))
        folder = printable(Path.cwd())
        self._title.write(Text.assemble((f" {self._heading}", "bold"), (f"  in {folder}\n {command}", "dim")))
        self.set_interval(1.0, self._show_progress)
        self.action_run_again()

    def action_run_again(self) -> None:
        """Run the command, unless it is running."""
        if not self._is_running:
            self._is_running = True
            self._worker = self._run()

    @work(exclusive=True, group="command")
    async def _run(self) -> None:
        self._began, self._told = time.monotonic(), "starting: importing torch takes some seconds"
        self.details.show([])
        self._show_progress()
        self.update_keys()
        try:
            output = await run_command(*self._arguments, report=self._report)
        except UserError as error:
            output = CommandOutput((), str(error))
        if self.is_open:
            self._is_running = False
            self.update_keys()
            self.show_output(output)
            if output.error:
                self._status.write(Text(f" {one_line(output.error)}", "$error"))
            else:
                self._status.write(Text(f" done in {fmt.duration(time.monotonic() - self._began)}", "$success"))

    def _report(self, line: str) -> None:
        self._told = line
        self._show_progress()

    def _show_progress(self) -> None:
        if self.is_open and self._is_running:
            elapsed = fmt.duration(time.monotonic() - self._began)
            self._status.write(Text.assemble((f" {elapsed}  ", "bold"), (self._told, "dim")))

    def show_output(self, output: CommandOutput) -> None:
        """Show what the command has printed."""
        lines = tuple(Detail(text=line, kind="table") for line in output.lines)
        self.details.show([Section(title="Result", lines=lines)] if lines else [])

    def action_leave(self) -> None:
        """End the command and go back."""
        if self._worker is not None:
            self._worker.cancel()
        super().action_leave()
