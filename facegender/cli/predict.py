"""``facegender predict``: files, folders or typed names to lines of text, JSON or CSV."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from facegender.classifier import Classifier, Prediction, load_classifier
from facegender.data.dataset import is_system_name
from facegender.data.image import UnreadableImage, open_image
from facegender.rendering.pictures import heat_overlay, write_png
from facegender.runs.checkpoints import Checkpoint, find_checkpoint
from facegender.support.errors import UserError, print_error
from facegender.support.files import exists, expanded, is_folder, typed_path
from facegender.support.text import counted, printable

Form = Literal["text", "json", "csv"]

MAX_NAME_BYTES = 200
"""Of a photograph's name in that of its heatmap; most disks take 255 in all, while it is written with some added."""

# Endings of names that are passed over in folders; whatever is named itself is tried.
_DOCUMENTS = {"csv", "doc", "docx", "htm", "html", "ini", "json", "jsonl", "log", "md", "pdf", "rst", "rtf", "toml"}
_DOCUMENTS |= {"tsv", "txt", "xls", "xlsx", "xml", "yaml", "yml"}
_PROGRAMS = {"c", "cfg", "cpp", "h", "ipynb", "js", "lock", "py", "pyc", "r", "sh", "so", "sqlite"}
_NUMBERS = {"bin", "ckpt", "h5", "npy", "npz", "onnx", "parquet", "pickle", "pkl", "pt", "pth", "safetensors"}
_ARCHIVES = {"7z", "bz2", "gz", "rar", "tar", "tgz", "xz", "zip", "zst"}
_RECORDINGS = {"avi", "m4a", "m4v", "mkv", "mov", "mp3", "mp4", "ogg", "wav", "webm"}
_NO_PICTURES = _DOCUMENTS | _PROGRAMS | _NUMBERS | _ARCHIVES | _RECORDINGS


def classify_all(root: Path, paths: Sequence[Path], which: str | None, form: Form, heatmaps: Path | None) -> bool:
    """Classify files and folders, or what is typed if there are none, and print what the network says.

    Args:
        which: As for `find_checkpoint`.
        heatmaps: Folder for pictures of where the network looked.

    Returns:
        Whether every file could be read; each that could not has got a line on stderr.

    Raises:
        UserError: There is no checkpoint, or a picture cannot be saved.
    """
    if heatmaps is not None:
        heatmaps = expanded(heatmaps)
        try:
            heatmaps.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--heatmap {printable(heatmaps)}: {error.strerror}; name a folder to write in") from None
    checkpoint = find_checkpoint(root, which)
    report = _Report(checkpoint, load_classifier(checkpoint.path), form, heatmaps)
    if not paths:
        return report.ask()
    single = len(paths) == 1 and not is_folder(paths[0])
    for path in _files(paths, report.refuse):
        report.classify(path, titled=not single)
    if form == "text" and sys.stdout.isatty() and not single:
        print_error(report.summary())
    return report.complete


class _Report:
    """Classifies one file after another and prints it."""

    def __init__(self, checkpoint: Checkpoint, classifier: Classifier, form: Form, heatmaps: Path | None) -> None:
        self._checkpoint = checkpoint
        self._classifier = classifier
        self._form = form
        self._heatmaps = heatmaps
        self._labels = dict.fromkeys(classifier.classes, 0)
        self._refused = 0

    def refuse(self, path: Path, reason: str) -> None:
        """Say why there is no answer, below those that there were."""
        self._refused += 1
        sys.stdout.flush()
        print_error(f"{printable(path)}: {reason}")

    @property
    def complete(self) -> bool:
        """Whether every file could be read."""
        return not self._refused

    @property
    def _printed(self) -> int:
        return sum(self._labels.values())

    def summary(self) -> str:
        """How many there were of each answer."""
        parts = [f"{count} {label}" for label, count in self._labels.items()]
        refused = f"; {self._refused} could not be read" if self._refused else ""
        return f"{counted(self._printed, 'photograph')}: {', '.join(parts)}{refused}"

    def classify(self, path: Path, *, titled: bool) -> None:
        try:
            image = open_image(path)
        except UnreadableImage as error:
            self.refuse(path, error.reason)
            return
        prediction = self._classifier.classify(image)
        if not self._printed:
            print_error(self._checkpoint.describe(prediction.epoch))
        heatmap = None
        try:
            if self._heatmaps is not None:
                heatmap = self._save_heatmap(self._heatmaps, path, image, prediction)
        finally:
            self._print(path, prediction, titled, heatmap)

    def ask(self) -> bool:
        """Classify what is typed until an empty line or the end of the input."""
        typed = sys.stdin.isatty()
        if typed:
            with contextlib.suppress(ImportError):
                import readline

                readline.set_completer_delims("\n")
                readline.parse_and_bind("tab: complete")
        while True:
            try:
                line = input("photograph: " if typed else "")
            except (EOFError, UnicodeDecodeError):
                break
            except KeyboardInterrupt:
                print()  # so that the shell's prompt has a line of its own
                raise
            if not line.strip():
                break
            self.classify(typed_path(line, Path()), titled=False)
        return self.complete or typed

    def _print(self, path: Path, prediction: Prediction, titled: bool, heatmap: Path | None) -> None:
        name = printable(path)
        shares = dict(zip(prediction.classes, prediction.probabilities, strict=True))
        if self._form == "json":
            row = {
                "file": _decoded(path),
                "label": prediction.label,
                "confidence": prediction.confidence,
                "probabilities": shares,
                "checkpoint": str(prediction.checkpoint),
                "epoch": prediction.epoch,
            } | ({"heatmap": _decoded(heatmap)} if heatmap else {})
            print(json.dumps(row))  # with everything but plain characters escaped, so that no terminal obeys it
        elif self._form == "csv":
            more = ["heatmap"] if self._heatmaps is not None else []
            if not self._printed:
                print(_csv_line(["file", "label", "confidence", *prediction.classes, "checkpoint", "epoch", *more]))
            numbers = [f"{number:.6f}" for number in (prediction.confidence, *shares.values())]
            origin = [printable(prediction.checkpoint), str(prediction.epoch)]
            print(_csv_line([name, prediction.label, *numbers, *origin, *([printable(heatmap or "")] if more else [])]))
        else:
            if self._printed:
                print()
            print("\n".join([*([name] if titled else []), *prediction.lines()]))
        self._labels[prediction.label] += 1

    def _save_heatmap(self, folder: Path, path: Path, image: Image.Image, prediction: Prediction) -> Path:
        pixels = self._classifier.pixels(image)
        heat = self._classifier.heatmap(pixels, prediction.classes.index(prediction.label))
        blend = Image.fromarray(heat_overlay(pixels, np.rint(heat * 255).astype(np.uint8)))
        scale = min(1.0, 1024 / max(image.size))
        picture = blend.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
        target = _free(folder, path.name)
        try:
            write_png(target, picture)
        except OSError as error:
            raise UserError(f"--heatmap {printable(target)}: {error.strerror}; name a folder to write in") from None
        return target


def _decoded(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "replace")


def _free(folder: Path, name: str) -> Path:
    """A file name in a folder that no picture of this or an earlier call has, and that is not too long for any disk."""
    name = os.fsdecode(os.fsencode(name)[:MAX_NAME_BYTES])
    number, target = 1, folder / f"{name}.png"
    while exists(target):
        number += 1
        target = folder / f"{name}.{number}.png"
    return target


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def _files(paths: Sequence[Path], refuse: Callable[[Path, str], None]) -> Iterator[Path]:
    """The files, and those in and below the folders, by name.

    In folders, hidden and system files are passed over without a word, and what its name says is no picture with one.

    Args:
        refuse: Is told of a folder that has none.
    """
    for path in paths:
        if not is_folder(path):
            yield path
            continue
        count = passed_over = 0
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not is_system_name(name))
            for name in sorted(names):
                if is_system_name(name):
                    continue
                if Path(name).suffix.lower().removeprefix(".") in _NO_PICTURES:
                    passed_over += 1
                    continue
                count += 1
                yield Path(folder, name)
        if not count:
            refuse(path, "no photographs in this folder; name one that has some")
        if passed_over:
            files = "1 file that is no picture" if passed_over == 1 else f"{passed_over} files that are no pictures"
            print_error(f"{printable(path)}: passed over {files}")
