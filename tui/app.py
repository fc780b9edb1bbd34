"""The application: navigation between screens, what the screens ask for, and global keys.

Screens other than the dashboard are imported when they are first opened, so that the dashboard appears sooner.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textual import events, on, work
from textual.app import SuspendNotSupported
from textual.geometry import Size

from facegender.runs.config import FIELDS as CONFIG_FIELDS
from facegender.runs.config import TrainConfig
from facegender.runs.folder import RunFolder, list_runs, open_run
from facegender.runs.summary import trained_manifest
from facegender.support.errors import UserError
from facegender.support.text import counted, one_line, shell_command
from tui.commands import EVERYWHERE, REASONS, bindings
from tui.configured_app import ConfiguredApp
from tui.graphics.context import context_of
from tui.graphics.probe import Probe, window_size
from tui.graphics.terminal import Terminal, resized
from tui.graphics.textual_internals import write_control
from tui.host.access import WriteAccess
from tui.host.history import History
from tui.host.processes import ClassifierProcess, commands_ended, run_with_terminal
from tui.host.run_control import RunControl, live_runs
from tui.host.shutdown import is_shell_job
from tui.host.threads import DaemonThreads
from tui.host.thumbnails import ThumbnailProcess
from tui.messages import (
    REQUESTS,
    CarryOut,
    ChangeSetting,
    ClassifyFile,
    CompareRuns,
    EditSettings,
    KeepRuns,
    OpenRun,
    RunEnded,
    RunRenamed,
    RunRequest,
    SetEpochs,
    SetLearningRate,
    ShowRunPage,
    StartRun,
    export_action,
)
from tui.screens.base import BaseScreen
from tui.screens.dashboard import Dashboard
from tui.settings import SINGLE as SETTINGS
from tui.settings import Settings, SettingsError
from tui.themes import AUTO, find_theme, theme_names

if TYPE_CHECKING:
    from facegender.runs.details import Action
    from tui.screens.runs import TableView

CHECK_S = 2.0
LATE_LIMIT_S = 10.0
"""Time limit of the probe for a terminal that is known to reply late."""
MIN_COLLECTIONS, MAX_COLLECTIONS = 5, 100
"""Collections of the middle generation before one of all objects: while no key is pressed, and at the latest."""
IDLE_S = 1.0
"""Without a key for so long, the user is taken to be idle."""
FLUSH_LIMIT_S = 10.0
EXIT_FLUSH_LIMIT_S = 2.0
FREEZE_AFTER_S = 1.5
"""By then everything that the first screen and its pictures need has been imported and created."""
MANIFEST_LIMIT_S = 1.0
"""Time limit of the search for a run whose configuration the form starts from."""
LIVE_RUNS_LIMIT_S = 0.3
"""Time limit of the search for runs that train, at the exit."""
MAX_HINTS = 5
"""Runs that are named after the exit at most."""

# Small enough to train in about a minute on two cores, long enough to be watched.
DEMO_CONFIG = TrainConfig(demo=True, demo_faces=300, image_size=128, epochs=12)


class FaceGenderApp(ConfiguredApp):
    """Opens with the dashboard of a run, or with the welcome screen where there is no run.

    Attributes:
        access: Which runs may be changed.
    """

    TITLE = "facegender-tui"
    CSS_PATH = Path(__file__).parent / "screens" / "dashboard.tcss"
    """The stylesheet of the default screen, which Textual does not load by itself."""
    BINDINGS = [*bindings(EVERYWHERE)]
    ENABLE_COMMAND_PALETTE = False  # ours lists the same commands as the help

    def __init__(
        self,
        root: Path,
        terminal: Terminal,
        *,
        run: RunFolder | None = None,
        compared: tuple[RunFolder, ...] = (),
        demo: bool = False,
        data: str | None = None,
        access: WriteAccess | None = None,
        graphics: str | None = None,
        settings: Settings | None = None,
        settings_error: SettingsError | None = None,
    ) -> None:
        """Create the application; it starts nothing before it runs.

        Args:
            run: The run to show first; None for the newest one.
            compared: Runs to compare at once.
            demo: Start a run on demo faces at once.
            data: Open the form for a new run on this folder.
            access: Which runs may be changed; None for those whose folders are writable.
            graphics: The protocol to use, or "auto", when the terminal is probed again; None for that of the settings.
            settings: What was read from the settings file; None for the defaults.
            settings_error: What is wrong in that file.
        """
        super().__init__(terminal, graphics=graphics, settings=settings, settings_error=settings_error)
        self.root = root
        self.access = access or WriteAccess()
        self._event_loop: asyncio.AbstractEventLoop | None = None
        self._compared = compared
        self._demo = demo
        self._data = data
        self._leaving = False
        self._history = History()
        self._runs_view: TableView | None = None
        self._run_control = RunControl(self, root, self._confirm, self.access)
        self._classifier = ClassifierProcess(root)
        self._thumbnails = ThumbnailProcess(root)
        self.dashboard = Dashboard(root, run, self._classifier, self._thumbnails)

    def on_load(self) -> None:
        """Prepare the event loop, before the terminal is touched."""
        self._event_loop = asyncio.get_running_loop()
        self._event_loop.set_default_executor(DaemonThreads())

    def request_exit(self) -> bool:
        """Exit soon; for signal handlers and other threads. Return False if the application does not run."""
        if self._event_loop is None or self._event_loop.is_closed():
            return False
        self._event_loop.call_soon_threadsafe(self.exit)
        return True

    def reattach_hint(self) -> str:
        """Return what to say after the exit: which runs were not deleted, which ones train and how to come back."""
        names = sorted(self._run_control.deleting)
        lines = [f"{name} was not deleted: the program ended first" for name in names]
        state = self.dashboard.state
        shown = {state.name: ""} if state is not None and state.live else {}
        live = shown | live_runs(self.root, LIVE_RUNS_LIMIT_S)  # the shown one comes first
        read_only = ["--read-only"] if self.access.read_only else []
        root = Path() if self.root == Path.cwd() else self.root
        for name, host in list(live.items())[:MAX_HINTS]:
            command = shell_command(root, name, *read_only, program="facegender-tui")
            where = f" on {host}" if host else ""
            lines.append(f"{name} is still training{where}; show it with: {command}")
        if len(live) > MAX_HINTS:
            command = shell_command(root, "runs", "--filter=state:training")
            lines.append(f"{counted(len(live) - MAX_HINTS, 'more run')} training; list them with: {command}")
        return "\n".join(lines)

    def get_default_screen(self) -> Dashboard:
        """Return the dashboard. A default screen below it would cause full repaints at each layout."""
        return self.dashboard

    def on_mount(self) -> None:
        """Start the periodic checks."""
        self.set_interval(CHECK_S, lambda: self._run_control.reap(self.dashboard.folder))
        self.set_interval(CHECK_S, self._check_size)
        self.set_interval(CHECK_S, self._check_settings)
        self.app_resume_signal.subscribe(self, lambda _: self.screen.refresh(), immediate=True)
        # A notification about one screen must not cover another. Immediately, so that those of the new screen stay.
        self.screen_change_signal.subscribe(self, lambda screen: self.clear_notifications(), immediate=True)
        if not self.is_headless:
            self.set_timer(FREEZE_AFTER_S, self._collect_garbage)

    def _collect_garbage(self) -> None:
        """Let Python collect garbage, which `tui.__main__` disables, but not among the permanent objects.

        Collections that visit those would delay a key by 30 to 50 ms, again and again. Collections of all other objects
        take 15 to 70 ms, more after large screens were left, and wait until no key is pressed.
        """
        gc.freeze()
        young, middle, _ = gc.get_threshold()
        gc.set_threshold(young, middle, MAX_COLLECTIONS)
        gc.enable()
        self.set_interval(IDLE_S, self._collect_when_idle)

    def _collect_when_idle(self) -> None:
        if gc.get_count()[2] >= MIN_COLLECTIONS and time.monotonic() - self.last_key_at > IDLE_S:
            gc.collect()

    async def on_ready(self) -> None:
        """Do what the command line asks for, now that the panes are mounted."""
        if self._demo:
            self.post_message(StartRun(DEMO_CONFIG, ""))
        elif self._data is not None:
            from tui.screens.new_run import NewRun

            await self.push_screen(NewRun(self.root, TrainConfig(data=self._data), first="name"))
        elif self._compared:
            self.post_message(CompareRuns(self._compared))
        elif self.dashboard.folder is None:
            self._show_newest()

    @work
    async def _show_newest(self) -> None:
        """Show the newest run, or the welcome screen if there is none."""
        newest = next(iter(await asyncio.to_thread(list_runs, self.root)), None)
        if newest is not None:
            self.dashboard.call_after_refresh(self.dashboard.open_run, newest)
            return
        from tui.screens.welcome import Welcome

        await self.push_screen(Welcome(self.root, DEMO_CONFIG))

    async def on_unmount(self) -> None:
        """End the processes that classify and that decode; trainers keep running."""
        await self._classifier.close()
        await self._thumbnails.close()
        await commands_ended()

    def on_late_reply(self) -> None:
        """Tell the user how to make use of the reply."""
        text = "The terminal replied late. Press g to probe again with a longer timeout."
        self.notify_about("late reply", text, timeout=10)

    def on_cursor_position(self, event: events.CursorPosition) -> None:
        """Pace the pictures on a slow link: the terminal has drawn what was sent so far."""
        context_of(self).cursor_reported(event.x)

    # Workers wait until the terminal has read all output, because its replies arrive as messages.

    def action_suspend(self) -> None:
        """Suspend the program, if a shell can resume it."""
        if is_shell_job() and not self._leaving:
            self._suspend_when_flushed()

    @work(group="terminal", exclusive=True)
    async def _suspend_when_flushed(self) -> None:
        await context_of(self).wait_until_flushed(FLUSH_LIMIT_S)
        self.action_suspend_process()

    def action_redraw(self) -> None:
        """Probe the terminal again, as after attaching from another one, and redraw everything."""
        self.retract("late reply")
        if not self._leaving:  # both workers are in one exclusive group
            self._redraw()

    @work(group="terminal", exclusive=True)
    async def _redraw(self, command: Sequence[str] = ()) -> None:
        """Probe the terminal again, after a command that has the terminal meanwhile, if there is one."""
        await context_of(self).wait_until_flushed(FLUSH_LIMIT_S)
        try:
            with self.suspend():
                if command and (problem := run_with_terminal(command)):
                    self.notify(one_line(problem), severity="error", markup=False)
                probe = Probe(self._graphics or self.settings.graphics)
                self.terminal = probe.finish(LATE_LIMIT_S) if self.replied_late else probe.finish()
        except SuspendNotSupported:
            pass
        if self.settings.theme == AUTO:  # another terminal may have another background
            self._change_theme()
        context_of(self).reset(self.terminal)
        self._redraw_pictures()
        self.refresh(layout=True)
        if command:
            self._check_settings()
            return
        self.notify(f"pictures by {self.terminal.protocol.value}: {self.terminal.reason}", markup=False, timeout=4)

    def on_resize(self) -> None:
        """Redraw the pictures for cells of another size: a larger font changes the size of the window in cells."""
        terminal = resized(self.terminal, window_size())
        if terminal != self.terminal:
            self.terminal = terminal
            self._redraw_pictures()

    def _check_size(self) -> None:
        """Notice a change of the size of the window whose signal was lost."""
        window = window_size()
        size = Size(window.columns, window.rows)
        if window.rows and size != self.size and not self.is_headless:
            self.post_message(events.Resize(size, size))

    # Settings

    @on(EditSettings)
    async def _edit_settings(self) -> None:
        """Open the settings file in the user's editor; this program waits until that ends."""
        from tui.settings_edit import make_settings

        try:
            await asyncio.to_thread(make_settings, self.settings_path)
            editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
        except (UserError, ValueError) as error:  # the second one: a single quote
            self.notify(one_line(str(error)), severity="error", markup=False)
            return
        if not self._leaving:
            self._redraw([*editor, str(self.settings_path)])

    def _redraw_pictures(self) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, BaseScreen):
                screen.redraw()

    # Screens

    def action_detach(self) -> None:
        """Exit while the runs continue. A second call neither asks nor waits for the terminal."""
        if self._leaving:
            self.exit()
            return
        self._leaving = True
        self._leave()

    @work(group="terminal", exclusive=True)
    async def _leave(self) -> None:
        for screen in [*self.screen_stack]:
            if isinstance(screen, BaseScreen) and not await screen.may_end():
                self._leaving = False
                return
        await context_of(self).wait_until_flushed(EXIT_FLUSH_LIMIT_S)
        self.exit()

    async def action_palette(self, text: str = "", error: str = "") -> None:
        """Show the palette, with a text typed and what is wrong with it."""
        screen = self.screen
        if isinstance(screen, BaseScreen) and not screen.is_modal:
            from tui.screens.palette import Palette

            if not (palettes := screen.query(Palette)):
                await screen.mount(Palette(self._history, self._palette_names))
                palettes = screen.query(Palette)
            palettes.first().open(text, error)

    def _palette_names(self) -> dict[str, list[str]]:
        """Return the known arguments of commands, by `Command.argument`; reads folders."""
        self._history.load()
        runs = [one_line(folder.name) for folder in list_runs(self.root)]
        return {"run": runs, "runs": runs, "theme": [*theme_names(self.themes_folder)]}

    def action_set_learning_rate(self, text: str) -> None:
        """Change the learning rate of the live run on the dashboard.

        Raises:
            UserError: It is no learning rate.
        """
        self._request_value(SetLearningRate, "learning_rate", text)

    def action_set_epochs(self, text: str) -> None:
        """Change how many epochs the live run on the dashboard trains in total.

        Raises:
            UserError: It is no number of epochs.
        """
        self._request_value(SetEpochs, "epochs", text)

    def _request_value(self, request: type[SetLearningRate | SetEpochs], field: str, text: str) -> None:
        try:
            value = CONFIG_FIELDS[field].parse(text)
        except UserError as error:
            raise UserError(one_line(f"{CONFIG_FIELDS[field].label} {text}: {error}")) from None
        if self.dashboard.folder is not None:
            self.post_message(request(self.dashboard.folder, value))

    def action_change_setting(self, text: str) -> None:
        """Change a setting and keep it: its name and its value.

        Raises:
            UserError: There is no such setting, or its value is wrong.
        """
        name, _, value = text.partition(" ")
        if name not in SETTINGS:
            raise UserError(one_line(f"setting {name}: the settings are {', '.join(SETTINGS)}"))
        if name == "theme":
            self.action_choose_theme(value)
            return
        try:
            self.post_message(ChangeSetting(name, SETTINGS[name].parse(value)))
        except UserError as error:
            raise UserError(one_line(f"{name} {value}: {error}")) from None

    async def action_settings(self) -> None:
        """Show the settings."""
        from tui.screens.settings import SettingsScreen

        await self.push_screen(SettingsScreen(self.settings_path))

    async def action_help(self) -> None:
        """Show the help."""
        from tui.screens.help import Help

        screen = self.screen
        if isinstance(screen, BaseScreen):
            await self.push_screen(Help(self.terminal, screen))

    async def action_jump(self) -> None:
        """Show a letter on each widget of the screen that can take the focus."""
        screen = self.screen
        targets = [widget for widget in screen.focus_chain if widget.region and not screen.is_modal]
        if targets:
            from tui.screens.jump import Jump

            await self.push_screen(Jump(targets), lambda chosen: screen.set_focus(chosen) if chosen else None)

    async def action_open_named(self, name: str) -> None:
        """Show the run of this name on the dashboard.

        Raises:
            UserError: There is no such run.
        """
        self._open_run(OpenRun(await asyncio.to_thread(open_run, self.root, name)))

    async def action_compare_named(self, names: str) -> None:
        """Lay runs over each other; a single one over the run on the dashboard.

        Raises:
            UserError: One of them does not exist, or there is only one.
        """
        shown = self.dashboard.folder.name if self.dashboard.folder is not None else ""
        wanted = list(dict.fromkeys(names.split()))
        wanted = [shown, *wanted] if len(wanted) == 1 and shown and shown not in wanted else wanted
        if len(wanted) < 2:
            raise UserError("compare needs two runs: compare RUN RUN")
        folders = [await asyncio.to_thread(open_run, self.root, name) for name in wanted]
        await self._compare_runs(CompareRuns(tuple(folders)))

    def action_choose_theme(self, name: str) -> None:
        """Change the colours and keep them.

        Raises:
            UserError: There is no such theme, or its file is wrong.
        """
        if name != AUTO:
            find_theme(name, self.themes_folder)
        self.post_message(ChangeSetting("theme", name))

    async def action_runs(self) -> None:
        """Show the list of runs."""
        from tui.screens.runs import Runs, TableView

        self._runs_view = self._runs_view or TableView()
        current = self.dashboard.folder.name if self.dashboard.folder else ""
        await self.push_screen(Runs(self.root, self._runs_view, current, self._run_control.deleting))

    async def action_new_run(self) -> None:
        """Show the form for a new run with the configuration of the shown run, or of the newest one that trained."""
        if problem := self.access.problem():
            self.notify(problem, severity="error", markup=False)
            return
        from tui.screens.new_run import NewRun

        search = asyncio.to_thread(trained_manifest, self.root, self.dashboard.folder)
        try:
            manifest = await asyncio.wait_for(search, MANIFEST_LIMIT_S)
        except TimeoutError:  # the disk does not respond
            manifest = None
        config = manifest.config if manifest else TrainConfig()
        origin = f"what {manifest.run} was trained with" if manifest else "the reference recipe"
        await self.push_screen(NewRun(self.root, config, one_line(origin)))

    def action_request(self, what: str) -> None:
        """Stop or resume the shown run, have it make pictures, or show its page."""
        if self.dashboard.folder is None:
            self.notify(REASONS["run"], severity="error")
        else:
            self.post_message(REQUESTS[what](self.dashboard.folder))

    # Runs and photographs

    @on(StartRun)
    @on(RunRequest)
    def _control_run(self, request: StartRun | RunRequest) -> None:
        self._run_control.submit(request)

    @on(RunEnded)
    def _tell_end(self, event: RunEnded) -> None:
        """Announce the end of a run in the ways that the settings choose."""
        text = f"run {event.folder.name} has {event.state}{f': {event.summary}' if event.summary else ''}"
        bad = event.state in ("failed", "crashed")
        self.notify(text, severity="error" if bad else "information", markup=False, timeout=20)
        rings = self.settings.bell
        if self.settings.desktop_notification:
            from tui.graphics.notification import notification, reaches_terminal

            write_control(self, notification(self.TITLE, text, self.terminal))
            rings |= not reaches_terminal(self.terminal)
        if rings:
            self.bell()

    @on(KeepRuns)
    def _keep_runs(self) -> None:
        self._run_control.keep_runs()

    @on(RunRenamed)
    def _follow_renamed(self, event: RunRenamed) -> None:
        """Show the run under its new name; the dashboard may have noticed already that the old folder is gone."""
        if self.dashboard.folder is None or self.dashboard.folder.path == event.before.path:
            self.dashboard.open_run(event.after)

    @on(OpenRun)
    def _open_run(self, event: OpenRun) -> None:
        while self.screen is not self.dashboard and len(self.screen_stack) > 1:
            self.screen.dismiss(None)  # answers a question that is still open, where popping would leave it waiting
        self.dashboard.open_run(event.folder)

    @on(ShowRunPage)
    async def _show_run_page(self, event: ShowRunPage) -> None:
        from tui.screens.run_page import RunPage

        await self.push_screen(RunPage(event.folder))

    def action_carry_out(self, action: Action) -> None:
        """Carry out a command of the shown run."""
        if self.dashboard.folder is None:
            self.notify(REASONS["run"], severity="error")
        else:
            self.post_message(CarryOut(self.dashboard.folder, action))

    def action_export_network(self, format: str) -> None:
        """Write the network of the shown run in a format.

        Raises:
            UserError: There is no such format.
        """
        self.action_carry_out(export_action(format))

    @on(CarryOut)
    @work(exclusive=True, group="carry-out")
    async def _carry_out(self, event: CarryOut) -> None:
        if self.access.read_only and event.action != "evaluate":  # an export may lie below the root as well
            self.notify(self.access.problem(event.folder), severity="error", markup=False)
            return
        from facegender.runs.details import read_details
        from tui.screens.run_commands import carry_out

        details = await asyncio.to_thread(read_details, event.folder)
        line = details.command(event.action)
        if line is None:
            why = "it is not complete: R resumes it" if event.action == "longer" else "it has no checkpoint yet"
            if details.command("train") is None:
                why = "its run.json cannot be read, or a script trained it"
            self.notify(f"not possible for run {event.folder.name}: {why}", severity="error", markup=False)
        else:
            await carry_out(self, event.folder, line)

    @on(CompareRuns)
    async def _compare_runs(self, event: CompareRuns) -> None:
        from tui.screens.compare import Compare

        await self.push_screen(Compare(event.folders, self._classifier))

    async def _confirm(self, question: str, consequence: str) -> bool:
        from tui.screens.confirm import Confirm

        return await self.push_screen_wait(Confirm(question, consequence)) is True

    @on(ClassifyFile)
    async def _classify_file(self, event: ClassifyFile) -> None:
        from tui.screens.classify import Classify

        run = self.dashboard.folder.name if self.dashboard.folder else ""
        await self.push_screen(Classify(self.root, self._classifier, run, event.text, event.layer))
