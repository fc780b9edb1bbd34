"""Pictures in the plain shell, by rich and textual-image. Those of the interface are drawn by `tui.graphics`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import sys
import termios
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from facegender.support.errors import UserError

if TYPE_CHECKING:
    from PIL import Image
    from rich.console import Console

    from facegender.rendering.figures import Figure

Protocol = Literal["auto", "kitty", "sixel", "halfblock"]
Graphics = Annotated[
    Protocol,
    typer.Option(
        "--graphics",
        envvar="FACEGENDER_GRAPHICS",
        show_envvar=False,
        help="How the terminal draws pictures; auto asks it.",
    ),
]

_TEXT_LINES = 8
"""Lines of the terminal that stay free for title, notes and the shell's prompt."""
_USUAL_CELL_PX = (10, 20)
_BAR_CELLS = 24


def require_terminal(stream: Any, remedy: str) -> None:
    """Refuse to draw into a file or a pipe, or a terminal without a size, as a serial line has.

    Raises:
        UserError: The stream is no such terminal; the message ends with the remedy.
    """
    if not stream.isatty():
        raise UserError(f"standard {'error' if stream is sys.stderr else 'output'} is not a terminal: {remedy}")
    if 0 in os.get_terminal_size(stream.fileno()):
        raise UserError(f"the terminal does not tell its size: type `stty rows 24 columns 80`, or {remedy}")


@contextlib.contextmanager
def _terminal(stream: Any) -> Iterator[Console]:
    """Connect standard output, and standard input if it is a file or a pipe, to the terminal of a stream.

    textual-image writes to the first and reads the terminal's answers from the second, whatever rich writes to.
    """
    from rich.console import Console

    sys.stdout.flush()
    stream.flush()
    kept = {number: os.dup(number) for number in (0, 1)}
    try:
        os.dup2(stream.fileno(), 1)
        if not os.isatty(0):
            os.dup2(stream.fileno(), 0)
        yield Console(file=sys.__stdout__, highlight=False)
        if sys.__stdout__:
            sys.__stdout__.flush()
    finally:
        for number, descriptor in kept.items():
            os.dup2(descriptor, number)
            os.close(descriptor)


def print_figure(figure: Figure, protocol: Protocol, stream: Any) -> None:
    """Print a figure: its texts and colour bar as text, its tiles as a picture as large as the terminal allows.

    Args:
        stream: ``sys.stdout`` or ``sys.stderr``, which must be a terminal.
    """
    from rich.text import Text

    from facegender.rendering.colormaps import reduced
    from facegender.rendering.figures import mosaic_picture

    with _terminal(stream) as console:
        canvas = _Canvas(protocol)
        console.print(Text(figure.title, "bold"))
        picture, _ = mosaic_picture(figure.tiles, canvas.area, gap=1 if canvas.is_halfblock else 2)
        console.print(canvas.renderable(picture))
        if figure.bar is not None:
            colours = reduced(figure.bar, _BAR_CELLS).tolist()
            bar = Text.assemble(*(("█", "#{:02x}{:02x}{:02x}".format(*colour)) for colour in colours))
            console.print(Text(f"{figure.low} ").append_text(bar).append(f" {figure.high}"))
        for note in figure.notes:
            console.print(Text(note, "dim"))


class _Canvas:
    """How the terminal draws pictures, and the area that it has for one.

    Attributes:
        area: (width, height) in pixels.
        is_halfblock: A pixel is half a cell.
    """

    def __init__(self, protocol: Protocol) -> None:
        self._renderer = _renderer(protocol)
        self.is_halfblock = self._renderer.__module__.endswith("halfcell")
        rows, columns, width_px, height_px = struct.unpack("HHHH", fcntl.ioctl(1, termios.TIOCGWINSZ, bytes(8)))
        self._cell = _USUAL_CELL_PX
        if self.is_halfblock:
            self._cell = (1, 2)
        elif width_px >= columns and height_px >= rows:
            self._cell = (width_px // columns, height_px // rows)
        self.area = (columns * self._cell[0], max(4, rows - _TEXT_LINES) * self._cell[1])

    def renderable(self, picture: Image.Image) -> Any:
        """Make a picture that rich can print. It is padded to whole cells, so that nothing is stretched."""
        from PIL import Image

        from facegender.rendering.mosaics import GAP_COLOUR

        columns, rows = -(-picture.width // self._cell[0]), -(-picture.height // self._cell[1])
        page = Image.new("RGB", (columns * self._cell[0], rows * self._cell[1]), GAP_COLOUR)
        page.paste(picture)
        return self._renderer(page, columns, rows)


def _renderer(protocol: Protocol) -> Any:
    """The class of textual-image that makes a picture printable."""
    terminal = os.dup(1)
    try:
        if protocol != "auto":  # textual-image asks the terminal while it is imported, unless there is none
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.close(nowhere)
        from textual_image import renderable
    finally:
        os.dup2(terminal, 1)
        os.close(terminal)
    if protocol == "kitty":
        return renderable.TGPImage
    return {"sixel": renderable.SixelImage, "halfblock": renderable.HalfcellImage}.get(protocol, renderable.Image)
