"""What screens with a prompt have in common: completing, running a command, handing a file on."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from textual import on
from textual.message import Message

from facegender.support.text import one_line
from tui import commands
from tui.completion import complete_path, complete_word
from tui.graphics.textual_internals import QuietFocusScreen
from tui.messages import ClassifyFile
from tui.screens.base import ReadyScreen
from tui.widgets.prompt import Prompt


class Completed(Message):
    """A completion was found.

    Attributes:
        text: What the prompt should hold now, if it still holds ``of``.
    """

    def __init__(self, of: str, text: str, candidates: str) -> None:
        super().__init__()
        self.of = of
        self.text = text
        self.candidates = candidates


class PromptScreen(QuietFocusScreen[None], ReadyScreen[None]):
    """A screen with a `Prompt`; subclasses say where the focus goes back to and which layer is looked at."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    @property
    def prompt(self) -> Prompt:
        """The prompt."""
        return self.query_one(Prompt)

    @property
    def selected_layer(self) -> int:
        """Index of the layer that is looked at."""
        raise NotImplementedError

    def take_focus_back(self) -> None:
        """Focus what had the focus before the prompt was opened."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """An open prompt takes the keys that open it as text."""
        return super().check_action(action, parameters) and not (action in commands.PROMPTS and self.prompt.is_open)

    def action_classify(self) -> None:
        """Open the prompt for a file."""
        self.prompt.open("classify")

    def action_command_prompt(self) -> None:
        """Open the prompt for a command."""
        self.prompt.open("command")

    @on(Prompt.Left)
    def leave_prompt(self) -> None:
        """Close the prompt."""
        self.prompt.close()
        self.take_focus_back()

    @on(Prompt.CompletionWanted)
    def _complete(self, event: Prompt.CompletionWanted) -> None:
        self.run_worker(
            partial(self._find, event.text, self.prompt.purpose), thread=True, group="completion", exclusive=True
        )

    def _find(self, text: str, purpose: str) -> None:
        """In a thread: a folder on a network file system may take its time."""
        if purpose == "command":
            completed = complete_word(text, (command.name for command in commands.COMMANDS))
        else:
            completed = complete_path(text, self.root)
        self.post_message(Completed(text, *completed))

    @on(Completed)
    def _completed(self, event: Completed) -> None:
        if self.prompt.is_open and self.prompt.input.value == event.of:
            self.prompt.complete(event.text, event.candidates)

    @on(Prompt.Submitted)
    async def _prompt_submitted(self, event: Prompt.Submitted) -> None:
        if event.purpose == "classify":
            self.leave_prompt()
            self.post_message(ClassifyFile(event.text, self.selected_layer))
            return
        command = commands.find(event.text.removeprefix(":"))
        if command is None:
            self.prompt.note(f"unknown or ambiguous command: {one_line(event.text)}; ? lists them", problem=True)
            return
        self.leave_prompt()
        await self.run_action(command.action)
