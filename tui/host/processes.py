"""The processes of the interface: trainers, which outlive it, the classify process, and commands."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from facegender.runs.checkpoints import CheckpointChoice
from facegender.runs.config import TrainConfig
from facegender.runs.folder import LIVE_STATES, RunFolder, create_run, require_resumable
from facegender.runs.presets import train_arguments
from facegender.runs.protocol import Answer, ChannelRequest, PhotographRequest, Request
from facegender.support.errors import UserError
from facegender.support.files import open_regular
from facegender.support.text import one_line, printable, shell_command

ANSWER_LINE_LIMIT = 1 << 22
CLOSE_S = 0.4
END_S = 2.0
"""How long to wait for a command that was told to end; one that imports torch does so first."""
LAST_ERROR_LIMIT_S = 2.0
COLD_ANSWER_LIMIT_S = 180.0
"""Time limit of the first answer of a classify process, which imports torch and reads a checkpoint for it."""
ANSWER_LIMIT_S = 60.0
OUTPUT_CHUNK = 1 << 16
OUTPUT_LINE_LIMIT = 4096
"""Bytes kept of an unfinished line of output."""
_PREFIX = "facegender: "
_FAILED = "the command failed"


def run_with_terminal(command: Sequence[str]) -> str:
    """Run a command in the foreground of the terminal and wait for its end; return why it cannot be run, or "".

    Call it in the main thread. Ctrl-C ends the command alone, which does not inherit a handler as it would SIG_IGN.
    """
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        subprocess.run(command, check=False)
    except OSError as error:
        return f"{command[0]}: {error.strerror}; set EDITOR to the command of your editor"
    finally:
        signal.signal(signal.SIGINT, before)
    return ""


class Trainers:
    """The trainers that this interface has started. They keep running when the interface ends.

    Args:
        on_end: Returns the command that a trainer runs when its run has ended; empty for none.
    """

    def __init__(self, on_end: Callable[[], str] = str) -> None:
        self._on_end = on_end
        self._children: list[tuple[RunFolder, subprocess.Popen[bytes]]] = []
        self._lock = threading.Lock()
        """Held while a trainer is checked for and started: requests come from several threads."""

    def start(self, root: Path, config: TrainConfig, name: str = "") -> RunFolder:
        """Start a new run; without a name a random one is chosen.

        Raises:
            UserError: The name is taken, the root cannot be written, or the process cannot be started.
        """
        with self._lock:
            folder = create_run(root, name or None)
            try:
                self._spawn(folder, [*train_arguments(config), f"--run={folder.name}"])
            except UserError:
                folder.remove_if_empty()
                raise
        return folder

    def resume(self, folder: RunFolder, options: Sequence[str] = ()) -> None:
        """Resume a run from its last checkpoint.

        Args:
            options: Of ``facegender train``, for what changes.

        Raises:
            UserError: The run is live or complete, somebody's own script trained it, or the process cannot be started.
        """
        if (manifest := folder.read_manifest()) is not None:
            require_resumable(manifest)
        with self._lock:
            state = folder.state()
            starting = any(child.poll() is None and other.path == folder.path for other, child in self._children)
            if starting or state in LIVE_STATES:
                raise UserError(f"run {folder.name} is training already")
            if state == "completed" and not options:
                command = shell_command(folder.root, "train", f"--resume={folder.name}", "--epochs=N")
                raise UserError(f"run {folder.name} is complete; to train it further: {command}")
            self._spawn(folder, [f"--resume={folder.name}", *options])

    def reap(self) -> list[tuple[RunFolder, int]]:
        """Return the trainers that have ended since the last call, with their exit codes."""
        with self._lock:
            ended = [(folder, child.returncode) for folder, child in self._children if child.poll() is not None]
            self._children = [(folder, child) for folder, child in self._children if child.returncode is None]
        return ended

    def _spawn(self, folder: RunFolder, arguments: list[str]) -> None:
        command = [sys.executable, "-m", "facegender", "train", f"--root={folder.root}", *arguments]
        if on_end := self._on_end():
            command.append(f"--on-end={on_end}")
        try:
            with open_regular(folder.log_path, append=True) as log:
                child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
                )
        except OSError as error:
            raise UserError(f"cannot start the trainer ({error.strerror or error})") from None
        self._children.append((folder, child))


async def output_lines(*arguments: str) -> AsyncIterator[str]:
    """Run ``facegender`` with some arguments and yield its output line by line, safe for a terminal.

    A carriage return ends a line too, so that each state of a progress bar arrives as a line.

    Raises:
        UserError: The command failed; the message is its last line.
    """
    async with _started(arguments, stderr=asyncio.subprocess.STDOUT) as process:
        last = ""
        async for line in _lines(process.stdout):
            if text := one_line(line):
                last = text
                yield text
        if await process.wait():
            raise UserError(last.removeprefix(_PREFIX) or _FAILED)


@dataclass(frozen=True)
class CommandOutput:
    """What a command has printed, safe for a terminal.

    Attributes:
        lines: Its standard output; JSON is left as it is.
        error: The last line of its standard error if it failed, else empty.
    """

    lines: tuple[str, ...]
    error: str


async def run_command(*arguments: str, report: Callable[[str], None]) -> CommandOutput:
    """Run ``facegender`` with some arguments in a process of its own, which is ended if the caller is cancelled.

    Args:
        report: Is called with each line that it prints on its standard error, where commands tell their progress.

    Raises:
        UserError: The process cannot be started.
    """
    output: list[str] = []
    told: list[str] = []

    async def read_output() -> None:
        async for line in _lines(process.stdout, ANSWER_LINE_LIMIT):
            output.append(printable(line.expandtabs().rstrip()))

    async def read_errors() -> None:
        async for line in _lines(process.stderr):
            if text := one_line(line).removeprefix(_PREFIX):
                told[:] = [text]
                report(text)

    async with _started(arguments, stderr=asyncio.subprocess.PIPE) as process:
        await asyncio.gather(read_output(), read_errors())
        failed = await process.wait()
    return CommandOutput(tuple(output), (told or output[-1:] or [_FAILED])[0] if failed else "")


@contextlib.asynccontextmanager
async def _started(arguments: Sequence[str], stderr: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start ``facegender`` with some arguments; end it with the block.

    Raises:
        UserError: It cannot be started.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "facegender", *arguments,
            stdin=subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=stderr,
        )  # fmt: skip
    except OSError as error:
        raise UserError(f"cannot start facegender ({error.strerror or error})") from None
    try:
        yield process
    finally:
        if process.returncode is None:
            _terminate(process.pid)
            ending = asyncio.create_task(_ended(process))
            _endings.add(ending)
            ending.add_done_callback(_endings.discard)
            await asyncio.shield(ending)


def _terminate(pid: int) -> None:
    """End a process and those that it has started, which would take seconds to notice its end."""
    import psutil

    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                one.terminate()


_endings: set[asyncio.Task[None]] = set()


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Wait for the end of a process and of what it has started, which hold its pipes."""
    pipes = (stream.read() for stream in (process.stdout, process.stderr) if stream is not None)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(process.wait(), *pipes), END_S)


async def commands_ended() -> None:
    """Wait a moment for commands that are being ended: Python prints a traceback for pipes that outlive a loop."""
    await asyncio.gather(*_endings)


async def _lines(stream: asyncio.StreamReader | None, limit: int = OUTPUT_LINE_LIMIT) -> AsyncIterator[str]:
    """Yield the lines of a process, not yet safe for a terminal; of very long ones the last ``limit`` bytes."""
    assert stream is not None
    rest = b""
    while chunk := await stream.read(OUTPUT_CHUNK):
        *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
        rest = rest[-limit:]
        for line in lines:
            yield line.decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


def _decoded(line: bytes) -> str:
    return one_line(line.decode("utf-8", "replace"))


async def _last_error(process: asyncio.subprocess.Process) -> str:
    """Return the last line that a process which has ended wrote to its standard error; asyncio has buffered it."""
    assert process.stderr is not None
    text = b""
    with contextlib.suppress(TimeoutError):  # another process may hold it open
        text = await asyncio.wait_for(process.stderr.read(), LAST_ERROR_LIMIT_S)
    return next(filter(None, map(_decoded, reversed(text.splitlines()))), "")


class ClassifierProcess:
    """A process that holds a checkpoint in memory and classifies one file at a time.

    It starts at the first use (importing torch takes seconds) and again after it has died or did not answer in time.
    It ends when its standard input closes, so it never outlives the interface.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()
        self._next_id = 0
        self._has_answered = False

    @property
    def is_warm(self) -> bool:
        """Whether the process runs already."""
        return self._process is not None and self._process.returncode is None

    async def classify(self, path: Path, *, run: str, checkpoint: CheckpointChoice = "auto") -> Answer:
        """Classify one file with a checkpoint of a run.

        Raises:
            UserError: The file or the checkpoint cannot be used, or the process died or did not answer; one line says
                why.
        """
        return await self._answer(Request(id=0, path=os.fspath(path), run=run, checkpoint=checkpoint))

    async def patches(self, run: str, channel: ChannelRequest) -> Path:
        """Have the patches made that excite a channel most; returns their file, see `facegender.runs.patches`.

        Raises:
            UserError: There are none, or the process died or did not answer; one line says why.
        """
        return Path((await self._answer(Request(id=0, run=run, patches=channel))).frame)

    async def explain(self, run: str, photograph: PhotographRequest) -> Answer:
        """Have it computed where the network looked in a photograph of a run.

        Raises:
            UserError: The run has no checkpoint, the photograph is gone, or the process died or did not answer; one
                line says why.
        """
        return await self._answer(Request(id=0, run=run, photograph=photograph))

    async def _answer(self, request: Request) -> Answer:
        async with self._lock:
            try:
                process = await self._running_process()
                limit_s = ANSWER_LIMIT_S if self._has_answered else COLD_ANSWER_LIMIT_S
                async with asyncio.timeout(limit_s):
                    answer = await self._ask(process, request)
            except TimeoutError:
                self._kill()
                raise UserError(
                    f"the classify process did not answer within {limit_s:.0f} s and was ended; "
                    "try again: a new one will start"
                ) from None
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                self._kill()
                why = await _last_error(process) or "it gave no reason"
                raise UserError(f"the classify process ended: {why}; try again") from None
        self._has_answered = True
        if not answer.ok:
            raise UserError(one_line(answer.error))
        return answer

    async def _running_process(self) -> asyncio.subprocess.Process:
        if self._process is not None and self.is_warm:
            return self._process
        self._has_answered = False
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "facegender.classify_server", "--root", os.fspath(self._root),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                start_new_session=True, limit=ANSWER_LINE_LIMIT,
            )  # fmt: skip
        except OSError as error:
            raise UserError(f"cannot start the classify process ({error.strerror})") from None
        return self._process

    async def _ask(self, process: asyncio.subprocess.Process, request: Request) -> Answer:
        assert process.stdin is not None
        assert process.stdout is not None
        self._next_id += 1
        process.stdin.write(msgspec.json.encode(msgspec.structs.replace(request, id=self._next_id)) + b"\n")
        await process.stdin.drain()
        while True:
            line = await process.stdout.readuntil(b"\n")
            with contextlib.suppress(msgspec.DecodeError):
                answer = msgspec.json.decode(line, type=Answer)
                if answer.id == self._next_id:
                    return answer

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def close(self) -> None:
        """End the process, which has nothing to save."""
        process = self._process
        self._kill()
        if process is not None:
            # One that is blocked by a network disk does not end before the disk responds.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), CLOSE_S)


class RunPatches:
    """Makes the patches that excite the channels of one run most, by the classify process."""

    def __init__(self, process: ClassifierProcess, run: str) -> None:
        self._process = process
        self._run = run

    @property
    def is_warm(self) -> bool:
        """Whether an answer takes no longer than a moment."""
        return self._process.is_warm

    async def patches(self, epoch: int, layer: str, channel: int) -> Path:
        """Return the file of patches of a channel; epoch and channel count from 0.

        Raises:
            UserError: There are none; one line says why.
        """
        return await self._process.patches(self._run, ChannelRequest(epoch=epoch, layer=layer, channel=channel))
