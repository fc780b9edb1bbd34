"""``python -m facegender.thumbnail_server``: the process that decodes the photographs of runs for the interface.

It reads requests from the standard input, one per line, and writes an answer for each to the standard output (see
`facegender.runs.protocol`). It ends when its input ends. It imports no torch, so that it starts in a moment; and it is
a process of its own, so that no file can end the interface.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO

from PIL import Image, ImageOps

from facegender.data.recorded import photograph_reader
from facegender.runs.folder import RunFolder
from facegender.runs.protocol import Thumbnail, ThumbnailRequest
from facegender.support.line_server import problem_of, run_server, serve_lines

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
        except Exception as error:  # the boundary of a request: the process goes on
            return Thumbnail(id=request.id, error=problem_of(error))

    def _read(self, run: str, at_least: int) -> Callable[[str], Image.Image]:
        """The function that reads the photographs of a run; kept, as it has to read the manifest first."""
        key = run, at_least
        if self._reader is None or self._reader[0] != key:
            self._reader = key, photograph_reader(RunFolder(self._root, run), at_least=at_least)
        return self._reader[1]


def serve(server: ThumbnailServer, requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests line by line until they end."""
    serve_lines(ThumbnailRequest, server.answer, lambda problem: Thumbnail(error=problem), requests, answers)


def main() -> None:
    """Run the process."""
    run_server("facegender.thumbnail_server", lambda root, *streams: serve(ThumbnailServer(root), *streams))


if __name__ == "__main__":
    main()
