"""``facegender demo-data`` and ``download``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facegender.cli.options import to_path
from facegender.support.text import printable, shell_command


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
