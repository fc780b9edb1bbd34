"""Commands about photographs: ``facegender demo-data``, ``download`` and ``cache``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facegender.cli.options import to_path
from facegender.support.cache_dir import CACHE_VARIABLE, cache_folder
from facegender.support.errors import print_error
from facegender.support.text import ago, counted, printable, shell_command, size_in_words, table

if TYPE_CHECKING:
    from facegender.data.cache.eviction import Entry


def demo_data(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", parser=to_path, help="A new or empty folder, or one with demo faces."),
    ],
    faces: Annotated[int, typer.Option("--faces", metavar="N", min=1, max=100_000, help="Faces per class.")] = 120,
    image_size: Annotated[
        int, typer.Option("--image-size", metavar="N", min=16, max=4096, help="Side of a face in pixels.")
    ] = 256,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, max=2**32 - 1, help="Seed of the drawn faces.")
    ] = 42,
) -> None:
    """Write a data set of drawn faces, to try the program without photographs."""
    from facegender.data.demo.faces import write_demo_faces

    count = write_demo_faces(folder, faces, image_size, seed)
    earlier = f", {count - 2 * faces} of them from before" if count > 2 * faces else ""
    print(f"{count} demo faces in {printable(folder)}{earlier}")
    print(f"train on them with: {shell_command(Path(), 'train', f'--data={folder}')}")


def download() -> None:
    """Download the reference data set from Kaggle; training finds it without --data from then on."""
    from facegender.data.kaggle import download as fetch

    print(f"photographs in {printable(fetch())}")


def cache(
    clear: Annotated[
        bool, typer.Option("--clear", metavar="", help="Remove them; the next run decodes its photographs again.")
    ] = False,
) -> None:
    """List the decoded photographs that runs have kept, or remove them."""
    from facegender.data.cache.eviction import entries

    found = entries()
    if clear:
        _remove(found)
        return
    where = printable(cache_folder())
    if not found:
        print(f"no decoded photographs in {where}: a training run puts them there")
        return
    rows = [["photographs", "px", "size", "used", "from"], *map(_row, found)]
    print("\n".join(table(rows)))
    print(f"{cache_summary()}, in {where}; ${CACHE_VARIABLE} names another folder")


def _row(entry: Entry) -> list[str]:
    size, used, photos = size_in_words(entry.size_bytes), ago(time.time() - entry.used), entry.photos
    if photos is None:
        return ["?", "", size, used, "another version, or damaged"]
    count = str(len(photos.decoded_rows))
    if len(photos.missing_rows):
        count += f" of {photos.count}" + (", being decoded" if entry.busy else "")
    return [count, str(photos.side), size, used, photos.source]


def _remove(found: list[Entry]) -> None:
    """Remove the sets and print what was removed; what could not be removed goes to stderr."""
    from facegender.data.cache.file import remove

    removed: list[Entry] = []
    busy, problems = 0, 0
    for entry in found:
        try:
            if remove(entry.path):
                removed.append(entry)
            else:
                busy += 1
        except OSError as error:
            problems += 1
            print_error(f"{entry.path}: {error.strerror}")
    print(f"removed {counted(len(removed), 'set')}, {size_in_words(sum(entry.size_bytes for entry in removed))}")
    if removed:
        print("a run that uses one of them keeps it until it ends; only then is its disk space free")
    if busy:
        print(f"kept {counted(busy, 'set')} that a run is decoding now")
    if problems:
        raise typer.Exit(1)


def cache_summary() -> str:
    """Say in one line how much the cache holds, and how much it may hold."""
    from facegender.data.cache.eviction import allowed_bytes, entries

    found = entries()
    used = sum(entry.size_bytes for entry in found)
    return f"{counted(len(found), 'set')}, {size_in_words(used)}; at most {size_in_words(allowed_bytes(used))}"
