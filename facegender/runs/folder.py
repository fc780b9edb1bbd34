"""A run folder: where a run's files are, who runs it, how it stands, and the stop request.

``checkpoints/<run>/`` has ``run.json`` (the manifest), ``events.jsonl``, ``train.log`` and the checkpoints;
``visuals/<run>/`` has the pictures.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
import psutil

from facegender.runs.config import RUN_NAME, TrainConfig, check_run_name
from facegender.runs.errors import UserError
from facegender.runs.events import RunFinished
from facegender.runs.journal import read_tail
from facegender.runs.text import printable

MANIFEST_VERSION = 1
HEARTBEAT_S = 5.0
LOST_AFTER_S = 60.0

State = Literal["starting", "training", "completed", "stopped", "failed", "crashed"]
LIVE_STATES: tuple[State, ...] = ("starting", "training")

_FRAME = re.compile(r"epoch_(\d+)\.safetensors")


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """Who trains: enough to tell the process from a later one that was given the same number."""

    pid: int
    started: float
    host: str

    @classmethod
    def this(cls) -> Process:
        """The calling process."""
        pid = os.getpid()
        return cls(pid=pid, started=psutil.Process(pid).create_time(), host=socket.gethostname())

    def is_here(self) -> bool:
        """Whether it was started on this host."""
        return self.host == socket.gethostname()

    def is_alive(self) -> bool:
        """Whether it still runs; only meaningful where `is_here`."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 2.0
            return same and bool(process.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False


class Skipped(msgspec.Struct, frozen=True):
    """A file of the data folder that no photograph could be read from."""

    file: str
    reason: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """``run.json``.

    Attributes:
        data: The folder that was read, or "demo faces".
        layers: Convolutions in the order of the network.
    """

    run: str
    config: TrainConfig
    process: Process
    created: float
    program: str
    data: str = ""
    data_digest: str = ""
    parameters: int = 0
    layers: list[str] = []
    skipped: list[Skipped] = []
    version: int = MANIFEST_VERSION


class RunFolder:
    """The paths of one run below a root folder. Creating the object touches nothing."""

    def __init__(self, root: Path, name: str) -> None:
        self.root = root
        self.name = check_run_name(name)
        self.path = root / "checkpoints" / name
        self.visuals = root / "visuals" / name
        self.manifest_path = self.path / "run.json"
        self.journal_path = self.path / "events.jsonl"
        self.log_path = self.path / "train.log"
        self.last_checkpoint = self.path / "last.ckpt"
        self.best_checkpoint = self.path / "best.ckpt"
        self.stop_path = self.path / "stop"

    def __repr__(self) -> str:
        return f"RunFolder({self.name!r})"

    def frame_path(self, epoch: int) -> Path:
        """The frame file of an epoch."""
        return self.visuals / f"epoch_{epoch}.safetensors"

    def frame_epochs(self) -> list[int]:
        """The epochs whose frame files exist, in order."""
        try:
            names = [path.name for path in self.visuals.iterdir()]
        except OSError:
            return []
        return sorted(int(match[1]) for name in names if (match := _FRAME.fullmatch(name)))

    def read_manifest(self) -> Manifest | None:
        """The manifest, or None where there is none that can be read."""
        try:
            return msgspec.json.decode(self.manifest_path.read_bytes(), type=Manifest)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest atomically."""
        data = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
        with replacing(self.manifest_path) as temporary:
            temporary.write_bytes(data)

    def request_stop(self) -> None:
        """Ask the trainer to finish its batch, save and end.

        Raises:
            UserError: The run folder is gone.
        """
        try:
            self.stop_path.touch()
        except OSError as error:
            raise UserError(f"run {self.name}: cannot write the stop request ({error.strerror})") from None

    def stop_requested(self) -> bool:
        """Whether somebody asked."""
        return self.stop_path.exists()

    def clear_stop_request(self) -> None:
        """Forget an earlier request."""
        self.stop_path.unlink(missing_ok=True)

    def state(self, *, now: float | None = None) -> State:
        """How the run stands, from its journal, its process and its heartbeat."""
        tail = read_tail(self.journal_path)
        manifest = self.read_manifest()
        if tail and isinstance(tail[-1], RunFinished):
            return tail[-1].status
        seen = max((event.time for event in tail), default=0.0)
        if manifest is None:
            age = (now or time.time()) - _modified(self.log_path)
            return "starting" if age < LOST_AFTER_S else "crashed"
        if manifest.process.is_here():
            if not manifest.process.is_alive():
                return "crashed"
        elif (now or time.time()) - max(seen, manifest.created) > LOST_AFTER_S:
            return "crashed"
        return "training" if seen >= manifest.created else "starting"

    def log_tail(self, lines: int = 12) -> list[str]:
        """The last lines of ``train.log``, safe for a terminal; progress bars count as their final state."""
        try:
            with self.log_path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 32_768))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        shown = (printable(line.rstrip().rsplit("\r", 1)[-1]) for line in text.split("\n"))
        return [line for line in shown if line.strip()][-lines:]

    def delete(self) -> None:
        """Remove the run's two folders.

        Raises:
            UserError: The run is live, or a file resists.
        """
        if self.state() in LIVE_STATES:
            raise UserError(f"run {self.name} is still training: stop it first")
        try:
            for folder in (self.path, self.visuals):
                if folder.exists():
                    shutil.rmtree(folder)
        except OSError as error:
            raise UserError(
                f"run {self.name}: cannot delete {printable(str(error.filename))} ({error.strerror})"
            ) from None


def list_runs(root: Path) -> list[RunFolder]:
    """The runs below a root, newest first. A folder counts once it has a manifest, a journal or a log."""
    found: list[tuple[float, RunFolder]] = []
    try:
        entries = list(os.scandir(root / "checkpoints"))
    except OSError:
        return []
    for entry in entries:
        if not RUN_NAME.fullmatch(entry.name):
            continue
        folder = RunFolder(root, entry.name)
        times = [_modified(path) for path in (folder.manifest_path, folder.journal_path, folder.log_path)]
        if any(times):
            manifest = folder.read_manifest()
            found.append((manifest.created if manifest else max(times), folder))
    return [folder for _, folder in sorted(found, key=lambda item: item[0], reverse=True)]


def open_run(root: Path, name: str) -> RunFolder:
    """An existing run.

    Raises:
        UserError: There is none of that name; the message lists some that exist.
    """
    folder = RunFolder(root, name)
    if not (folder.manifest_path.exists() or folder.journal_path.exists() or folder.log_path.exists()):
        known = ", ".join(run.name for run in list_runs(root)[:5])
        remedy = f"known runs: {known}" if known else "there are no runs yet; `facegender train` starts one"
        raise UserError(f"no run {name} in {printable(str(root / 'checkpoints'))}: {remedy}")
    return folder


def create_run(root: Path, name: str | None = None) -> RunFolder:
    """A run folder that no trainer has used yet; without a name one is drawn.

    A folder that holds nothing but ``train.log`` is taken over: whoever starts a trainer in the background makes it
    to have a place for the trainer's output.

    Raises:
        UserError: The name is taken or no name for a folder, or the root cannot be written.
    """
    names = iter([name]) if name else _fresh_names()
    for candidate in names:
        folder = RunFolder(root, candidate)
        try:
            folder.path.mkdir(parents=True)
            folder.visuals.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            if name and folder.path.is_dir() and {path.name for path in folder.path.iterdir()} <= {"train.log"}:
                folder.visuals.mkdir(parents=True, exist_ok=True)
                return folder
            continue
        except OSError as error:
            raise UserError(
                f"cannot write below {printable(str(root))} ({error.strerror}): choose another --root"
            ) from None
        return folder
    raise UserError(f"run {name} exists already: choose another --run, or --resume {name}")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends without an exception."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


_ANIMALS = [
    "badger",
    "beaver",
    "bison",
    "crane",
    "curlew",
    "dolphin",
    "dormouse",
    "eagle",
    "egret",
    "falcon",
    "ferret",
    "finch",
    "fox",
    "gecko",
    "gull",
    "hare",
    "heron",
    "ibex",
    "jay",
    "kestrel",
    "koala",
    "lark",
    "lemur",
    "lynx",
    "marmot",
    "marten",
    "mole",
    "moose",
    "newt",
    "osprey",
    "otter",
    "owl",
    "panda",
    "pika",
    "plover",
    "puffin",
    "quail",
    "raven",
    "robin",
    "seal",
    "shrew",
    "sparrow",
    "stoat",
    "stork",
    "swan",
    "swift",
    "tapir",
    "tern",
    "toad",
    "vole",
    "walrus",
    "weasel",
    "wombat",
    "wren",
    "zebra",
]


def _fresh_names() -> Iterator[str]:
    generator = random.Random()
    while True:
        yield f"{generator.choice(_ANIMALS)}-{generator.randint(1, 999)}"


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
