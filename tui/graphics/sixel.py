"""Encode palette pictures as sixel data, from their indices and without Python loops over pixels.

A sixel row ("band") is six pixels high. Within a band each colour is drawn over the others: `#colour`, then for every
column a character whose six low bits say which pixels get that colour, `!count` before a character repeats it, `$` goes
back to the left edge and `-` to the next band. See DEC's "Sixel Graphics", chapter 14 of the VT330/VT340 manual.

Two things keep the data small: the most common colour of a band is drawn first, as one solid run under the others, and
colours that a band does not use are left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tui.graphics.geometry import SIXEL_BAND_PX as BAND_PX
from tui.graphics.picture import Picture, Pixels

_ABSENT = np.uint32(0xFFFFFFFF)

_Ints = npt.NDArray[np.int32]


def encode(picture: Picture, filler: tuple[int, int, int] | None = None) -> bytes:
    """Encode a picture as one opaque sixel string, from its device control string to the terminator.

    The last band ends without a line feed, so a terminal that leaves the cursor below the picture stays within it.

    Args:
        picture: At most 256 colours; with a filler 255.
        filler: The colour of register 0, which the picture does not use. tmux cuts pictures into cells, and fills
            cells that a picture covers in part, and its last band, with register 0.
    """
    pixels, palette = _used_colours(picture)
    if filler is not None and len(palette) < 256:
        pixels, palette = pixels + np.uint8(1), np.concatenate([np.array([filler], np.uint8), palette])
    height, width = pixels.shape
    out = [b'\x1bP0;1;0q"1;1;%d;%d' % (width, height)]
    percent = (palette.astype(np.uint16) * 100 + 127) // 255
    out += [b"#%d;2;%d;%d;%d" % (register, *colour) for register, colour in enumerate(percent.tolist())]
    out += _bands(pixels, len(palette))
    out.append(b"\x1b\\")
    return b"".join(out)


def size(picture: Picture) -> int:
    """Return the approximate number of bytes that `encode` gives."""
    return sum(map(len, _bands(picture.pixels, len(picture.palette))))


def _used_colours(picture: Picture) -> tuple[Pixels, Pixels]:
    """Return pixels and palette without unused colours."""
    used = np.flatnonzero(np.bincount(picture.pixels.ravel()))
    if len(used) == len(picture.palette):
        return picture.pixels, picture.palette
    register = np.zeros(256, np.uint8)
    register[used] = np.arange(len(used), dtype=np.uint8)
    return register[picture.pixels], picture.palette[used]


def _bands(pixels: Pixels, colours: int) -> list[bytes]:
    height, width = pixels.shape
    bands = -(-height // BAND_PX)
    missing = bands * BAND_PX - height
    if missing:
        pixels = np.pad(pixels, ((0, missing), (0, 0)), mode="edge")
    keys = _sorted_columns(pixels.reshape(bands, BAND_PX, width), missing)
    present = keys != _ABSENT
    band = np.repeat(np.arange(bands, dtype=np.int32), present.sum(axis=1))
    flat = keys[present]
    column = flat >> np.uint32(BAND_PX)
    bits = (flat & np.uint32(63)).astype(np.uint8)
    colour = column // np.uint32(width)
    x = (column - colour * np.uint32(width)).astype(np.int32)
    colour = colour.astype(np.int32)

    uses = np.bincount(band * colours + colour, minlength=bands * colours).reshape(bands, colours)
    most_common = uses.argmax(axis=1)
    keep = colour != most_common[band]
    body, ends = _runs(band[keep], colour[keep], x[keep], bits[keep], bands)

    out = []
    start = 0
    for index, end in enumerate(ends.tolist()):
        rows = BAND_PX - missing if index == bands - 1 else BAND_PX
        solid = 63 + (1 << rows) - 1
        out.append(b"#%d!%d%c" % (most_common[index], width, solid))
        out.append(body[start:end])
        out.append(b"-")
        start = end
    out.pop()
    return out


def _sorted_columns(bands: Pixels, missing: int) -> npt.NDArray[np.uint32]:
    """Every (colour, column, bits) of every band, sorted by colour and column.

    Args:
        bands: (B, 6, W) uint8.
        missing: Rows of the last band that are not part of the picture; they repeat its last row.

    Returns:
        (B, 6 * W) uint32: `(colour * W + column) << 6 | bits`, and at the end of each row `_ABSENT`.
    """
    count, _, width = bands.shape
    rows = [bands[:, row] for row in range(BAND_PX)]
    bits = [np.full((count, width), 1 << row, np.uint8) for row in range(BAND_PX)]
    repeated = [np.zeros((count, width), bool) for _ in range(BAND_PX)]
    for upper in range(BAND_PX):
        for lower in range(upper + 1, BAND_PX):
            same = rows[upper] == rows[lower]
            bits[upper] |= same.view(np.uint8) << np.uint8(lower)
            repeated[lower] |= same
    keys = np.empty((count, BAND_PX, width), np.uint32)
    columns = np.arange(width, dtype=np.uint32)
    real = np.uint8((1 << (BAND_PX - missing)) - 1)
    for row in range(BAND_PX):
        bits[row][-1] &= real
        key = rows[row] * np.uint32(width)
        key += columns
        key <<= np.uint32(BAND_PX)
        key |= bits[row]
        key[repeated[row]] = _ABSENT
        keys[:, row] = key
    flat = keys.reshape(count, BAND_PX * width)
    flat.sort(axis=1)
    return flat


def _runs(
    band: npt.NDArray[Any], colour: _Ints, x: _Ints, bits: npt.NDArray[np.uint8], bands: int
) -> tuple[bytes, npt.NDArray[Any]]:
    """Return the drawing of all bands, without their solid run, as one string, and where in it each band ends."""
    if not len(x):
        return b"", np.zeros(bands, np.int32)
    new_group = np.ones(len(x), bool)
    np.not_equal(band[1:], band[:-1], out=new_group[1:])
    new_group[1:] |= colour[1:] != colour[:-1]
    new_run = new_group.copy()
    new_run[1:] |= (x[1:] != x[:-1] + 1) | (bits[1:] != bits[:-1])
    first = np.flatnonzero(new_run)
    length = np.diff(first, append=len(x)).astype(np.int32)
    start = x[first]
    opens = new_group[first]
    gap = start.copy()
    gap[1:] -= np.where(opens[1:], 0, start[:-1] + length[:-1])

    # Three tokens per run: `$#colour` if it is the first of its colour, the empty columns before it, and the run.
    count = len(first)
    sizes = np.zeros((count, 3), np.int32)
    register = colour[first][opens]
    sizes[opens, 0] = 2 + _digits(register)
    sizes[:, 1] = _token_size(gap)
    sizes[:, 2] = _token_size(length)
    ends = sizes.ravel().cumsum(dtype=np.int32).reshape(count, 3)
    out = np.empty(int(ends[-1, 2]), np.uint8)
    prefix_end = ends[opens, 0]
    out[prefix_end - sizes[opens, 0]] = ord("$")
    out[prefix_end - sizes[opens, 0] + 1] = ord("#")
    _write_number(out, prefix_end, register)
    _write_tokens(out, ends[:, 1], gap, np.full(count, 63, np.uint8))
    _write_tokens(out, ends[:, 2], length, bits[first] + np.uint8(63))
    runs_per_band = np.bincount(band[first], minlength=bands).cumsum()
    band_ends = np.where(runs_per_band > 0, ends[runs_per_band - 1, 2], 0)
    return out.tobytes(), band_ends


def _digits(number: _Ints) -> _Ints:
    return 1 + (number > 9).astype(np.int32) + (number > 99) + (number > 999) + (number > 9999)


def _token_size(count: _Ints) -> _Ints:
    """Return the bytes for `count` equal characters: up to three as they are, more as `!count` and the character."""
    return np.where(count < 4, count, 2 + _digits(count))


def _write_tokens(out: Pixels, ends: _Ints, counts: _Ints, characters: npt.NDArray[np.uint8]) -> None:
    shown = counts > 0
    out[ends[shown] - 1] = characters[shown]
    for extra in (2, 3):
        also = (counts >= extra) & (counts < 4)
        out[ends[also] - extra] = characters[also]
    long = counts >= 4
    ends, counts = ends[long], counts[long]
    out[ends - _token_size(counts)] = ord("!")
    _write_number(out, ends - 1, counts)


def _write_number(out: Pixels, ends: _Ints, numbers: _Ints) -> None:
    """Write decimal numbers that end before `ends`."""
    position = 1
    while len(numbers):
        out[ends - position] = 48 + numbers % 10
        more = numbers > 9
        ends, numbers = ends[more], numbers[more] // 10
        position += 1
