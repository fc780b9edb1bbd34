"""The layer pane: its layout, its pictures and the words around them."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import Static

from facegender.rendering.view_options import Scope
from facegender.runs.frames import LayerFrame, write_frame
from tests import recorded
from tests.piloting import shown_in, until
from tui.colours import ColouredApp
from tui.graphics.context import GraphicsContext
from tui.graphics.geometry import Area
from tui.graphics.picture import Picture
from tui.graphics.terminal import Protocol, Terminal
from tui.inspect.compose import compose
from tui.inspect.layout import NARROW_SIDE_COLUMNS, choose_layout
from tui.inspect.legend import legend
from tui.inspect.modes import MODES, ViewMode
from tui.inspect.request import LayerPicture, LayerRequest
from tui.inspect.selection import Selection
from tui.inspect.title import title_line
from tui.inspect.view import LayerView

SIXEL = Terminal(Protocol.SIXEL)


class LayerApp(ColouredApp):
    terminal = SIXEL

    def __init__(self, view: LayerView | None = None) -> None:
        super().__init__()
        self.view = view or LayerView("nothing yet")

    def compose(self) -> ComposeResult:
        yield self.view


def frame_file(folder: Path, channels: int = 4, side: int = 8) -> Path:
    """A frame file with one layer."""
    layer = LayerFrame(
        name="conv1",
        maps=np.zeros((2, channels, side, side), np.float32),
        filters=np.zeros((channels, 3, 3, 3), np.float32),
        stats=np.zeros((2, channels, 5), np.float32),
    )
    write_frame(folder / "a.safetensors", msgspec.structs.replace(recorded.frame(0), layers=[layer]))
    return folder / "a.safetensors"


def composed(file: Path, pane: Area, caption: str | None = None) -> LayerPicture:
    return compose(LayerRequest(file, Selection(0), pane, SIXEL, caption))


@pytest.mark.parametrize("size", [(150, 45), (100, 30), (80, 24), (60, 20)], ids=str)
@pytest.mark.parametrize("channels", [4, 128])
@pytest.mark.parametrize("answer", [False, True], ids=["probe", "answer"])
async def test_the_pane_is_laid_out_as_it_was_computed(
    tmp_path: Path, size: tuple[int, int], channels: int, answer: bool
) -> None:
    caption = "Predicted: female\nConfidence: 87.34%"
    view = LayerView("nothing yet", (lambda: Text(caption)) if answer else None)
    app = LayerApp(view)
    async with app.run_test(size=size):
        await until(lambda: view.pane_size.rows)
        picture = composed(frame_file(tmp_path, channels, 64), view.pane_size, caption if answer else None)
        view.show(picture)
        await until(lambda: shown_in(view.mosaic) is picture.mosaic)
        assert view.mosaic.shown.placement.enlarge == 1, "neither enlarged nor reduced"
        assert view.mosaic.shown.placement.width_px == picture.mosaic.width_px
        side = picture.layout.side
        assert view.mosaic.size.width == view.pane_size.columns - side.columns
        if picture.photograph is None:
            assert not view.query_one("#side").display
            return
        await until(lambda: shown_in(view.photograph) is picture.photograph)
        placement = view.photograph.shown.placement
        assert view.photograph.size.height == placement.rows <= side.photograph_rows, "the caption follows it"
        assert placement.width_px == picture.photograph.width_px


@pytest.mark.parametrize(
    ("channels", "side", "pane", "narrow"),
    [
        (32, 64, (96, 36), False),
        (128, 64, (96, 36), True),
        (128, 16, (96, 36), False),
        (128, 64, (70, 16), False),
        (128, 64, (60, 36), False),
    ],
    ids=["room enough", "room is made", "nothing more to see", "too little room all the same", "no room to make"],
)
def test_every_channel_has_sixty_four_pixels_if_the_side_can_be_made_narrow_for_it(
    tmp_path: Path, channels: int, side: int, pane: tuple[int, int], narrow: bool
) -> None:
    picture = composed(frame_file(tmp_path, channels, side), Area(*pane))
    assert (picture.layout.side.columns == NARROW_SIDE_COLUMNS) is narrow
    assert picture.mosaic.width_px <= 10 * (pane[0] - picture.layout.side.columns)
    assert picture.mosaic.height_px <= 20 * (pane[1] - 1)
    if narrow:
        assert picture.layout.grid.tile_width >= 64


WITH_SCALE = [mode for mode in MODES if mode.view != "top"]


@pytest.mark.parametrize("mode", WITH_SCALE, ids=lambda mode: mode.title)
@pytest.mark.parametrize("channel", [None, 2, 99])
@pytest.mark.parametrize("scope", [None, "channel", "layer", "run"])
def test_every_view_has_a_legend_with_numbers_on_its_scale(
    tmp_path: Path, mode: ViewMode, channel: int | None, scope: Scope | None
) -> None:
    selection = Selection(0, mode=mode, channel=channel, scope=scope)
    file = frame_file(tmp_path)
    request = LayerRequest(file, selection, Area(96, 36), SIXEL, reference=file, history=((0, file),))
    text = legend(compose(request)).plain
    assert text.count("█") == 9
    if channel is not None and mode.has_cursor:
        assert f"{mode.noun} {min(channel, 3) + 1} of 4" in text
    assert re.search(r"\d +█+", text)
    assert re.search(r"█+ +\d", text) or "female 0–" in text


@pytest.mark.parametrize(("mode", "noun"), [(MODES[0], "channels"), (MODES[1], "filters"), (MODES[3], "filters")])
def test_only_the_difference_of_filters_is_said_to_be_of_filters(tmp_path: Path, mode: ViewMode, noun: str) -> None:
    file = frame_file(tmp_path)
    selection = Selection(0, mode=mode, variant="filters")
    assert f"4 {noun}" in legend(compose(LayerRequest(file, selection, Area(96, 36), SIXEL, reference=file))).plain


@pytest.mark.parametrize("mode", WITH_SCALE, ids=lambda mode: mode.title)
@pytest.mark.parametrize("channel", [None, 2])
def test_the_legend_leaves_out_a_note_that_has_no_room_instead_of_cutting_it(
    tmp_path: Path, mode: ViewMode, channel: int | None
) -> None:
    file = frame_file(tmp_path)
    selection = Selection(0, mode=mode, channel=channel)
    request = LayerRequest(file, selection, Area(96, 20), SIXEL, reference=file, history=((0, file),))
    full = legend(compose(request)).plain
    for columns in range(56, 96):
        text = legend(compose(replace(request, pane=Area(columns, 20)))).plain
        assert len(text) <= columns
        assert text[-12:] in full


@pytest.mark.parametrize(
    ("terminal", "budget_bytes", "note"),
    [
        (Terminal(Protocol.SIXEL), 0, ""),
        (Terminal(Protocol.SIXEL), 2000, "of 32 colours for a slow link"),
        (Terminal(Protocol.SIXEL, sixel_registers=16), 0, "16 of 32 colours: the terminal has no more"),
    ],
    ids=["all", "slow link", "few registers"],
)
async def test_a_reduced_number_of_colours_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: Terminal, budget_bytes: int, note: str
) -> None:
    monkeypatch.setattr(GraphicsContext, "budget_bytes", lambda self, cells: budget_bytes)
    app = LayerApp()
    app.terminal = terminal
    async with app.run_test(size=(90, 30)) as pilot:
        view = app.view
        await until(lambda: view.pane_size.rows)
        pixels = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64) % 32
        palette = np.repeat(np.arange(0, 256, 8, dtype=np.uint8)[:, None], 3, axis=1)
        legend = app.query_one("#legend", Static)
        for _ in range(2):  # an equal picture says the same
            picture = composed(frame_file(tmp_path), view.pane_size)
            view.show(replace(picture, mosaic=Picture(pixels.copy(), palette)))
            await until(lambda: view.mosaic.shown is not None)
            await pilot.pause()
            assert "4 channels" in str(legend.content)
            assert note in str(legend.content)
            assert ("colours" in str(legend.content)) is bool(note)


RESIDUAL = ("stem.conv", *(f"stage{n}.0.{part}" for n in range(1, 5) for part in ("conv1", "conv2", "shortcut.conv")))


def titled(layer: int, width: int = 74, *, layers: tuple[str, ...] = RESIDUAL, follows: bool = True) -> Text:
    frames = tuple(range(13 if follows else 31))
    selection = Selection(None if follows else 12, layer)
    return title_line(layers, selection, frames=frames, live=True, probes=4, width=width)


def test_a_title_that_fits_has_every_layer_and_no_number() -> None:
    text = titled(1, layers=("conv1", "conv2", "conv3")).plain
    assert text == " conv1  ▸conv2◂  conv3   feature maps  epoch 13 ● live  probe 1/4"


@pytest.mark.parametrize("layer", range(len(RESIDUAL)))
@pytest.mark.parametrize("follows", [True, False], ids=["live", "earlier"])
def test_long_names_leave_room_for_view_epoch_and_probe(layer: int, follows: bool) -> None:
    text = titled(layer, follows=follows)
    assert text.cell_len <= 74
    assert f"▸{RESIDUAL[layer]}◂ {layer + 1}/{len(RESIDUAL)} " in text.plain
    assert " feature maps  epoch 13 " in text.plain
    assert text.plain.endswith("  probe 1/4")


def test_a_wider_title_has_more_layers_around_the_chosen_one() -> None:
    around = [titled(6, width).plain.count("stage") for width in (74, 110, 150, 400)]
    assert around == [1, 3, 5, 12]


def test_of_a_name_that_is_too_long_by_itself_the_end_is_seen() -> None:
    text = titled(6, layers=(*RESIDUAL[:6], "backbone." * 5 + "shortcut.conv"))
    assert text.cell_len == 74
    assert "shortcut.conv◂ 7/7 " in text.plain
    assert "▸…" in text.plain
    assert text.plain.endswith("  probe 1/4")


def test_a_narrow_title_drops_words_before_it_shortens_a_name() -> None:
    text = titled(0, 56, layers=("features.0", "features.3", "features.6"))
    assert text.plain == "▸features.0◂ 1/3  feature maps  epoch 13 ●  probe 1/4"


@pytest.mark.parametrize(
    ("photograph_px", "protocol", "columns"),
    [(0, Protocol.SIXEL, 56), (128, Protocol.SIXEL, 56), (160, Protocol.SIXEL, 40), (160, Protocol.KITTY, 56)],
)
def test_a_side_is_no_wider_than_its_photograph_needs(photograph_px: int, protocol: Protocol, columns: int) -> None:
    layout = choose_layout(Area(200, 40), None, 2, (4, 8, 8), Terminal(protocol), photograph_px=photograph_px)
    assert layout.side.columns == columns
