"""A run folder: where a run's files are, who runs it, how it stands, and the stop request.

``checkpoints/<run>/`` has ``run.json`` (the manifest), ``events.jsonl``, ``train.log``, the checkpoints, and while a
trainer works on it ``claim``; ``visuals/<run>/`` has the pictures.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from facegender.runs.config import RUN_NAME, TrainConfig, check_run_name
from facegender.runs.events import RunFinished
from facegender.runs.journal import read_tail
from facegender.runs.lock import ClaimFile, is_fresh, modified
from facegender.runs.process import Process
from facegender.support.errors import UserError
from facegender.support.files import exists, is_folder, open_regular, read_regular, replacing
from facegender.support.text import printable

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


def fresh_names() -> Iterator[str]:
    """Yield names without end: an animal and a number, e.g. "otter-3"."""
    generator = random.Random()
    while True:
        yield f"{generator.choice(_ANIMALS)}-{generator.randint(1, 999)}"


MANIFEST_VERSION = 1
HEARTBEAT_S = 5.0

State = Literal["starting", "training", "completed", "stopped", "failed", "crashed"]
LIVE_STATES: tuple[State, ...] = ("starting", "training")

_FRAME = re.compile(r"epoch_(\d+)\.safetensors")


class Skipped(msgspec.Struct, frozen=True):
    """A file of the data folder that no photograph could be read from."""

    file: str
    reason: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """``run.json``.

    Attributes:
        process: That trains or last trained it.
        created: Seconds since 1970.
        program: Name and version of what wrote it last.
        data: The folder that was read, or "demo faces".
        data_digest: Of the photographs and their labels; tells whether they are still the same.
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
        self._manifest: Manifest | None = None
        self.claim = ClaimFile(self.path / "claim", [self.journal_path])

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
            return msgspec.json.decode(read_regular(self.manifest_path), type=Manifest)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest atomically."""
        data = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
        with replacing(self.manifest_path) as temporary:
            temporary.write_bytes(data)
        self._manifest = manifest

    def restore_manifest(self) -> None:
        """Write the manifest again that this object has written last, if somebody has removed it."""
        if self._manifest is not None and not exists(self.manifest_path):
            self.write_manifest(self._manifest)

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
        return exists(self.stop_path)

    def clear_stop_request(self) -> None:
        """Forget an earlier request.

        Raises:
            OSError: The disk is gone.
        """
        self.stop_path.unlink(missing_ok=True)

    def is_untouched(self) -> bool:
        """Whether no trainer has left anything in the folder.

        Whoever starts a trainer in the background makes the folder first, to have a place for its output, and may have
        asked it to stop before it began.

        Raises:
            OSError: It cannot be looked into.
        """
        names = {path.name for path in self.path.iterdir() if not path.name.startswith(".")}
        return names <= {self.log_path.name, self.stop_path.name, "claim"}

    def state(self, *, now: float | None = None) -> State:
        """How the run stands: the journal's last word, else its process, else whether anything was written lately.

        Args:
            now: Seconds since 1970.
        """
        tail = read_tail(self.journal_path)
        manifest = self.read_manifest()
        if tail and isinstance(tail[-1], RunFinished):
            return tail[-1].status
        if manifest is None:
            return "starting" if is_fresh([self.log_path], now) else "crashed"
        presence = manifest.process.presence()
        if presence == "out of sight" and not is_fresh([self.journal_path, self.manifest_path, self.claim.path], now):
            presence = "gone"
        if presence == "gone":
            return "crashed"
        seen = max((event.time for event in tail), default=0.0)
        return "training" if seen >= manifest.created else "starting"

    def log_tail(self, lines: int = 12) -> list[str]:
        """The last lines of ``train.log``, safe for a terminal; progress bars count as their final state."""
        try:
            with open_regular(self.log_path) as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 32_768))
                text = file.readall().decode("utf-8", "replace")
        except OSError:
            return []
        shown = (printable(line.rstrip().rsplit("\r", 1)[-1]) for line in text.split("\n"))
        return [line for line in shown if line.strip()][-lines:]

    def delete(self) -> None:
        """Remove the run's two folders.

        Raises:
            UserError: The run is live, or a file resists.
        """
        if self.state() in LIVE_STATES or self.claim.is_held():
            raise UserError(f"run {self.name} is still training: stop it first")
        try:
            for folder in (self.path, self.visuals):
                if exists(folder):
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
        times = [modified(path) for path in (folder.manifest_path, folder.journal_path, folder.log_path)]
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
    if not any(map(exists, (folder.manifest_path, folder.journal_path, folder.log_path))):
        known = ", ".join(run.name for run in list_runs(root)[:5])
        remedy = f"known runs: {known}" if known else "there are no runs yet; `facegender train` starts one"
        raise UserError(f"no run {name} in {printable(root / 'checkpoints')}: {remedy}")
    return folder


def create_run(root: Path, name: str | None = None) -> RunFolder:
    """A run folder that no trainer has used yet; without a name one is drawn.

    A named folder that exists is taken over as long as it `is_untouched` and no trainer has claimed it. This is no
    promise that nobody else takes it over as well: that is what the claim is for.

    Raises:
        UserError: The name is taken or no name for a folder, or the root cannot be written.
    """
    names = iter([name]) if name else fresh_names()
    for candidate in names:
        folder = RunFolder(root, candidate)
        try:
            try:
                folder.path.mkdir(parents=True)
            except FileExistsError:
                if not name or not is_folder(folder.path) or not folder.is_untouched() or folder.claim.is_held():
                    continue
            folder.visuals.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write below {printable(root)} ({error.strerror}): choose another --root") from None
        return folder
    raise UserError(f"run {name} exists already: choose another --run, or --resume {name}")
