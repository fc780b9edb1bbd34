"""Starts trainers that outlive the interface, and keeps one warm process that classifies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from facegender.runs.config import FIELDS, TrainConfig, option_of, to_text
from facegender.runs.folder import LIVE_STATES, RunFolder, create_run
from facegender.runs.presets import UNUSED, default_of
from facegender.runs.protocol import Answer, Request
from facegender.support.errors import UserError
from facegender.support.files import open_regular
from facegender.support.text import one_line

WORKER_LINE_LIMIT = 1 << 22
CLOSE_S = 0.4


def train_arguments(config: TrainConfig) -> list[str]:
    """The options of ``facegender train`` that make this configuration; the recipe's defaults are left out."""
    arguments: list[str] = []
    for name in FIELDS:
        value = getattr(config, name)
        is_default = value == (FIELDS[name].default if name == "recipe" else default_of(name, config.recipe))
        if is_default or name in UNUSED[config.recipe]:
            continue
        arguments.append(option_of(name) if value is True else f"{option_of(name)}={to_text(value)}")
    return arguments


class Trainers:
    """The trainers that this interface started. They are not ended with it; it only learns how they ended."""

    def __init__(self) -> None:
        self._children: list[tuple[RunFolder, subprocess.Popen[bytes]]] = []
        self._lock = threading.Lock()
        """Of the list: runs are started in threads."""

    def start(self, root: Path, config: TrainConfig, name: str | None = None) -> RunFolder:
        """Start a new run.

        Raises:
            UserError: The name is taken or the root cannot be written.
        """
        folder = create_run(root, name or None)
        self._spawn(folder, [*train_arguments(config), f"--run={folder.name}"])
        return folder

    def resume(self, folder: RunFolder) -> None:
        """Go on with a run from its last checkpoint.

        Raises:
            UserError: It is live or complete.
        """
        state = folder.state()
        with self._lock:
            starting = any(child.poll() is None and other.path == folder.path for other, child in self._children)
        if starting or state in LIVE_STATES:
            raise UserError(f"run {folder.name} is training already")
        if state == "completed":
            raise UserError(
                f"run {folder.name} is complete; facegender train --resume {folder.name} --epochs N trains it further"
            )
        self._spawn(folder, [f"--resume={folder.name}"])

    def reap(self) -> list[tuple[RunFolder, int]]:
        """The trainers that have ended since the last call, with their exit codes."""
        with self._lock:
            ended = [(folder, child.returncode) for folder, child in self._children if child.poll() is not None]
            self._children = [(folder, child) for folder, child in self._children if child.returncode is None]
        return ended

    def _spawn(self, folder: RunFolder, arguments: list[str]) -> None:
        command = [sys.executable, "-m", "facegender", "train", f"--root={folder.root}", *arguments]
        try:
            with open_regular(folder.log_path, append=True) as log:
                child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
                )
        except OSError as error:
            raise UserError(f"cannot start the trainer ({error.strerror or error})") from None
        with self._lock:
            self._children.append((folder, child))


async def lines_of(*arguments: str) -> AsyncIterator[str]:
    """Run ``facegender`` with some arguments and yield its output, line by line, safe for a terminal.

    Raises:
        UserError: It ended with an error; the message is its last line.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "facegender", *arguments,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    last = ""
    try:
        async for raw in process.stdout:
            if line := one_line(raw.decode("utf-8", "replace")):
                last = line
                yield line
        if await process.wait():
            raise UserError(last.removeprefix("facegender: ") or "the command failed")
    finally:
        if process.returncode is None:
            process.terminate()


class ClassifierProcess:
    """One warm process that holds the newest checkpoint and classifies a file at a time.

    It is started at the first use (importing torch takes seconds) and again if it died. It ends when its standard
    input closes, so it never outlives the interface.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()
        self._errors: list[str] = []
        self._drain: asyncio.Task[None] | None = None
        self._next_id = 0

    @property
    def is_warm(self) -> bool:
        """Whether it runs already."""
        return self._process is not None and self._process.returncode is None

    async def warm_up(self) -> None:
        """Start the process if it does not run; returns without waiting for it to be ready."""
        if self.is_warm:
            return
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "facegender.classify_server", "--root", os.fspath(self._root),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                start_new_session=True, limit=WORKER_LINE_LIMIT,
            )  # fmt: skip
        except OSError as error:
            raise UserError(f"cannot start the classify process ({error.strerror})") from None
        self._errors = []
        self._drain = asyncio.create_task(self._collect_errors(self._process))

    async def classify(self, path: Path, *, run: str) -> Answer:
        """Classify one file with a run's newest checkpoint.

        Raises:
            UserError: The file or the checkpoint cannot be used, or the process died; one line says why.
        """
        async with self._lock:
            try:
                return await self._ask(path, run)
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await asyncio.sleep(0)
                why = self._errors[-1] if self._errors else "no reason was given"
                self._process = None
                raise UserError(f"the classify process ended: {why}; try again") from None

    async def _ask(self, path: Path, run: str) -> Answer:
        await self.warm_up()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        self._next_id += 1
        request = Request(id=self._next_id, path=os.fspath(path), run=run)
        process.stdin.write(msgspec.json.encode(request) + b"\n")
        await process.stdin.drain()
        while True:
            line = await process.stdout.readuntil(b"\n")
            try:
                answer = msgspec.json.decode(line, type=Answer)
            except msgspec.DecodeError:
                continue
            if answer.id == self._next_id:
                break
        if not answer.ok:
            raise UserError(one_line(answer.error))
        return answer

    async def _collect_errors(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while raw := await process.stderr.read(1 << 16):
            lines = filter(None, map(one_line, raw.decode("utf-8", "replace").splitlines()))
            self._errors = [*self._errors, *lines][-20:]

    async def close(self) -> None:
        """End the process by closing its input; kill it if that does not help."""
        process = self._process
        if process is None or process.returncode is not None or process.stdin is None:
            return
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), CLOSE_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
