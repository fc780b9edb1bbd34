"""``python -m facegender.thumbnail_server``: the process that decodes the photographs of runs for the interface.

It reads requests from the standard input, one per line, and writes an answer for each to the standard output (see
`facegender.runs.protocol`). It ends when its input ends. It imports no torch, so that it starts in a moment; and it is
a process of its own, so that no file can end the interface.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec
from PIL import Image, ImageOps

from facegender.data.recorded import photograph_reader
from facegender.runs.folder import RunFolder
from facegender.runs.protocol import Thumbnail, ThumbnailRequest
from facegender.support.errors import UserError
from facegender.support.text import one_line

MAX_SIDE = 4096


class ThumbnailServer:
    """Makes thumbnails.

    Args:
        root: Folder with ``checkpoints/``.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._reader: tuple[tuple[str, int], Callable[[str], Image.Image]] | None = None

    def answer(self, request: ThumbnailRequest) -> Thumbnail:
        """Make a thumbnail; an error becomes an answer, too."""
        try:
            width, height = (min(max(1, side), MAX_SIDE) for side in request.size)
            image = self._read(request.run, max(width, height))(request.name)
            small = ImageOps.contain(image, (width, height), Image.Resampling.LANCZOS)
            return Thumbnail(id=request.id, size=small.size, pixels=small.tobytes())
        except UserError as error:
            problem = str(error)
        except Exception as error:  # the boundary of a request: the process goes on
            problem = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        return Thumbnail(id=request.id, error=one_line(problem))

    def _read(self, run: str, at_least: int) -> Callable[[str], Image.Image]:
        """The function that reads the photographs of a run; kept, as it has to read the manifest first."""
        key = run, at_least
        if self._reader is None or self._reader[0] != key:
            self._reader = key, photograph_reader(RunFolder(self._root, run), at_least=at_least)
        return self._reader[1]


def serve(server: ThumbnailServer, requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests line by line until they end."""
    for line in filter(bytes.strip, requests):
        try:
            answer = server.answer(msgspec.json.decode(line, type=ThumbnailRequest))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            answer = Thumbnail(error=f"not a request: {one_line(str(error))}")
        answers.write(msgspec.json.encode(answer) + b"\n")
        answers.flush()


def main() -> None:
    """Run the process. Whatever else is printed goes to the standard error, so that answers stay intact."""
    parser = argparse.ArgumentParser(prog="facegender.thumbnail_server", allow_abbrev=False)
    parser.add_argument("--root", type=Path, default=Path())
    root: Path = parser.parse_args().root
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        serve(ThumbnailServer(root), sys.stdin.buffer, answers)
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(0)


if __name__ == "__main__":
    main()
