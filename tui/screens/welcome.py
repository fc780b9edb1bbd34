"""The welcome screen, where there are no runs: asks where the photographs come from."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from facegender.runs.config import TrainConfig
from facegender.support.errors import UserError
from facegender.support.files import is_folder
from facegender.support.text import one_line, printable
from tui import commands
from tui.host.access import access_of
from tui.host.processes import output_lines
from tui.messages import StartRun
from tui.screens.base import BaseScreen
from tui.screens.confirm import Confirm
from tui.screens.new_run import NewRun
from tui.widgets.keys import Hint, KeyHints

_INTRODUCTION = (
    "Trains a small network on photographs of faces and shows its feature maps while it learns. "
    "There is no run here yet. Where should the photographs come from?"
)
_CHOICES = (
    ("demo", "Demo faces", "drawn by the program; needs no data and trains in a minute or two"),
    ("path", "A folder", "with male/ and female/ in it; opens the form for a new run"),
    ("download", "Download", "ashwingupta3012/male-and-female-faces-dataset from Kaggle"),
)


class Welcome(BaseScreen[None]):
    """Offers demo faces, a folder, or a download."""

    CSS_PATH = "welcome.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-tall")]
    SCREEN_COMMANDS = commands.WELCOME
    FOOTER = commands.WELCOME_FOOTER

    def __init__(self, root: Path, demo: TrainConfig) -> None:
        super().__init__()
        self._root = root
        self._demo = demo
        self._downloading = False
        self._downloaded = ""

    def compose(self) -> ComposeResult:
        """The question with its three answers."""
        with Vertical(id="box"):
            yield Static(Text("facegender-tui", "bold"), id="name")
            yield Static(_INTRODUCTION, id="introduction", markup=False)
            yield OptionList(
                *(Option(Text.assemble((f"{name:<12}", "bold"), (text, "dim")), id) for id, name, text in _CHOICES)
            )
            yield Static("", id="progress", markup=False)
        yield KeyHints(*self.hints())

    def hints(self) -> tuple[list[Hint], list[Hint]]:
        """Return the keys, and the root behind them."""
        hints, always = super().hints()
        return [*hints, ("root", printable(self._root))], always

    @on(OptionList.OptionSelected)
    async def _chosen(self, event: OptionList.OptionSelected) -> None:
        if problem := access_of(self.app).problem():
            self.notify(problem, severity="error", markup=False)
            return
        match event.option_id:
            case "demo" if self.is_active:
                self.app.post_message(StartRun(self._demo))
            case "path":
                found = await asyncio.to_thread(is_folder, self._root / "datasets")
                if self.is_active:
                    self.app.switch_screen(NewRun(self._root, TrainConfig(data="datasets" if found else None)))
            case "download" if not self._downloading:
                self._download()

    @work
    async def _download(self) -> None:
        self._downloading = True
        progress = self.query_one("#progress", Static)
        progress.remove_class("-wrong")
        progress.update("connecting to Kaggle…")
        last = ""
        try:
            async for line in output_lines("download"):
                last = line
                progress.update(line[-200:])
        except UserError as error:
            progress.add_class("-wrong")
            progress.update(one_line(str(error)))
        else:
            self._downloaded = last.removeprefix("photographs in ")
            self._open_form()
        finally:
            self._downloading = False

    @on(events.ScreenResume)
    def _open_form(self) -> None:
        """Open the form for the photographs that were downloaded, once no dialog or other screen is open."""
        if self._downloaded and self.is_active:
            self.app.switch_screen(NewRun(self._root, TrainConfig(data=self._downloaded), first="name"))

    async def may_end(self) -> bool:
        """Ask before a running download is stopped."""
        question = Confirm("Stop the download?", "A later download continues where this one stopped.")
        return not self._downloading or await self.app.push_screen_wait(question) is True

    def action_leave(self) -> None:
        """Go to the empty dashboard."""
        self._leave()

    @work(exclusive=True, group="leave")
    async def _leave(self) -> None:
        if self.is_active and await self.may_end() and self.is_active:
            self.dismiss(None)
