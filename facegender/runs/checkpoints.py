"""Which checkpoint answers: one rule for the command line and the interface.

It is the best checkpoint of the run, or the newest while the run trains.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from facegender.runs.config import RUN_NAME
from facegender.runs.folder import LIVE_STATES, RunFolder, list_runs, open_run, trained_by_script
from facegender.support.errors import UserError
from facegender.support.files import expanded, is_file
from facegender.support.text import printable

CheckpointChoice = Literal["auto", "best", "last"]
"""The best checkpoint of a run, its newest one, or the rule of this module."""


class Checkpoint(msgspec.Struct, frozen=True):
    """A checkpoint file and the run that it belongs to, if any."""

    path: Path
    run: RunFolder | None

    def describe(self, epoch: int, temperature: float = 1.0) -> str:
        """Name the run, the file and the epoch, e.g. "run otter-3, best.ckpt, epoch 3 of 10".

        Args:
            epoch: The epoch that it was saved in, counted from 0.
            temperature: Of its calibration; 1 means that it is not calibrated.
        """
        calibrated = "" if temperature == 1.0 else f", calibrated (temperature {temperature:.3g})"
        if self.run is None:
            return f"{printable(self.path)}, epoch {epoch + 1}{calibrated}"
        text = f"run {self.run.name}, {printable(self.path.name)}, epoch {epoch + 1}"
        manifest = self.run.read_manifest()
        if manifest is None:
            return text + calibrated
        notes = [", trained on demo faces"] if manifest.config.demo else []
        notes += [", the run has failed"] if self.run.state() == "failed" else []
        return f"{text} of {manifest.config.epochs}{calibrated}{''.join(notes)}"


def find_checkpoint(root: Path, name: str | None = None) -> Checkpoint:
    """Find the checkpoint that a person means.

    Args:
        root: Folder with ``checkpoints/``.
        name: A run or a file; None means the newest run with a checkpoint. A run on demo faces, or one that failed, is
            used only if there is no other.

    Raises:
        UserError: There is none.
    """
    if name is None:
        candidates = [run for run in list_runs(root) if _existing(run)]
        if not candidates:
            raise UserError(
                f"no run with a checkpoint below {printable(root.absolute())}: train one, say where the runs are with "
                "--root, or name a file with --checkpoint"
            )
        run = min(candidates, key=_drawbacks)
        return Checkpoint(checkpoint_of(run), run)
    path = expanded(name)
    if os.sep not in name and path.suffix != ".ckpt" and not is_file(path):
        run = open_run(root, name)
        return Checkpoint(checkpoint_of(run), run)
    if not is_file(path):
        raise UserError(f"{printable(path)}: no such file; give a run or a checkpoint of one")
    folder = path.absolute().parent
    of_run = folder.parent.name == "checkpoints" and RUN_NAME.fullmatch(folder.name)
    return Checkpoint(path, RunFolder(folder.parent.parent, folder.name) if of_run else None)


def checkpoint_of(run: RunFolder, choice: CheckpointChoice = "auto") -> Path:
    """The checkpoint file of a run.

    Raises:
        UserError: There is none yet.
    """
    wanted = ("last" if run.state() in LIVE_STATES else "best") if choice == "auto" else choice
    preferred = run.last_checkpoint if wanted == "last" else run.best_checkpoint
    found = [path for path in _existing(run) if choice == "auto" or path == preferred]
    if not found:
        if (manifest := run.read_manifest()) is not None and manifest.script:
            raise UserError(f"{trained_by_script(manifest)}, which saves its checkpoints: classify and export there")
        missing = "checkpoint" if choice == "auto" else preferred.name
        raise UserError(f"run {run.name} has no {missing} yet: it saves the first one at the end of its first epoch")
    return preferred if preferred in found else found[0]


def _existing(run: RunFolder) -> list[Path]:
    return [path for path in (run.best_checkpoint, run.last_checkpoint) if is_file(path)]


def _drawbacks(run: RunFolder) -> tuple[bool, bool]:
    """Sorts runs by how well their networks suit a person's photographs, best first."""
    manifest = run.read_manifest()
    return manifest is None or manifest.config.demo, run.state() == "failed"
