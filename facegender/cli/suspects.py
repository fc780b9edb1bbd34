"""``facegender suspects``: photographs whose label may be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from facegender.cli.options import Json, Root, not_empty, to_path
from facegender.cli.output import check_output, write_csv
from facegender.runs.folder import open_run
from facegender.support.errors import UserError
from facegender.support.text import counted, json_line, printable, table

SHOWN = 40
"""Lines of the table if nobody asks for more."""


def suspects(
    run: Annotated[str, typer.Argument(metavar="RUN", parser=not_empty, help="The run that saw the photographs.")],
    part: Annotated[
        Literal["train", "validation", "all"], typer.Option("--part", help="Which photographs to rank.")
    ] = "all",
    first: Annotated[
        int | None,
        typer.Option("--first", metavar="N", min=1, help=f"How many to list; default: {SHOWN}, in files all."),
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="F.csv", parser=to_path, help="Write them to a file.")
    ] = None,
    json: Json = False,
    root: Root = Path(),
) -> None:
    """Rank photographs whose label may be wrong. Nothing is moved or deleted.

    The margin is the logit of the label minus the largest other one, as a mean over the epochs.
    "wrong in" counts the epochs whose prediction contradicts the label.
    Training and validation photographs are ranked separately, as their margins differ in scale, then merged by rank.
    """
    folder = open_run(root, run)
    if json and csv_file is not None:
        raise UserError("--json and --csv exclude each other: give one of them")
    if csv_file is not None:
        check_output(csv_file, "--csv")
    from facegender.evaluation.suspects import PARTS, rank_suspects

    shown = SHOWN if first is None and csv_file is None and not json else first
    chosen = rank_suspects(folder, PARTS if part == "all" else (part,), first=shown)
    if not chosen:
        if part == "all":
            raise UserError(f"run {run} has no margins of any photograph: its predictions have no known labels")
        raise UserError(f"run {run} has no margins of {part} photographs: try --part all")
    if csv_file is not None:
        write_csv(csv_file, [chosen[0].__struct_fields__, *map(msgspec.structs.astuple, chosen)])
        print(f"{printable(csv_file)}: {counted(len(chosen), 'photograph')}")
    elif json:
        for suspect in chosen:
            print(json_line(msgspec.to_builtins(suspect)))
    else:
        rows = [["", "part", "label", "predicted", "wrong in", "margin", "photograph"]]
        for number, one in enumerate(chosen, 1):
            wrong_in, name = f"{one.contradicted} of {one.epochs}", one.file or f"number {one.index + 1}"
            rows.append([str(number), one.part, one.label, one.predicted, wrong_in, f"{one.margin:+.1f}", name])
        print("\n".join(table(rows)))
        if first is None and len(chosen) == SHOWN:
            print(f"the {SHOWN} most doubtful; --first N shows more, --csv F.csv writes all")
