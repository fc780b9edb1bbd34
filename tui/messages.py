"""What screens ask of the application: imperatives, posted as messages."""

from __future__ import annotations

from textual.message import Message

from facegender.runs.config import TrainConfig
from facegender.runs.folder import RunFolder


class ClassifyFile(Message):
    """Classify the file that a typed text means, and look at the same layer as now."""

    def __init__(self, text: str, layer: int) -> None:
        super().__init__()
        self.text = text
        self.layer = layer


class StartRun(Message):
    """Start a new run and show it."""

    def __init__(self, config: TrainConfig, name: str) -> None:
        super().__init__()
        self.config = config
        self.name = name


class OpenRun(Message):
    """Show a run on the dashboard."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self.folder = folder


class StopRun(Message):
    """Ask a run to stop, after asking the person."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self.folder = folder


class ResumeRun(Message):
    """Go on with a run from its last checkpoint and show it."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self.folder = folder


class DeleteRun(Message):
    """Delete a run's files, after asking the person."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self.folder = folder
