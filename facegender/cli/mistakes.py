"""``facegender mistakes``: the photographs that a network gets wrong in an epoch, and those it is least certain of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facegender.cli.options import Json, Root, not_empty, to_path
from facegender.cli.output import check_output, writing
from facegender.runs.folder import RunFolder, open_run
from facegender.support.errors import UserError
from facegender.support.text import counted, json_line, percent, printable, table

if TYPE_CHECKING:
    from facegender.evaluation.mistakes import CheckedPredictions

SHOWN = 40
"""Lines of the table, and photographs of the picture, if nobody asks for more."""
MAX_GALLERY = 800
"""Photographs of the largest picture."""
MAX_NAMED = 12
WRONG_COLOUR, CORRECT_COLOUR = (224, 108, 117), (152, 195, 121)


def mistakes(
    run: Annotated[str, typer.Argument(metavar="RUN", parser=not_empty, help="The run to look into.")],
    epoch: Annotated[
        int | None, typer.Option("--epoch", metavar="N", min=1, help="Counted from 1. Default: the newest.")
    ] = None,
    against: Annotated[
        int | None,
        typer.Option(
            "--against", metavar="N", min=1, help="Only those correct in one of the two epochs and wrong in the other."
        ),
    ] = None,
    cell: Annotated[
        str | None,
        typer.Option(
            "--cell", metavar="LABEL:PREDICTED", parser=not_empty, help="Only this cell of the confusion matrix."
        ),
    ] = None,
    never_correct: Annotated[
        bool, typer.Option("--never-correct", metavar="", help="Only those that were wrong in every epoch.")
    ] = False,
    first: Annotated[
        int | None,
        typer.Option("--first", metavar="N", min=1, help=f"How many to list; default: {SHOWN}, with --json all."),
    ] = None,
    gallery: Annotated[
        Path | None,
        typer.Option("--gallery", metavar="F.png", parser=to_path, help="Write the photographs with captions."),
    ] = None,
    json: Json = False,
    root: Root = Path(),
) -> None:
    """List validation photographs: the wrong ones by the probability of their label, then the least certain ones.

    Wrong means that the prediction differs from the label in the data.
    """
    folder = open_run(root, run)
    if gallery is not None:
        if json:
            raise UserError("--json and --gallery exclude each other: give one of them")
        check_output(gallery, "--gallery", ".png")
    from facegender.evaluation.mistakes import check_predictions, read_checked, worst_first
    from facegender.evaluation.mistakes import never_correct as find_never_correct
    from facegender.runs.photographs import read_photographs
    from facegender.runs.predictions import prediction_epochs, predictions_of

    epochs = prediction_epochs(folder)
    checked = check_predictions(predictions_of(folder, epochs[-1] if epoch is None else epoch - 1))
    reference = None if against is None else check_predictions(predictions_of(folder, against - 1))
    among = find_never_correct(read_checked(folder, epochs), len(checked.labels)) if never_correct else None
    chosen = None if cell is None else _parse_cell(cell, checked.classes)
    order = worst_first(checked, cell=chosen, reference=reference, among=among).tolist()
    photographs = read_photographs(folder)
    names = photographs.validation if photographs is not None else []
    title = (
        f"{run}, epoch {checked.epoch + 1}: {int(checked.wrong.sum())} of "
        f"{counted(int(checked.counted.sum()), 'prediction')} are wrong"
    )
    if json:
        for index in order[:first]:
            print(json_line(_as_json(checked, names, index)))
    elif gallery is not None:
        listed = order[: min(first or SHOWN, MAX_GALLERY)]
        _write_gallery(gallery, folder, title, checked, names, listed)
        print(f"{printable(gallery)}: {len(listed)} of {counted(len(order), 'photograph')}")
    else:
        print(title)
        _print_table(checked, names, order, first or SHOWN)


def _parse_cell(text: str, classes: Sequence[str]) -> tuple[int, int]:
    """Find the two classes; their names may contain a colon, too."""
    parts = text.split(":")
    for length in range(1, len(parts)):
        label, answer = ":".join(parts[:length]), ":".join(parts[length:])
        if label in classes and answer in classes:
            return list(classes).index(label), list(classes).index(answer)
    known = ", ".join(classes[:MAX_NAMED])
    raise UserError(f"--cell {printable(text)}: give LABEL:PREDICTED, two of the classes {known}")


def _name(names: Sequence[str], index: int) -> str:
    return printable(names[index]) if index < len(names) else ""


def _as_json(checked: CheckedPredictions, names: Sequence[str], index: int) -> dict[str, Any]:
    label, answer = int(checked.labels[index]), int(checked.predicted[index])
    return {
        "epoch": checked.epoch,
        "index": index,
        "file": _name(names, index) or None,
        "label": checked.classes[label],
        "predicted": checked.classes[answer],
        "wrong": label != answer,
        "probability": float(checked.predicted_probability[index]),
        "label_probability": float(checked.label_probability[index]),
    }


def _print_table(checked: CheckedPredictions, names: Sequence[str], order: Sequence[int], first: int) -> None:
    rows = [["", "", "label", "predicted", "", "photograph"]]
    for number, index in enumerate(order[:first], 1):
        one = _as_json(checked, names, index)
        rows.append(
            [
                str(number),
                "wrong" if one["wrong"] else "correct",
                one["label"],
                one["predicted"],
                _percent(one["probability"]),
                one["file"] or f"number {index + 1}",
            ]
        )
    if len(rows) == 1:
        print("no photograph matches")
        return
    print("\n".join(table(rows)))
    if len(order) > first:
        print(f"the first {first} of {len(order)} photographs; --first N shows more, --json all")


def _percent(share: float) -> str:
    return "" if math.isnan(share) else percent(share)


def _write_gallery(
    path: Path, folder: RunFolder, title: str, checked: CheckedPredictions, names: Sequence[str], order: Sequence[int]
) -> None:
    """Write a contact sheet.

    Raises:
        UserError: The run does not know its files, or the picture cannot be written.
    """
    from PIL import Image, ImageOps

    from facegender.data.recorded import photograph_reader
    from facegender.rendering.contact_sheet import PHOTOGRAPH_PX, SheetEntry, contact_sheet
    from facegender.rendering.pages import write_png

    if not names:
        raise UserError(f"run {folder.name} has no list of its validation photographs: leave out --gallery")
    read = photograph_reader(folder, at_least=PHOTOGRAPH_PX)
    entries = []
    for index in order:
        one = _as_json(checked, names, index)
        try:
            photograph, problem = read(names[index]) if index < len(names) else None, ""
            if photograph is not None:  # small at once: hundreds of whole ones would fill the memory
                photograph = ImageOps.contain(photograph, (PHOTOGRAPH_PX, PHOTOGRAPH_PX), Image.Resampling.LANCZOS)
        except UserError:
            photograph, problem = None, "cannot be read: "
        caption = (
            f"{'wrong' if one['wrong'] else 'correct'}: {one['predicted']} {_percent(one['probability'])}",
            f"label {one['label']}",
            f"{problem}{PurePosixPath(one['file'] or '').name}",
        )
        entries.append(SheetEntry(photograph, caption, WRONG_COLOUR if one["wrong"] else CORRECT_COLOUR))
    with writing(path, "--gallery"):
        write_png(path, contact_sheet(title, entries))
