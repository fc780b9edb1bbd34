"""Files that commands write: the name is checked before anything is read, an error is one line."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facegender.support.errors import UserError
from facegender.support.files import exists, is_file, replacing
from facegender.support.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHARTS = (".pdf", ".png", ".svg")


def check_output(path: Path, option: str, *endings: str) -> None:
    """Refuse a file that cannot be written.

    Args:
        option: The option that names the file, e.g. "--csv".
        endings: With which the name may end, e.g. ".png"; without any it may end as it likes.

    Raises:
        UserError: The name has another ending, or something else than a file has that name.
    """
    if endings and path.suffix.lower() not in endings:
        listed = " or ".join(filter(None, (", ".join(endings[:-1]), endings[-1])))
        raise UserError(f"{option} {printable(path)}: give a file that ends in {listed}")
    if exists(path) and not is_file(path):
        raise UserError(f"{option} {printable(path)}: is not a regular file; name another one")


def make_folder(path: Path, option: str) -> None:
    """Create a folder that files will be written to, if there is none.

    Raises:
        UserError: It cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{option} {printable(path)}: {error.strerror}; name a folder to write in") from None


@contextlib.contextmanager
def writing(path: Path, option: str) -> Iterator[None]:
    """Turn an `OSError` of the block, which writes the file, into a `UserError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"{option} {printable(path)}: cannot be written ({reason}); name another file or folder"
        ) from None


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write the file of ``--csv``, whole or not at all; the first row has the names of the columns.

    Raises:
        UserError: It cannot be written.
    """
    with (
        writing(path, "--csv"),
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        csv.writer(file, lineterminator="\n").writerows(rows)


def write_chart(figure: Figure, path: Path, option: str) -> None:
    """Write a chart of matplotlib.

    Raises:
        UserError: It cannot be written.
    """
    from facegender.rendering.charts import save

    with writing(path, option):
        save(figure, path)
