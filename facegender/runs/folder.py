"""A run folder: its files, its trainer, its state, and the stop request.

``checkpoints/<run>/`` has ``run.json`` (the manifest), ``events.jsonl`` (the journal), ``photographs.json``,
``train.log``, ``note.txt``, the checkpoints, ``requests/`` and the file ``lock``; ``visuals/<run>/`` has the pictures.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import random
import re
import shutil
from pathlib import Path
from typing import Any, Literal

import msgspec

from facegender.runs.config import RUN_NAME, TrainConfig, check_run_name
from facegender.runs.events import RunFinished
from facegender.runs.journal import read_tail
from facegender.runs.lock import Process, RunLock, is_fresh, modified
from facegender.support.errors import UserError
from facegender.support.files import (
    READ_ONLY_VARIABLE,
    NotRegular,
    exists,
    is_folder,
    make_private_folder,
    open_regular,
    read_end,
    read_regular,
    replacing,
)
from facegender.support.text import one_line, printable, shell_command

_ANIMALS = (
    "badger", "beaver", "bison", "crane", "curlew", "dolphin", "dormouse", "eagle", "egret", "falcon", "ferret",
    "finch", "fox", "gecko", "gull", "hare", "heron", "ibex", "jay", "kestrel", "koala", "lark", "lemur", "lynx",
    "marmot", "marten", "mole", "moose", "newt", "osprey", "otter", "owl", "panda", "pika", "plover", "puffin",
    "quail", "raven", "robin", "seal", "shrew", "sparrow", "stoat", "stork", "swan", "swift", "tapir", "tern", "toad",
    "vole", "walrus", "weasel", "wombat", "wren", "zebra",
)  # fmt: skip

MANIFEST_VERSION = 1
HEARTBEAT_S = 5.0
MAX_NOTE = 500
"""Characters of a note at most."""

State = Literal["starting", "training", "completed", "stopped", "failed", "crashed"]
LIVE_STATES: tuple[State, ...] = ("starting", "training")

INITIAL = -1
"""The "epoch" of the initial weights, before the first step. People see it as epoch 0."""

_FRAME = re.compile(r"epoch_(\d+)\.safetensors")
_PREDICTIONS = re.compile(r"epoch_(\d+)_predictions\.safetensors")


class Skipped(msgspec.Struct, frozen=True):
    """A file of the data folder that no photograph could be read from."""

    file: str
    reason: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """``run.json``.

    Attributes:
        created: Seconds since 1970.
        program: Name and version of the program that wrote the manifest last.
        data: The folder that was read, or "demo faces", or e.g. "script train.py".
        data_digest: A hash of the photographs and their labels, which tells whether they are still the same.
        parameters: Number of the network's parameters.
        layers: Names of the convolutions in the order of the forward pass.
        skipped: Files that no photograph could be read from.
        near_copies: Groups of content hashes that show the same photograph, and are on the same side of the split.
        script: Name of the script that trains the run, with a `RunRecorder`; empty if this program trains it.
        base_learning_rate: The learning rate from which the schedule starts, if a request has changed it; None for
            that of the configuration.
        version: Version of this file's format; raised when an older program would misread it.
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
    near_copies: list[list[str]] = []
    script: str = ""
    base_learning_rate: float | None = None
    version: int = MANIFEST_VERSION


def trained_by_script(manifest: Manifest) -> str:
    """Say in a clause that this program cannot resume a run or predict with it."""
    return f"run {one_line(manifest.run)} was trained by its own script ({one_line(manifest.script)})"


def require_resumable(manifest: Manifest) -> None:
    """Check that this program trained a run.

    Raises:
        UserError: Somebody's own script did.
    """
    if manifest.script:
        raise UserError(f"{trained_by_script(manifest)}: resume it there, with trainer.fit(..., ckpt_path=...)")


def frame_name(epoch: int) -> str:
    """The name of a frame's files without what follows it, e.g. "epoch_3"."""
    return "initial" if epoch == INITIAL else f"epoch_{epoch}"


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
        self.note_path = self.path / "note.txt"
        self.requests_path = self.path / "requests"
        self.photographs_path = self.path / "photographs.json"
        self.lock = RunLock(self.path / "lock")

    def make_visuals(self) -> None:
        """Make the folder of the pictures where it is missing.

        Raises:
            OSError: It cannot be made, or a symbolic link stands in its place.
        """
        if self.visuals.is_symlink():
            raise NotRegular(errno.ELOOP, f"visuals/{self.name} is a symbolic link", str(self.visuals))
        with contextlib.suppress(FileExistsError):
            make_private_folder(self.visuals)

    def refuse_links(self) -> None:
        """Check that whoever writes to this folder writes to nothing else; make the log and the folder of pictures.

        Raises:
            NotRegular: A symbolic link, a pipe or the like stands where the trainer appends or makes files.
            OSError: The log or the folder cannot be made.
        """
        self.make_visuals()
        if os.path.lexists(self.journal_path):
            open_regular(self.journal_path, append=True).close()
        open_regular(self.log_path, append=True).close()

    def frame_path(self, epoch: int) -> Path:
        """The frame file of an epoch, counted from 0, or of the `INITIAL` weights."""
        return self.visuals / f"{frame_name(epoch)}.safetensors"

    def frame_epochs(self) -> list[int]:
        """The epochs whose frame files exist, in order and counted from 0, after the `INITIAL` weights."""
        initial = [INITIAL] if exists(self.frame_path(INITIAL)) else []
        return initial + self._epochs_of(_FRAME)

    def predictions_path(self, epoch: int) -> Path:
        """The file of an epoch's predictions, counted from 0, see `facegender.runs.predictions`."""
        return self.visuals / f"epoch_{epoch}_predictions.safetensors"

    def prediction_epochs(self) -> list[int]:
        """The epochs whose files of predictions exist, in order and counted from 0."""
        return self._epochs_of(_PREDICTIONS)

    def _epochs_of(self, pattern: re.Pattern[str]) -> list[int]:
        try:
            names = [path.name for path in self.visuals.iterdir()]
        except OSError:
            return []
        return sorted(int(match[1]) for name in names if (match := pattern.fullmatch(name)))

    def read_manifest(self) -> Manifest | None:
        """Read the manifest. Fields that this version does not know are skipped.

        Returns:
            None where there is none that this version can read.
        """
        try:
            manifest = msgspec.json.decode(read_regular(self.manifest_path), type=Manifest)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return manifest if manifest.version <= MANIFEST_VERSION else None

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest atomically, keeping the fields of the old file that this version does not know.

        It is flushed to the disk, because a run whose manifest a power loss has emptied cannot be resumed.
        """
        old, new = self.read_plain_manifest(), msgspec.to_builtins(manifest)
        if isinstance(old_config := old.get("config"), dict):
            new["config"] = {**old_config, **new["config"]}
        self._replace_manifest({**old, **new})

    def _replace_manifest(self, plain: dict[str, Any]) -> None:
        with replacing(self.manifest_path, durable=True) as temporary:
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(plain), indent=1))

    def read_plain_manifest(self) -> dict[str, Any]:
        """Read the manifest as it stands, also one of a newer version; empty where none can be read."""
        try:
            return msgspec.json.decode(read_regular(self.manifest_path), type=dict[str, Any])
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}

    def read_note(self) -> str:
        """Read what the user wrote about the run, one line that is safe for a terminal; "" if nothing."""
        try:
            with open_regular(self.note_path) as file:
                return one_line(file.read(4 * MAX_NOTE).decode("utf-8", "replace"))[:MAX_NOTE]
        except OSError:
            return ""

    def write_note(self, text: str) -> None:
        """Replace the note by a text, which becomes one line; an empty text removes it.

        The note has a file of its own, because the trainer replaces the manifest.

        Raises:
            UserError: The text is longer than `MAX_NOTE` characters, or the file cannot be written.
        """
        text = one_line(text)
        if len(text) > MAX_NOTE:
            raise UserError(f"run {self.name}: a note has at most {MAX_NOTE} characters, this one has {len(text)}")
        try:
            if text:
                with replacing(self.note_path) as temporary:
                    temporary.write_text(text + "\n", encoding="utf-8")
            else:
                self.note_path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"run {self.name}: cannot write the note ({error.strerror})") from None

    def request_stop(self) -> None:
        """Ask the trainer to finish its batch, save and end.

        Raises:
            UserError: The run folder is gone.
        """
        try:
            open_regular(self.stop_path, append=True).close()
        except OSError as error:
            raise UserError(f"run {self.name}: cannot write the stop request ({error.strerror})") from None

    def stop_requested(self) -> bool:
        """Tell whether somebody asked the trainer to stop."""
        return exists(self.stop_path)

    def is_untouched(self) -> bool:
        """Tell whether no trainer has left anything in the folder.

        Whoever starts a trainer in the background makes the folder first, to have a place for its output, and may have
        asked it to stop before it began.

        Raises:
            OSError: The folder cannot be read.
        """
        names = {path.name for path in self.path.iterdir() if not path.name.startswith(".")}
        # Earlier versions had a file "claim" in the place of the lock.
        asked = {self.stop_path.name, self.requests_path.name}
        return names <= {self.log_path.name, self.lock.path.name, "claim", *asked}

    def state(self, *, now: float | None = None) -> State:
        """Tell how the run stands: by the journal's last line, else by whether a trainer is at work.

        Args:
            now: Seconds since 1970; the present time if not given.
        """
        tail = read_tail(self.journal_path)
        last = next(tail, None)
        if isinstance(last, RunFinished):
            return last.status
        manifest = self.read_manifest()
        if manifest is None:
            return "starting" if is_fresh([self.log_path], now) else "crashed"
        if not self._has_trainer(manifest.process, now):
            return "crashed"
        began = last is not None and any(event.time >= manifest.created for event in (last, *tail))
        return "training" if began else "starting"

    def _has_trainer(self, process: Process, now: float | None) -> bool:
        held = self.lock.is_held_by_other()
        if held is not None and (held or process.is_local):
            return held
        # The lock tells nothing: the run is one of an earlier version, or another machine's lock is not seen here.
        if held is None and process.is_local:
            import psutil  # takes a while, and the first screen waits for this module

            if not psutil.pid_exists(process.pid):
                return False
        return is_fresh([self.journal_path, self.manifest_path, self.lock.path], now)

    def log_tail(self, lines: int = 12) -> list[str]:
        """The last lines of ``train.log``, safe for a terminal; of a progress bar only its final state."""
        try:
            text = read_end(self.log_path, 32_768).decode("utf-8", "replace")
        except OSError:
            return []
        shown = (printable(line.rstrip().rsplit("\r", 1)[-1]) for line in text.split("\n"))
        return [line for line in shown if line.strip()][-lines:]

    def remove_if_empty(self) -> None:
        """Remove the folders of a run that never began, and those they are in, where only an empty log is in them."""
        with contextlib.suppress(OSError):
            if self.log_path.stat().st_size == 0:
                self.log_path.unlink()
        for path in (self.path, self.visuals, self.path.parent, self.visuals.parent):
            with contextlib.suppress(OSError):
                path.rmdir()

    def rename(self, name: str) -> RunFolder:
        """Give the run another name: rename the folder of checkpoints, that of the pictures, then edit the manifest.

        If the process is killed in between, the run has its new name but no pictures until `open_run` or the list of
        runs calls `finish_rename`.

        Returns:
            The folder under its new name.

        Raises:
            UserError: The run is live, the name is taken or cannot be a folder's name, or the disk refuses.
        """
        renamed = RunFolder(self.root, name)
        self._require_ended()
        if any(map(os.path.lexists, (renamed.path, renamed.visuals))):
            raise UserError(f"run {name} exists already: choose another name")
        self.finish_rename()
        try:
            self.path.rename(renamed.path)
            with contextlib.suppress(FileNotFoundError):  # none, or a list of runs has completed the rename by now
                self.visuals.rename(renamed.visuals)
        except OSError as error:
            raise UserError(f"run {self.name}: cannot rename it to {name} ({error.strerror or error})") from None
        renamed.finish_rename()
        return renamed

    def finish_rename(self) -> None:
        """Complete a rename that was interrupted: the manifest still has the old name, which no run has any more.

        What cannot be completed, e.g. on a disk that is read-only, is left as it is, and so is everything where
        `READ_ONLY_VARIABLE` is set.
        """
        if os.environ.get(READ_ONLY_VARIABLE):
            return
        manifest = self.read_plain_manifest()
        old_name = manifest.get("run")
        if old_name == self.name or not isinstance(old_name, str) or not RUN_NAME.fullmatch(old_name):
            return
        old = RunFolder(self.root, old_name)
        if os.path.lexists(old.path):  # this folder is a copy of that run
            return
        with contextlib.suppress(OSError):
            with contextlib.suppress(FileNotFoundError):
                old.visuals.rename(self.visuals)  # fails where there are other pictures already
            self._replace_manifest({**manifest, "run": self.name})

    def _require_ended(self) -> None:
        if self.state() in LIVE_STATES or self.lock.is_held_by_other():
            raise UserError(f"run {self.name} is still training: stop it first")

    def delete(self) -> None:
        """Remove the run's two folders.

        The pictures go first: after a kill in between the run is still listed, and no new run of its name finds them.

        Raises:
            UserError: The run is live, one of its folders is a symbolic link, or a file cannot be removed.
        """
        self.require_deletable()
        try:
            for folder in (self.visuals, self.path):
                if exists(folder):
                    shutil.rmtree(folder)
        except OSError as error:
            raise UserError(
                f"run {self.name}: cannot delete {printable(error.filename or self.path)} ({error.strerror or error})"
            ) from None

    def require_deletable(self) -> None:
        """Check that `delete` may remove the run.

        Raises:
            UserError: The run is live, or one of its folders is a symbolic link.
        """
        for folder in (self.path, self.visuals):
            if folder.is_symlink():
                raise UserError(f"run {self.name}: {printable(folder)} is a symbolic link: remove the link first")
        self._require_ended()


def run_names(root: Path) -> list[str]:
    """The names of the folders below a root that may be runs, in no order."""
    try:
        return [path.name for path in (root / "checkpoints").iterdir() if RUN_NAME.fullmatch(path.name)]
    except OSError:
        return []


def list_runs(root: Path) -> list[RunFolder]:
    """List the runs below a root, newest first. A folder counts once it has a manifest, a journal or a log."""
    found: list[tuple[float, RunFolder]] = []
    for name in run_names(root):
        folder = RunFolder(root, name)
        times = [modified(path) for path in (folder.manifest_path, folder.journal_path, folder.log_path)]
        if any(times):
            manifest = folder.read_manifest()
            found.append((manifest.created if manifest else max(times), folder))
    return [folder for _, folder in sorted(found, key=lambda item: item[0], reverse=True)]


def open_run(root: Path, name: str) -> RunFolder:
    """Find an existing run.

    Raises:
        UserError: There is none of that name, and the message lists some that exist; or a newer version wrote it.
    """
    folder = RunFolder(root, name)
    folder.finish_rename()
    if not any(map(exists, (folder.manifest_path, folder.journal_path, folder.log_path))):
        known = ", ".join(run.name for run in list_runs(root)[:5])
        start = shell_command(root, "train", "--demo")
        remedy = f"known runs: {known}" if known else f"there are no runs yet; start one with: {start}"
        raise UserError(f"no run {name} in {printable(root / 'checkpoints')}: {remedy}")
    version = folder.read_plain_manifest().get("version")
    if isinstance(version, int) and version > MANIFEST_VERSION:
        raise UserError(
            f"run {name} was written by a newer version of this program (run.json of version {version}, known is "
            f"{MANIFEST_VERSION}): update facegender-tui"
        )
    return folder


def create_run(root: Path, name: str | None = None) -> RunFolder:
    """Make a run folder that no trainer has used yet; without a name one is drawn.

    A named folder that exists is used as long as it `is_untouched` and its lock is free. Somebody else may use it as
    well meanwhile: only the lock decides.

    Raises:
        UserError: The name is taken or cannot be a folder's name, or the root cannot be written.
    """
    for _ in range(1) if name else itertools.count():
        folder = RunFolder(root, name or f"{random.choice(_ANIMALS)}-{random.randint(1, 999)}")
        try:
            try:
                make_private_folder(folder.path)
            except FileExistsError:
                taken = not is_folder(folder.path) or not folder.is_untouched() or folder.lock.is_held_by_other()
                if not name or taken:
                    continue
            folder.make_visuals()
        except OSError as error:
            raise UserError(f"cannot write below {printable(root)} ({error.strerror}): choose another --root") from None
        return folder
    resume = shell_command(root, "train", f"--resume={name}")
    raise UserError(f"run {name} exists already: choose another --run, or resume it with: {resume}")
