"""Messages between screens and the application: requests, named in the imperative, and news, in the past tense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, dataclass_transform

from textual.message import Message

from facegender.runs.config import TrainConfig
from facegender.runs.folder import RunFolder, State
from facegender.support.errors import UserError
from facegender.support.text import one_line
from tui.settings import Settings

if TYPE_CHECKING:
    from facegender.runs.details import Action

M = TypeVar("M", bound=Message)


@dataclass_transform(eq_default=False)
def message(cls: type[M]) -> type[M]:
    """Make a dataclass without ``==`` and ``repr``: defined in half the time, which the first screen waits for."""
    return dataclass(eq=False, repr=False)(cls)


@message
class ClassifyFile(Message):
    """Classify the file that a typed text means, and show the layer with this index."""

    text: str
    layer: int


@message
class OpenRun(Message):
    """Show a run on the dashboard."""

    folder: RunFolder


@message
class ShowRunPage(Message):
    """Show everything that is known of a run."""

    folder: RunFolder


@message
class CarryOut(Message):
    """Carry out a command of a run, see `facegender.runs.details`."""

    folder: RunFolder
    action: Action


def export_action(format: str) -> Action:
    """Return the action that exports a network in a format.

    Raises:
        UserError: There is no such format.
    """
    from facegender.runs.details import EXPORTS

    if format not in EXPORTS:
        raise UserError(one_line(f"format {format}: the formats are {', '.join(EXPORTS)}"))
    return EXPORTS[format]


@message
class CompareRuns(Message):
    """Show several runs over each other, in this order."""

    folders: tuple[RunFolder, ...]


@message
class StartRun(Message):
    """Start a new run and show it; without a name the program chooses one."""

    config: TrainConfig
    name: str = ""


@message
class RunRequest(Message):
    """Change an existing run."""

    folder: RunFolder


@message
class ResumeRun(RunRequest):
    """Resume a run from its last checkpoint and show it, with other ``options`` of ``facegender train`` if any."""

    options: tuple[str, ...] = ()


class StopRun(RunRequest):
    """Stop a run after its current batch, once the user has confirmed."""


class RecordFrame(RunRequest):
    """Have the trainer of a run make pictures of its current weights."""


class SaveCheckpoint(RunRequest):
    """Have the trainer of a run save ``last.ckpt`` now."""


@message
class SetLearningRate(RunRequest):
    """Change the learning rate of a live run from its next step on."""

    value: float


@message
class SetEpochs(RunRequest):
    """Change how many epochs a live run trains in total."""

    value: int


class DeleteRun(RunRequest):
    """Delete the files of a run after some seconds, unless `KeepRuns` comes before."""


@message
class RenameRun(RunRequest):
    """Give a run another name."""

    name: str


@message
class WriteNote(RunRequest):
    """Replace the note of a run; an empty text removes it."""

    text: str


@message
class SettingsChanged(Message, bubble=False):
    """The settings of the application have changed; posted to every screen of the stack."""

    before: Settings


@message
class ChangeSetting(Message):
    """Put a setting into force and write it into the settings file.

    Attributes:
        name: Of a setting, or e.g. "keys.view" for the keys of a command.
        value: None gives a command its own keys again.
    """

    name: str
    value: str | float | bool | None


class EditSettings(Message):
    """Open the settings file in the user's editor."""


@message
class RunEnded(Message):
    """A run that was live has ended.

    Attributes:
        state: How.
        summary: What it reached, or why it failed, in a clause safe to print; empty if nothing is known.
    """

    folder: RunFolder
    state: State
    summary: str = ""


class KeepRuns(Message):
    """Keep all runs that are about to be deleted."""


class RunsChanged(Message):
    """Runs were changed, deleted, or are about to be: the list has to be read again."""


@message
class RunRenamed(RunsChanged):
    """A run has another name."""

    before: RunFolder
    after: RunFolder


REQUESTS = {
    "open": OpenRun,
    "stop": StopRun,
    "resume": ResumeRun,
    "frame": RecordFrame,
    "checkpoint": SaveCheckpoint,
    "page": ShowRunPage,
}
"""By the word for what is done with the run."""
