"""``facegender predict``: classify files, folders or typed names; print text, JSON or CSV."""

from __future__ import annotations

import contextlib
import csv as csv_format
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from facegender.cli.options import Json, Root, not_empty, to_path
from facegender.cli.output import make_folder, writing
from facegender.cli.pictures import Graphics, Protocol, print_figure, require_terminal
from facegender.cli.progress import progress_bar
from facegender.runs.checkpoints import Checkpoint, find_checkpoint
from facegender.support.errors import UserError, print_error
from facegender.support.files import exists, is_folder, typed_path
from facegender.support.text import counted, json_line, printable

if TYPE_CHECKING:
    from PIL import Image

    from facegender.classifier import Classifier, Prediction

OutputFormat = Literal["text", "json", "csv"]

MAX_NAME_BYTES = 200
"""Of a photograph's name in that of its heatmap; most file systems allow 255, and temporary names are longer."""
MAX_HEATMAP_PX = 1024

# In folders, files with these extensions are skipped. A file that is named itself is always tried.
_DOCUMENTS = "csv doc docx htm html ini json jsonl log md pdf rst rtf toml tsv txt xls xlsx xml yaml yml"
_PROGRAMS = "c cfg cpp h ipynb js lock py pyc r sh so sqlite"
_NUMBERS = "bin ckpt h5 npy npz onnx parquet pickle pkl pt pth safetensors"
_ARCHIVES = "7z bz2 gz rar tar tgz xz zip zst"
_RECORDINGS = "avi m4a m4v mkv mov mp3 mp4 ogg wav webm"
_SKIPPED_EXTENSIONS = frozenset(" ".join((_DOCUMENTS, _PROGRAMS, _NUMBERS, _ARCHIVES, _RECORDINGS)).split())


def predict(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", parser=to_path, show_default=False, help="Photographs or folders."),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint",
            metavar="RUN|FILE",
            parser=not_empty,
            help="Default: the newest run on photographs: its best checkpoint, or the newest while it trains.",
        ),
    ] = None,
    json: Json = False,
    csv: Annotated[
        bool, typer.Option("--csv", metavar="", help="Print comma-separated values; epochs count from 0.")
    ] = False,
    heatmap: Annotated[
        Path | None,
        typer.Option(
            "--heatmap",
            metavar="DIR",
            parser=to_path,
            help="Save a PNG per photograph that shows which areas influenced the prediction (LayerCAM).",
        ),
    ] = None,
    show: Annotated[
        bool,
        typer.Option(
            "--show", metavar="", help="Draw each photograph and its LayerCAM in the terminal, on standard error."
        ),
    ] = False,
    graphics: Graphics = "auto",
    root: Root = Path(),
) -> None:
    """Classify photographs; without a path, ask for one after another."""
    if json and csv:
        raise UserError("--json and --csv exclude each other: give one of them")
    if show:
        require_terminal(sys.stderr, "leave out --show, or save pictures with --heatmap DIR")
    if paths and not any(map(os.path.lexists, paths)):
        for path in paths:
            print_error(f"{path}: no such file; name a photograph or a folder of them")
        raise typer.Exit(2)
    if heatmap is not None:
        make_folder(heatmap, "--heatmap")
    chosen = find_checkpoint(root, checkpoint)
    from facegender.classifier import load_classifier

    output_format: OutputFormat = "json" if json else "csv" if csv else "text"
    report = _Report(chosen, load_classifier(chosen.path), output_format, heatmap, graphics if show else None)
    if not (report.classify_all(paths) if paths else report.ask()):
        raise typer.Exit(2)


@dataclass
class _Report:
    """Classifies one file after another and prints the predictions.

    Files that cannot be read get a line on stderr. The checkpoint is named there before the first prediction.
    """

    checkpoint: Checkpoint
    classifier: Classifier
    output_format: OutputFormat
    heatmaps: Path | None
    graphics: Protocol | None = None
    counts: Counter[str] = field(default_factory=Counter)
    refused: int = 0

    def classify_all(self, paths: Sequence[Path]) -> bool:
        """Classify files and folders. Returns whether every file could be read."""
        from facegender.data.image import UnreadableImage, open_image

        single = len(paths) == 1 and not is_folder(paths[0])
        found = list(_files(paths))
        files = [item for item in found if isinstance(item, Path)]
        # Pictures are drawn from the pixels, which stay in the processes that classify.
        drawing = self.heatmaps is not None or self.graphics is not None
        answers = iter(()) if drawing else self.classifier.logits(files, open_image)
        # A bar that moves down below lines of JSON would break them where the terminal ends.
        shown = len(files) > 1 and (self.output_format == "text" or not sys.stdout.isatty())
        with progress_bar("classifying", len(files), shown=shown) as advance:
            for item in found:
                if isinstance(item, _Remark):
                    self._remark(item)
                    continue
                if drawing:
                    self._classify(item, titled=not single)
                elif isinstance(answer := next(answers), UnreadableImage):
                    self._refuse(item, str(answer))
                else:
                    self._answer(item, self.classifier.prediction(answer[None]), titled=not single)
                advance()
        if self.output_format == "text" and sys.stdout.isatty() and not single:
            parts = [f"{self.counts[label]} {label}" for label in self.classifier.classes]
            refused = f"; {self.refused} could not be read" if self.refused else ""
            print_error(f"{counted(self.counts.total(), 'photograph')}: {', '.join(parts)}{refused}")
        return not self.refused

    def ask(self) -> bool:
        """Classify what is typed until an empty line or the end of the input.

        Returns:
            Whether every file could be read; True in any case if a person typed the names.
        """
        interactive = sys.stdin.isatty()
        if interactive:
            with contextlib.suppress(ImportError):
                import readline

                readline.set_completer_delims("\n")
                readline.parse_and_bind("tab: complete")
        while True:
            try:
                line = input("photograph: " if interactive else "")
            except (EOFError, UnicodeDecodeError):
                break
            except KeyboardInterrupt:
                print()  # the shell's prompt gets a line of its own
                raise
            if not line.strip():
                break
            self._classify(typed_path(line, Path()), titled=False)
        return interactive or not self.refused

    def _refuse(self, path: Path, reason: str) -> None:
        """Say on stderr why there is no prediction, after those that were printed."""
        self.refused += 1
        sys.stdout.flush()
        print_error(f"{printable(path)}: {reason}")

    def _remark(self, remark: _Remark) -> None:
        if remark.refused:
            self._refuse(remark.path, remark.text)
        else:
            print_error(f"{printable(remark.path)}: {remark.text}")

    def _classify(self, path: Path, *, titled: bool) -> None:
        from facegender.data.image import UnreadableImage, open_image

        try:
            image = open_image(path)
        except UnreadableImage as error:
            self._refuse(path, str(error))
            return
        self._answer(path, self.classifier.classify(image), titled=titled, image=image)

    def _answer(self, path: Path, prediction: Prediction, *, titled: bool, image: Image.Image | None = None) -> None:
        """Print a prediction, and draw the heatmap of an image."""
        if not self.counts.total():
            print_error(self.checkpoint.describe(self.classifier.epoch, self.classifier.temperature))
        heatmap = None
        try:
            if self.heatmaps is not None and image is not None:
                heatmap = self._save_heatmap(self.heatmaps, path, image, prediction)
        finally:
            self._print(path, prediction, titled, heatmap)
        if self.graphics is not None and image is not None:
            self._show(path, image, prediction, self.graphics)

    def _print(self, path: Path, prediction: Prediction, titled: bool, heatmap: Path | None) -> None:
        classifier = self.classifier
        if self.output_format == "json":
            row = {
                "file": _valid_text(path),
                "label": prediction.label,
                "confidence": prediction.confidence,
                "probabilities": dict(zip(prediction.classes, prediction.probabilities, strict=True)),
                "checkpoint": _valid_text(classifier.checkpoint),
                "epoch": classifier.epoch,
            }
            print(json_line(row | ({"heatmap": _valid_text(heatmap)} if heatmap else {})))
        elif self.output_format == "csv":
            write_row = csv_format.writer(sys.stdout, lineterminator="\n").writerow
            if not self.counts.total():
                columns = ["file", "label", "confidence", *prediction.classes, "checkpoint", "epoch"]
                write_row([*columns, *(["heatmap"] if self.heatmaps else [])])
            numbers = [f"{number:.6f}" for number in (prediction.confidence, *prediction.probabilities)]
            cells = [printable(path), prediction.label, *numbers, printable(classifier.checkpoint), classifier.epoch]
            write_row([*cells, *([printable(heatmap or "")] if self.heatmaps else [])])
        else:
            if self.counts.total():
                print()
            print("\n".join([*([printable(path)] if titled else []), *prediction.lines()]))
        self.counts[prediction.label] += 1

    def _save_heatmap(self, folder: Path, path: Path, image: Image.Image, prediction: Prediction) -> Path:
        from facegender.rendering.pages import write_png

        target = _free_name(folder, path.name)
        with writing(target, "--heatmap"):
            write_png(target, self._heatmap(image, prediction))
        return target

    def _heatmap(self, image: Image.Image, prediction: Prediction) -> Image.Image:
        """Draw the LayerCAM of the predicted class over a photograph, in its shape."""
        from PIL import Image

        from facegender.rendering.overlays import heat_overlay

        pixels = self.classifier.pixels(image)
        overlay = Image.fromarray(heat_overlay(pixels, self.classifier.heatmap(pixels, prediction.label)))
        scale = min(1.0, MAX_HEATMAP_PX / max(image.size))
        return overlay.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))

    def _show(self, path: Path, image: Image.Image, prediction: Prediction, graphics: Protocol) -> None:
        """Draw the photograph and its heatmap in the terminal."""
        import numpy as np

        from facegender.rendering.colormaps import VIRIDIS
        from facegender.rendering.figures import figure_of
        from facegender.rendering.views import Tiles

        heatmap = self._heatmap(image, prediction)
        tiles = Tiles(
            pixels=np.stack([np.asarray(image.resize(heatmap.size)), np.asarray(heatmap)]),
            colormap=VIRIDIS,
            low=np.zeros(2, np.float32),
            high=np.ones(2, np.float32),
            scope="layer",
            labels=("photograph", "heatmap"),
        )
        note = f"brighter = more influence on the prediction {prediction.label} (LayerCAM, relative to its maximum)"
        print_figure(figure_of(tiles, str(path), [note]), graphics, sys.stderr)


def _valid_text(path: Path) -> str:
    """A path for JSON, where bytes that are not UTF-8 have no place."""
    return os.fsencode(path).decode("utf-8", "replace")


def _free_name(folder: Path, name: str) -> Path:
    """The path of a new picture that overwrites none and whose name is not too long for any file system."""
    name = os.fsdecode(os.fsencode(name)[:MAX_NAME_BYTES])
    number, target = 1, folder / f"{name}.png"
    while exists(target):
        number += 1
        target = folder / f"{name}.{number}.png"
    return target


class _Remark(NamedTuple):
    """What is printed about a folder, after the predictions of the files before it.

    Attributes:
        refused: The folder gave no photographs.
    """

    path: Path
    text: str
    refused: bool


def _files(paths: Sequence[Path]) -> Iterator[Path | _Remark]:
    """The files, and those in and below the folders, by name; and a remark where something is missing.

    In folders, hidden and system files are skipped silently; files with another program's extension are counted.
    """
    from facegender.data.dataset import is_system_name

    for path in paths:
        if not is_folder(path):
            yield path
            continue
        found = skipped = 0
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not is_system_name(name))
            files = [Path(folder, name) for name in sorted(names) if not is_system_name(name)]
            photographs = [file for file in files if file.suffix.lower()[1:] not in _SKIPPED_EXTENSIONS]
            found += len(photographs)
            skipped += len(files) - len(photographs)
            yield from photographs
        if not found:
            yield _Remark(path, "no photographs in this folder; name one that has some", refused=True)
        if skipped:
            yield _Remark(path, f"skipped {counted(skipped, 'file')} whose extension is not a picture's", refused=False)
