"""The kitty graphics protocol: pictures are sent once, then shown by placeholder cells, which are ordinary text.

See https://sw.kovidgoyal.net/kitty/graphics-protocol/, "Unicode placeholders". The low byte of the
picture's number is the cells' foreground colour (one of the 256, which a multiplexer does not round), the high byte a
third diacritic.
"""

from __future__ import annotations

import os
import struct
import zlib
from base64 import b64encode
from collections import OrderedDict, deque
from collections.abc import Hashable, Set
from typing import TYPE_CHECKING

from tui.graphics.terminal import through_tmux

if TYPE_CHECKING:
    from tui.graphics.picture import Picture, Pixels

MAX_SLICES = 400
MAX_BYTES = 48 << 20
CHUNK_CHARACTERS = 4096
PAETH = 4
"""The number of the filter in a PNG."""

PLACEHOLDER = "\U0010eeee"

_DIACRITIC_RANGES = (
    "305 30d-30e 310 312 33d-33f 346 34a-34c 350-352 357 35b 363-36f 483-487 592-595 597-599 59c-5a1 5a8-5a9 5ab-5ac "
    "5af 5c4 610-617 657-65b 65d-65e 6d6-6dc 6df-6e2 6e4 6e7-6e8 6eb-6ec 730 732-733 735-736 73a 73d 73f-741 743 745 "
    "747 749-74a 7eb-7f1 7f3 816-819 81b-823 825-827 829-82d 951 953-954 f82-f83 f86-f87 135d-135f 17dd 193a 1a17 "
    "1a75-1a7c 1b6b 1b6d-1b73 1cd0-1cd2 1cda-1cdb 1ce0 1dc0-1dc1 1dc3-1dc9 1dcb-1dcc 1dd1-1de6 1dfe 20d0-20d1 "
    "20d4-20d7 20db-20dc 20e1 20e7 20e9 20f0 2cef-2cf1 2de0-2dff a66f a67c-a67d a6f0-a6f1 a8e0-a8f1 aab0 aab2-aab3 "
    "aab7-aab8 aabe-aabf aac1 fe20-fe26 10a0f 10a38 1d185-1d189 1d1aa-1d1ad 1d242-1d244 "
)
"""The characters that number rows and columns from 0: kitty's rowcolumn-diacritics.txt, as hexadecimal ranges."""


def _expanded(ranges: str) -> str:
    bounds = [(int(first, 16), int(last or first, 16)) for first, _, last in (r.partition("-") for r in ranges.split())]
    return "".join(chr(code) for first, last in bounds for code in range(first, last + 1))


DIACRITICS = _expanded(_DIACRITIC_RANGES)


def png(picture: Picture) -> bytes:
    """Encode a picture as a palette PNG.

    It uses Paeth's filter and run lengths only. For palettes that are one scale, as of maps and filters, the result is
    a fifth smaller than without a filter and with a full search for repetitions, and takes a third of the time.
    """
    height, width = picture.pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    runs = zlib.compressobj(strategy=zlib.Z_RLE)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", picture.palette.tobytes()),
            _chunk(b"IDAT", runs.compress(_filtered(picture.pixels).tobytes()) + runs.flush()),
            _chunk(b"IEND", b""),
        )
    )


def _filtered(pixels: Pixels) -> Pixels:
    """Filter (H, W) uint8 indices to (H, 1 + W) PNG rows: the filter's number, then each index minus its prediction.

    The prediction is the neighbour (left, above, above left) closest to left + above - above left. See "PNG
    Specification, Third Edition", W3C, section 9.
    """
    import numpy as np

    padded = np.zeros((pixels.shape[0] + 1, pixels.shape[1] + 1), np.int16)
    padded[1:, 1:] = pixels
    corner, above, left = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1]
    from_left, from_above = np.abs(above - corner), np.abs(left - corner)
    from_corner = np.abs(left + above - 2 * corner)
    nearest = np.where(from_above <= from_corner, above, corner)
    nearest = np.where((from_left <= from_above) & (from_left <= from_corner), left, nearest)
    rows = np.full((pixels.shape[0], pixels.shape[1] + 1), PAETH, np.uint8)
    rows[:, 1:] = (pixels - nearest).astype(np.uint8)
    return rows


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def transmission(data: bytes, image_id: int, columns: int, rows: int, tmux: bool = False) -> str:
    """Return the commands that send a PNG and create a virtual placement of ``columns`` × ``rows`` cells, quietly."""
    text = b64encode(data).decode("ascii")
    pieces = [text[start : start + CHUNK_CHARACTERS] for start in range(0, len(text), CHUNK_CHARACTERS)] or [""]
    last = len(pieces) - 1
    out = []
    for index, piece in enumerate(pieces):
        keys = f"a=T,U=1,i={image_id},f=100,c={columns},r={rows},q=2," if index == 0 else "q=2,"
        out.append(command(f"{keys}m={int(index < last)}", piece, tmux))
    return "".join(out)


def deletion(image_id: int, tmux: bool = False) -> str:
    """Return the command that deletes a picture and all its placements."""
    return command(f"a=d,d=I,i={image_id},q=2", "", tmux)


def command(keys: str, payload: str = "", tmux: bool = False) -> str:
    """Return a graphics command; for tmux, wrapped so that it is passed through to the outer terminal."""
    text = f"\x1b_G{keys};{payload}\x1b\\" if payload else f"\x1b_G{keys}\x1b\\"
    return through_tmux(text) if tmux else text


def cells(image_id: int, row: int, first: int, last: int, spelled_out: bool = False) -> str:
    """Return the placeholder cells of columns `first` up to but not including `last` of a row of a placement.

    `spelled_out` numbers every cell; otherwise only the first one is numbered, and the terminal counts on.
    """
    colour, high = image_id & 0xFF, DIACRITICS[image_id >> 24]
    start = PLACEHOLDER + DIACRITICS[row] + DIACRITICS[first] + high
    if spelled_out:
        follow = "".join(f"{PLACEHOLDER}{DIACRITICS[row]}{DIACRITICS[c]}{high}" for c in range(first + 1, last))
    else:
        follow = PLACEHOLDER * (last - first - 1)
    return f"\x1b[38;5;{colour}m{start}{follow}\x1b[39m"


class TerminalImageCache:
    """What is known of the pictures that the terminal holds: slices by number, the least recently shown evicted first.

    It keeps at most `max_slices` slices in at most `max_bytes` of the terminal's memory.
    """

    def __init__(self, max_slices: int = MAX_SLICES, max_bytes: int = MAX_BYTES) -> None:
        self._max_slices = max_slices
        self._max_bytes = max_bytes
        self._held: OrderedDict[Hashable, tuple[int, int]] = OrderedDict()
        # Random high bytes keep the pictures of several programs in one terminal apart.
        first = os.urandom(1)[0] % 255
        self._high_bytes = (1 + (first + index) % 255 for index in range(255))
        self._free: deque[int] = deque()
        self._add_numbers()
        self._add_numbers()

    def number(self, key: Hashable) -> int | None:
        """Return a slice's number; None if the terminal does not hold it."""
        held = self._held.get(key)
        if held is None:
            return None
        self._held.move_to_end(key)
        return held[0]

    def add(self, key: Hashable, size_bytes: int, keep: Set[Hashable]) -> tuple[int, list[int]]:
        """Give a new slice a number.

        Args:
            key: The slice's key; it is not held yet.
            size_bytes: Memory it takes in the terminal.
            keep: Keys of slices on the screen, which are not evicted.

        Returns:
            The number, and the numbers of evicted slices to delete.
        """
        evicted = []
        all_bytes = size_bytes + sum(size for _, size in self._held.values())
        for old in list(self._held):
            if len(self._held) < self._max_slices and all_bytes <= self._max_bytes:
                break
            if old not in keep:
                number, size = self._held.pop(old)
                all_bytes -= size
                evicted.append(number)
        if not self._free:  # all are on the screen
            self._add_numbers()
        number = self._free.popleft()
        # Freed numbers go to the end: a late repaint of an old picture shows nothing rather than a wrong one.
        self._free.extend(evicted)
        self._held[key] = (number, size_bytes)
        return number, evicted

    def _add_numbers(self) -> None:
        """Add the numbers of one high byte; of the low bytes, 16 to 255 are the colours that no theme changes."""
        high = next(self._high_bytes)
        self._free.extend((high << 24) | low for low in range(16, 256))

    def clear(self) -> list[int]:
        """Forget all slices; returns the numbers to delete."""
        numbers = [number for number, _ in self._held.values()]
        self._held.clear()
        self._free.extend(numbers)
        return numbers

    def __len__(self) -> int:
        return len(self._held)
