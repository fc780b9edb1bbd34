"""``facegender predict``: files, folders or typed names to lines of text, JSON or CSV."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from PIL import Image

from facegender.data.photograph import Unreadable, open_photograph
from facegender.inference import Classifier, Prediction, choose_checkpoint, load_classifier
from facegender.runs.colormaps import VIRIDIS
from facegender.runs.errors import UserError
from facegender.runs.pictures import write_png
from facegender.runs.text import printable

Form = Literal["text", "json", "csv"]

_IGNORED = {"thumbs.db", "desktop.ini"}


def classify_all(root: Path, paths: Sequence[Path], which: str | None, form: Form, heatmaps: Path | None) -> bool:
    """Classify files and folders, or what is typed if there are none, and print what the network says.

    Args:
        which: As for `choose_checkpoint`.
        heatmaps: Folder for pictures of where the network looked.

    Returns:
        Whether every file could be read; each that could not has got a line on stderr.

    Raises:
        UserError: There is no checkpoint, no such folder, or a picture cannot be saved.
    """
    for path in paths:
        if not os.path.lexists(path) and len(paths) == 1:
            raise UserError(f"{printable(str(path))}: no such file; name a photograph or a folder of them")
    if heatmaps is not None:
        try:
            heatmaps.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"--heatmap {printable(str(heatmaps))}: {error.strerror}; name a folder to write in"
            ) from None
    classifier = load_classifier(choose_checkpoint(root, which))
    report = _Report(classifier, form, heatmaps)
    if not paths:
        return report.ask()
    single = len(paths) == 1 and not paths[0].is_dir()
    for path in _files(paths):
        report.classify(path, titled=not single)
    return report.complete


class _Report:
    """Classifies one file after another and prints it."""

    def __init__(self, classifier: Classifier, form: Form, heatmaps: Path | None) -> None:
        self._classifier = classifier
        self._form = form
        self._heatmaps = heatmaps
        self._printed = 0
        self.complete = True

    def classify(self, path: Path, *, titled: bool) -> None:
        try:
            image = open_photograph(path)
        except Unreadable as error:
            self.complete = False
            sys.stdout.flush()
            print(f"facegender: {printable(str(path))}: {error.reason}", file=sys.stderr, flush=True)
            return
        prediction = self._classifier.classify(image)
        self._print(path, prediction, titled)
        if self._heatmaps is not None:
            self._save_heatmap(path, image, prediction)

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
            if not line.strip():
                break
            self.classify(_meant(line), titled=False)
        return self.complete or typed

    def _print(self, path: Path, prediction: Prediction, titled: bool) -> None:
        name = printable(str(path))
        shares = dict(zip(prediction.classes, prediction.probabilities, strict=True))
        if self._form == "json":
            row = {
                "file": os.fsencode(path).decode("utf-8", "replace"),
                "label": prediction.label,
                "confidence": prediction.confidence,
                "probabilities": shares,
                "checkpoint": str(prediction.checkpoint),
                "epoch": prediction.epoch,
            }
            print(msgspec.json.encode(row).decode())
        elif self._form == "csv":
            if not self._printed:
                print(_csv_line(["file", "label", "confidence", *prediction.classes]))
            print(_csv_line([name, prediction.label, *(f"{x:.6f}" for x in (prediction.confidence, *shares.values()))]))
        else:
            if self._printed:
                print()
            print("\n".join([*([name] if titled else []), *prediction.lines()]))
        self._printed += 1

    def _save_heatmap(self, path: Path, image: Image.Image, prediction: Prediction) -> None:
        assert self._heatmaps is not None
        pixels = self._classifier.pixels(image)
        heat = self._classifier.heatmap(pixels, prediction.classes.index(prediction.label))
        # More colour where the network looked more, so that the face stays visible.
        colours = VIRIDIS[np.rint(heat * 255).astype(np.uint8)].astype(np.float32)
        share = (0.15 + 0.5 * heat)[..., None]
        blend = Image.fromarray(np.rint(pixels * (1 - share) + colours * share).astype(np.uint8))
        scale = min(1.0, 1024 / max(image.size))
        picture = blend.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
        target = _free(self._heatmaps, path.name)
        try:
            write_png(target, picture)
        except OSError as error:
            raise UserError(
                f"--heatmap {printable(str(target))}: {error.strerror}; name a folder to write in"
            ) from None


def _free(folder: Path, name: str) -> Path:
    """A file name in a folder that no picture of this or an earlier call has."""
    number, target = 1, folder / f"{name}.png"
    while target.exists():
        number += 1
        target = folder / f"{name}.{number}.png"
    return target


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """The files, and those in and below the folders, by name; hidden and system files in folders are passed over.

    Raises:
        UserError: A folder has none.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        count = 0
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith(".") and name.lower() not in _IGNORED:
                    count += 1
                    yield Path(folder, name)
        if not count:
            raise UserError(f"{printable(str(path))}: no files in this folder; name one with photographs")


def _meant(line: str) -> Path:
    """The path that somebody typed, dragged or pasted: quotes and backslashes of a shell are undone."""
    text = line.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - this one lets "~nobody" stand
    if not path.exists() and "\\" in text:
        path = Path(os.path.expanduser(text.replace("\\ ", " ").replace("\\", "")))  # noqa: PTH111
    return path
