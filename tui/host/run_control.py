"""Carries out requests about runs: start, resume, stop, make pictures, delete, rename, write a note."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from pathlib import Path

from textual.app import App

from facegender.runs.folder import LIVE_STATES, RunFolder, run_names
from facegender.runs.requests import CheckpointRequest, FrameRequest, Request, SetRequest, send_request
from facegender.support.errors import UserError
from facegender.support.text import counted, one_line
from tui.graphics.textual_internals import notify_about, retract
from tui.host.access import WriteAccess
from tui.host.processes import Trainers
from tui.messages import (
    DeleteRun,
    OpenRun,
    RecordFrame,
    RenameRun,
    ResumeRun,
    RunEnded,
    RunRenamed,
    RunRequest,
    RunsChanged,
    SaveCheckpoint,
    SetEpochs,
    SetLearningRate,
    StartRun,
    StopRun,
    WriteNote,
)
from tui.settings import settings_of

UNDO_S = 8.0
"""Until then nothing of a run that is to be deleted is removed."""
REPORT_AFTER_S = 0.2
MAX_NAMED = 4
"""Runs that a notification names; of more it says how many."""


class RunControl:
    """Handles the requests about runs, one at a time for each run; errors become notifications.

    Threads access the files: a slow file system must not block the keys.

    Args:
        confirm: Asks the user a question with a consequence, and returns whether the answer is yes.
        access: Refuses what is asked of a run that may not be changed.

    Attributes:
        deleting: Names of the runs that are about to be deleted.
    """

    def __init__(
        self, app: App[None], root: Path, confirm: Callable[[str, str], Awaitable[bool]], access: WriteAccess
    ) -> None:
        self._app = app
        self._root = root
        self._confirm = confirm
        self._access = access
        self._trainers = Trainers(lambda: settings_of(app).on_end)
        self._pending: set[str] = set()
        self.deleting: set[str] = set()
        self._undo = asyncio.Event()
        self._reported: dict[str, list[str]] = {}

    def submit(self, request: StartRun | RunRequest) -> None:
        """Carry out a request in the background, unless one about the same run is pending: a key was pressed twice."""
        key = "" if isinstance(request, StartRun) else request.folder.name
        if key in self.deleting:
            if isinstance(request, DeleteRun):  # the list shows that already, and a key may be held down
                return
            self._notify_error(f"run {key} is about to be deleted: u keeps it")
        elif key not in self._pending:
            self._pending.add(key)
            self._app.run_worker(self._carry_out(request, key))

    async def _carry_out(self, request: StartRun | RunRequest, key: str) -> None:
        try:
            await asyncio.to_thread(self._access.require, None if isinstance(request, StartRun) else request.folder)
            match request:
                case StartRun():
                    start = self._trainers.start
                    folder = await asyncio.to_thread(start, self._root, request.config, request.name)
                    self._app.post_message(OpenRun(folder))
                case ResumeRun(options=options):
                    await asyncio.to_thread(self._trainers.resume, request.folder, options)
                    self._app.post_message(OpenRun(request.folder))
                    name = request.folder.name
                    self._notify(f"Resuming {name} from its last checkpoint", name)
                case StopRun():
                    await self._stop(request.folder)
                case RecordFrame():
                    await self._send(request.folder, FrameRequest(), "makes pictures after this batch")
                case SaveCheckpoint():
                    await self._send(request.folder, CheckpointRequest(), "saves last.ckpt after this batch")
                case SetLearningRate(value=rate):
                    what = f"trains with learning rate {rate:g} from its next batch on"
                    await self._send(request.folder, SetRequest(learning_rate=rate), what)
                case SetEpochs(value=epochs):
                    await self._send(request.folder, SetRequest(epochs=epochs), f"trains {counted(epochs, 'epoch')}")
                case DeleteRun():
                    await self._delete(request.folder)
                case RenameRun():
                    renamed = await asyncio.to_thread(request.folder.rename, request.name)
                    self._app.screen.post_message(RunRenamed(request.folder, renamed))
                case WriteNote():
                    await asyncio.to_thread(request.folder.write_note, request.text)
                    self._app.screen.post_message(RunsChanged())
        except UserError as error:
            self._notify_error(str(error))
        except OSError as error:  # a disk that fails must not end the interface
            self._notify_error(f"{error.filename or self._root}: {error.strerror or error}")
        finally:
            # A key that was pressed twice may still be on its way to the app, at most behind what was posted above.
            # Textual inspects the signature of a callback, which a builtin method has not.
            self._app.call_later(self._app.call_later, lambda: self._pending.discard(key))

    async def _stop(self, folder: RunFolder) -> None:
        if await asyncio.to_thread(folder.state) not in LIVE_STATES:
            raise UserError(f"run {folder.name} is not training")
        manifest = await asyncio.to_thread(folder.read_manifest)
        consequence = "It finishes its batch and saves last.ckpt; you can resume it later."
        if manifest is not None and manifest.script:
            consequence = "Its script ends the training after this batch; saving a checkpoint is up to it."
        if not await self._confirm(f"Stop run {folder.name}?", consequence):
            return
        if (state := await asyncio.to_thread(folder.state)) not in LIVE_STATES:
            self._notify(f"{folder.name} has already ended: {state}")
            return
        await asyncio.to_thread(folder.request_stop)
        self._notify(f"{folder.name} will stop after this batch", folder.name)

    async def _send(self, folder: RunFolder, request: Request, what: str) -> None:
        """Send a request to the trainer of a live run.

        Args:
            what: What the trainer does then; its answer is in the log.
        """
        if await asyncio.to_thread(folder.state) not in LIVE_STATES:
            why = ": its pictures are those of its epochs" if isinstance(request, FrameRequest) else ": resume it first"
            raise UserError(f"run {folder.name} is not training{why}")
        await asyncio.to_thread(send_request, folder, request)
        self._notify(f"{folder.name} {what}; the log says when", folder.name)

    async def _delete(self, folder: RunFolder) -> None:
        await asyncio.to_thread(folder.require_deletable)
        undo = self._undo
        self.deleting.add(folder.name)
        self._app.screen.post_message(RunsChanged())
        # At the end of the program the wait is cancelled, and the name stays for what is said then.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(undo.wait(), UNDO_S)
        try:
            if not undo.is_set():
                await asyncio.to_thread(folder.delete)
            self._report("Kept" if undo.is_set() else "Deleted", folder.name)
        finally:
            self.deleting.discard(folder.name)
            retract(self._app, "deleting")
            self._app.screen.post_message(RunsChanged())

    def keep_runs(self) -> None:
        """Delete none of the runs that are about to be deleted."""
        self._undo.set()
        self._undo = asyncio.Event()

    def reap(self, shown: RunFolder | None = None) -> None:
        """Collect the trainers that have ended, and report those that refused to begin.

        Args:
            shown: The run on the dashboard, which tells itself of its end.
        """
        for folder, exit_code in self._trainers.reap():
            if exit_code == 2:
                self._app.run_worker(self._report_refusal(folder))
            elif shown is None or folder.path != shown.path:
                self._app.run_worker(self._report_end(folder))

    async def _report_end(self, folder: RunFolder) -> None:
        self._app.post_message(RunEnded(folder, await asyncio.to_thread(folder.state)))

    async def _report_refusal(self, folder: RunFolder) -> None:
        tail = await asyncio.to_thread(folder.log_tail, 1)
        self._notify_error(tail[-1].removeprefix("facegender: ") if tail else f"run {folder.name} was refused")

    def _report(self, what: str, name: str) -> None:
        """Notify of what was done with a run, in one notification for those of the same moment."""
        names = self._reported.setdefault(what, [])
        names.append(name)
        if len(names) == 1:
            self._app.set_timer(REPORT_AFTER_S, partial(self._notify_report, what))

    def _notify_report(self, what: str) -> None:
        names = self._reported.pop(what)
        self._notify(f"{what} {names_or_count(names)}")

    def _notify(self, text: str, run: str = "") -> None:
        """Notify of what was done, or of what a run is about to do, until its log says more."""
        notify_about(self._app, request_topic(run), one_line(text))

    def _notify_error(self, text: str) -> None:
        self._app.notify(one_line(text), severity="error", markup=False, timeout=8)


def request_topic(run: str) -> str:
    """Return the topic of notifications about what a run was asked to do."""
    return f"request {run}"


def names_or_count(names: Collection[str]) -> str:
    """Return the names of runs, or how many they are if a notification has no room for all."""
    return ", ".join(sorted(names)) if len(names) <= MAX_NAMED else counted(len(names), "run")


def live_runs(root: Path, limit_s: float) -> dict[str, str]:
    """Find the runs that train, in the order of their names; those found so far if the disk takes longer than a limit.

    Returns:
        The name of each, and the host that trains it; empty for this one.
    """
    found: dict[str, str] = {}

    def search() -> None:
        with contextlib.suppress(OSError):
            for name in sorted(run_names(root)):
                folder = RunFolder(root, name)
                if folder.state() in LIVE_STATES:
                    manifest = folder.read_manifest()
                    found[name] = (
                        "" if manifest is None or manifest.process.is_local else one_line(manifest.process.host)
                    )

    thread = threading.Thread(target=search, daemon=True)  # one that hangs must not delay the end
    thread.start()
    thread.join(limit_s)
    return dict(found)
