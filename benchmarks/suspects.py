"""How many wrong labels `facegender suspects` finds: some labels of a folder are swapped, and a run is trained on them.

``python -m benchmarks.suspects FOLDER`` makes a copy of the folder (``female/`` and ``male/``, as symbolic links) with
40 labels swapped, trains the tuned recipe at 128 px for 20 epochs on it, and counts how many of the swapped photographs
are among the first 80 of the ranking. Beside it is the plain rule: photographs that the network gets wrong with the
highest confidence, in the last and in the best epoch. ``--swap 0`` trains on the labels as they are and prints the
first suspects. ``--scratch`` keeps the run; where it has one already, nothing is trained again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.machine import description
from facegender.evaluation.suspects import PARTS, margins_of, rank_suspects
from facegender.runs.events import EpochFinished
from facegender.runs.folder import RunFolder
from facegender.runs.journal import read_kinds
from facegender.runs.photographs import read_photographs
from facegender.runs.predictions import read_predictions
from facegender.support.files import exists

CLASSES = ("female", "male")


def swap_labels(folder: Path, copy: Path, count: int, seed: int) -> set[str]:
    """Make a copy of a folder in which so many photographs are filed under the other class.

    Returns:
        Their names in the copy, relative to it.
    """
    photographs = [(label, path) for label in CLASSES for path in sorted((folder / label).iterdir())]
    swapped = set(np.random.default_rng(seed).choice(len(photographs), count, replace=False).tolist())
    names = set()
    for number, (label, path) in enumerate(photographs):
        shown = CLASSES[1 - CLASSES.index(label)] if number in swapped else label
        link = copy / shown / f"{label[0]}_{path.name}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
        if number in swapped:
            names.add(f"{shown}/{link.name}")
    return names


def by_confidence(folder: RunFolder, epoch: int) -> list[str]:
    """The photographs that the network got wrong in one epoch, with the highest confidence first."""
    photographs, predictions = read_photographs(folder), read_predictions(folder.predictions_path(epoch))
    assert photographs is not None
    margins = np.concatenate([margins_of(predictions.logits, predictions.labels), predictions.margins])
    names = [*photographs.validation, *photographs.train]
    return [names[index] for index in np.argsort(margins, kind="stable") if margins[index] < 0]


def rankings(folder: RunFolder) -> dict[str, list[str]]:
    """The photographs as each rule ranks them."""
    finished = [one for one in read_kinds(folder.journal_path, EpochFinished) if isinstance(one, EpochFinished)]
    best = max(finished, key=lambda one: one.validation_accuracy).epoch
    with mock.patch("facegender.evaluation.suspects.epoch_weights", lambda epochs: np.ones(len(epochs))):
        unweighted = [one.file for one in rank_suspects(folder)]
    by_rule = {
        "margin over all epochs": [one.file for one in rank_suspects(folder)],
        "the same, all epochs alike": unweighted,
        "wrong and confident, last epoch": by_confidence(folder, finished[-1].epoch),
        f"wrong and confident, best epoch ({best + 1})": by_confidence(folder, best),
    }
    for part in PARTS:
        by_rule[f"margin over all epochs, {part}"] = [one.file for one in rank_suspects(folder, [part])]
    return by_rule


def found(ranked: Sequence[str], swapped: set[str], first: int) -> int:
    """How many of the swapped photographs are among the first."""
    return len(swapped & set(ranked[:first]))


def main() -> None:
    """Train, unless that has been done, and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.suspects")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--swap", type=int, default=40, help="labels to swap (default: 40)")
    parser.add_argument("--first", type=int, default=80, help="of the ranking (default: 80)")
    parser.add_argument("--seed", type=int, default=0, help="of the labels that are swapped, and of the run")
    parser.add_argument("--recipe", default="tuned")
    parser.add_argument("--size", type=int, default=128, help="pixels a side (default: 128)")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--scratch", type=Path, help="folder of the copy and the run (default: a temporary one)")
    parser.add_argument("--json", type=Path, help="keep the table in this file")
    given = parser.parse_args()
    print(description())
    with tempfile.TemporaryDirectory() as temporary:
        scratch = given.scratch or Path(temporary)
        row = _measure(given, scratch)
    if given.json:
        given.json.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


def _measure(given: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    folder, copy = RunFolder(scratch, "run"), scratch / "photographs"
    listed = scratch / "swapped.json"
    if not exists(folder.path):
        swapped = swap_labels(given.folder, copy, given.swap, given.seed)
        listed.write_text(json.dumps(sorted(swapped)), encoding="utf-8")
        options = {
            "data": copy, "root": scratch, "run": "run", "recipe": given.recipe, "image-size": given.size,
            "epochs": given.epochs, "seed": given.seed, "visualize-every": 0,
        }  # fmt: skip
        command = ["facegender", "train", *(f"--{name}={value}" for name, value in options.items())]
        subprocess.run([sys.executable, "-m", *command], check=True)
    swapped = set(json.loads(listed.read_text(encoding="utf-8")))
    if not swapped:
        for number, suspect in enumerate(rank_suspects(folder, first=given.first), 1):
            print(f"{number:>4}  {suspect.part:<10}  {suspect.file}: {suspect.label}, {suspect.reason}")
        return {}
    photographs = read_photographs(folder)
    assert photographs is not None
    parts = {"validation": set(photographs.validation), "train": set(photographs.train)}
    results = {}
    print(f"\nof {len(swapped)} swapped labels, in the first {given.first // 2}, {given.first}, {2 * given.first}:")
    for rule, ranked in rankings(folder).items():
        there = swapped & next((names for part, names in parts.items() if rule.endswith(part)), swapped)
        counts = [found(ranked, swapped, first) for first in (given.first // 2, given.first, 2 * given.first)]
        results[rule] = counts
        print(f"{rule:<36} {counts[0]:>4} {counts[1]:>4} {counts[2]:>4}   of {len(there)}")
    about = {name: getattr(given, name) for name in ("recipe", "size", "epochs", "seed", "swap", "first")}
    return {"machine": description(), **about, "found": results}


if __name__ == "__main__":
    main()
