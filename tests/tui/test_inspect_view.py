"""The words around a layer's picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.text import Text
from textual.app import App, ComposeResult
from textual.widgets import Static

from facegender.runs.frames import LayerFrame, write_frame
from tests import recorded
from tests.piloting import until
from tui.graphics import Picture, Protocol, Terminal
from tui.graphics.context import GraphicsContext
from tui.inspect.composing import compose
from tui.inspect.layer_picture import LayerPicture, LayerRequest
from tui.inspect.view import LayerTitle, LayerView, title_line


class LayerApp(App[None]):
    terminal = Terminal(Protocol.SIXEL)

    def compose(self) -> ComposeResult:
        yield LayerView("nothing yet")


def layer_picture() -> LayerPicture:
    pixels = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64) % 32
    palette = np.repeat(np.arange(0, 256, 8, dtype=np.uint8)[:, None], 3, axis=1)
    request = LayerRequest(Path("epoch_3.safetensors"), 3, 0, 0, "maps", None, False, (400, 300))
    return LayerPicture(
        request=request, mosaic=Picture(pixels, palette), photograph=None, layers=("conv1",), layer="conv1",
        channels=4, columns=2, probes=1, low=0.0, high=1.0, common_range=False, channel_stats=(), label="female",
        name="a.jpg", probabilities={},
    )  # fmt: skip


async def test_room_is_made_for_tiles_that_are_too_small_otherwise() -> None:
    app = LayerApp()
    async with app.run_test(size=(100, 30)):
        view = app.query_one(LayerView)
        view.make_room()
        await until(lambda: view.photograph.size.width)
        view.show(layer_picture())
        await until(lambda: view.mosaic.shown_picture is not None)
        before = view.areas
        assert before.wide_mosaic_px[0] > before.mosaic_px[0] == view.mosaic.area_px[0]

        view.show(replace(layer_picture(), wide=True))
        await until(lambda: view.mosaic.area_px == before.wide_mosaic_px)
        assert view.areas == before, "so that a picture is asked for only once"
        view.show(layer_picture())
        await until(lambda: view.mosaic.area_px == before.mosaic_px)


async def test_a_caption_of_its_own_keeps_its_width() -> None:
    app = App[None]()
    async with app.run_test(size=(100, 30)):
        view = LayerView("nothing yet", lambda picture: Text("mine"))
        app.terminal = Terminal(Protocol.SIXEL)  # type: ignore[attr-defined]  # what `PictureView` reads
        await app.mount(view)
        view.make_room()
        await until(lambda: view.photograph.size.width)
        view.show(layer_picture())
        await until(lambda: view.mosaic.shown_picture is not None)
        assert view.areas.mosaic_px == view.areas.wide_mosaic_px


@pytest.mark.parametrize(
    ("channels", "side", "area_px", "wide_area_px", "wide"),
    [
        (32, 64, (720, 678), (860, 678), False),
        (128, 64, (720, 678), (860, 678), True),
        (128, 16, (720, 678), (860, 678), False),
        (128, 64, (400, 300), (500, 300), False),
        (128, 64, (720, 678), (720, 678), False),
    ],
    ids=["room enough", "room is made", "nothing more to see", "too little room all the same", "no room to make"],
)
def test_every_channel_has_sixty_four_pixels_where_there_is_a_way(
    tmp_path: Path, channels: int, side: int, area_px: tuple[int, int], wide_area_px: tuple[int, int], wide: bool
) -> None:
    frame = recorded.frame(0)
    layer = LayerFrame(
        name="conv1",
        maps=np.zeros((2, channels, side, side), np.float32),
        filters=np.zeros((channels, 3, 3, 3), np.float32),
        stats=np.zeros((2, channels, 5), np.float32),
    )
    write_frame(tmp_path / "a.safetensors", msgspec.structs.replace(frame, layers=[layer]))
    request = LayerRequest(tmp_path / "a.safetensors", 0, 0, 0, "maps", None, False, area_px, wide_area_px=wide_area_px)
    picture = compose(request)
    assert picture.wide is wide
    room = wide_area_px if wide else area_px
    assert picture.mosaic.width_px <= room[0]
    assert picture.mosaic.height_px <= room[1]
    if wide:
        assert picture.columns * 64 <= picture.mosaic.width_px


@pytest.mark.parametrize(
    ("terminal", "budget_bytes", "note"),
    [
        (Terminal(Protocol.SIXEL), 0, ""),
        (Terminal(Protocol.SIXEL), 2000, "of 32 colours for a slow link"),
        (Terminal(Protocol.SIXEL, sixel_registers=16), 0, "16 of 32 colours: the terminal has no more"),
    ],
    ids=["all", "slow link", "few registers"],
)
async def test_colours_that_are_left_out_are_not_left_out_in_silence(
    monkeypatch: pytest.MonkeyPatch, terminal: Terminal, budget_bytes: int, note: str
) -> None:
    monkeypatch.setattr(GraphicsContext, "budget_bytes", lambda self, cells: budget_bytes)
    app = LayerApp()
    app.terminal = terminal
    async with app.run_test(size=(100, 30)) as pilot:
        view = app.query_one(LayerView)
        view.make_room()
        await until(lambda: view.photograph.size.width)
        legend = app.query_one("#legend", Static)
        for _ in range(2):  # a picture of equal content made again says the same
            view.show(layer_picture())
            await until(lambda: view.mosaic.shown_picture is not None)
            await pilot.pause()
            assert "4 maps" in str(legend.content)
            assert note in str(legend.content)
            assert ("colours" in str(legend.content)) is bool(note)


RESIDUAL = ("stem.conv", *(f"stage{n}.0.{part}" for n in range(1, 5) for part in ("conv1", "conv2", "shortcut.conv")))


def layer_title(layer: int, *, layers: tuple[str, ...] = RESIDUAL, follows: bool = True) -> LayerTitle:
    return LayerTitle(
        layers=layers, layer=layer, mode="maps", probe=0, probes=4, epoch=12, newest=30, follows=follows, live=True
    )


def test_a_title_that_fits_has_every_layer_and_no_number() -> None:
    text = title_line(layer_title(1, layers=("conv1", "conv2", "conv3")), 74).plain
    assert text == " conv1  ▸conv2◂  conv3   feature maps  epoch 13 ● live  probe 1/4"


@pytest.mark.parametrize("layer", range(len(RESIDUAL)))
@pytest.mark.parametrize("follows", [True, False], ids=["live", "earlier"])
def test_long_names_leave_room_for_view_epoch_and_probe(layer: int, follows: bool) -> None:
    text = title_line(layer_title(layer, follows=follows), 74)
    assert text.cell_len <= 74
    assert f"▸{RESIDUAL[layer]}◂ {layer + 1}/{len(RESIDUAL)} " in text.plain
    assert " feature maps  epoch 13 " in text.plain
    assert text.plain.endswith("  probe 1/4")


def test_a_wider_title_has_more_layers_around_the_chosen_one() -> None:
    around = [title_line(layer_title(6), width).plain.count("stage") for width in (74, 110, 150, 400)]
    assert around == [1, 3, 5, 12]


def test_of_a_name_that_is_too_long_by_itself_the_end_is_seen() -> None:
    text = title_line(layer_title(6, layers=(*RESIDUAL[:6], "backbone." * 5 + "shortcut.conv")), 74)
    assert text.cell_len == 74
    assert "shortcut.conv◂ 7/7 " in text.plain
    assert "▸…" in text.plain
    assert text.plain.endswith("  probe 1/4")
