"""Draws a contact sheet: photographs in a grid, each above its caption."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
from PIL import Image, ImageDraw, ImageFont

from facegender.rendering.figures import shortened
from facegender.rendering.mosaics import GAP_COLOUR
from facegender.rendering.pages import NOTE_COLOUR, TITLE_COLOUR

_MARGIN_PX, _GAP_PX = 16, 10
_LINE_PX = 16
_TITLE_PX = 28
PHOTOGRAPH_PX = 150
COLUMNS = 8
_MISSING_COLOUR = (58, 48, 52)


class SheetEntry(msgspec.Struct, frozen=True):
    """One photograph of a contact sheet.

    Attributes:
        photograph: RGB, of at most `PHOTOGRAPH_PX` a side; None if it cannot be read.
        caption: Lines below it, safe to print.
        colour: Of the first line, RGB.
    """

    photograph: Image.Image | None
    caption: tuple[str, ...]
    colour: tuple[int, int, int] = TITLE_COLOUR


def contact_sheet(title: str, entries: Sequence[SheetEntry]) -> Image.Image:
    """Draw photographs, row by row, as an RGB picture."""
    columns = min(COLUMNS, max(1, len(entries)))
    lines = max((len(entry.caption) for entry in entries), default=0)
    width, height = PHOTOGRAPH_PX + _GAP_PX, PHOTOGRAPH_PX + lines * _LINE_PX + _GAP_PX
    title_font, font = ImageFont.load_default(17), ImageFont.load_default(12)
    page_width = max(columns * width - _GAP_PX, math.ceil(title_font.getlength(title)))
    rows = -(-len(entries) // columns)
    page = Image.new("RGB", (page_width + 2 * _MARGIN_PX, rows * height + _TITLE_PX + 2 * _MARGIN_PX), GAP_COLOUR)
    pen = ImageDraw.Draw(page)
    pen.text((_MARGIN_PX, _MARGIN_PX), title, fill=TITLE_COLOUR, font=title_font)
    for number, entry in enumerate(entries):
        row, column = divmod(number, columns)
        x, y = _MARGIN_PX + column * width, _MARGIN_PX + _TITLE_PX + row * height
        if entry.photograph is None:
            pen.rectangle((x, y, x + PHOTOGRAPH_PX - 1, y + PHOTOGRAPH_PX - 1), fill=_MISSING_COLOUR)
        else:
            page.paste(entry.photograph, (x, y + PHOTOGRAPH_PX - entry.photograph.height))
        for line, text in enumerate(entry.caption):
            at = (x, y + PHOTOGRAPH_PX + 2 + line * _LINE_PX)
            colour = entry.colour if line == 0 else NOTE_COLOUR
            pen.text(at, shortened(text, font, PHOTOGRAPH_PX), fill=colour, font=font)
    return page
