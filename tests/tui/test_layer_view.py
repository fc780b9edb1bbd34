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
from tui.composing import compose
from tui.graphics import Picture, PictureView, Protocol, Terminal
from tui.layer_picture import LayerPicture, LayerRequest
from tui.widgets.layer_view import LayerView


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
        view.show(layer_picture())
        await until(lambda: view.mosaic.shown_picture is not None)
        area, wide, photograph = view.areas_px
        assert wide[0] > area[0] == view.mosaic.area_px[0]

        view.show(replace(layer_picture(), wide=True))
        await until(lambda: view.mosaic.area_px == wide)
        assert view.areas_px[:2] == (area, wide), (
            "what there would be beside either side does not depend on which it is"
        )
        assert view.areas_px[2][0] < photograph[0]
        view.show(layer_picture())
        await until(lambda: view.mosaic.area_px == area)


async def test_a_caption_of_its_own_keeps_its_width() -> None:
    app = App[None]()
    async with app.run_test(size=(100, 30)):
        view = LayerView("nothing yet", lambda picture: Text("mine"))
        app.terminal = Terminal(Protocol.SIXEL)  # type: ignore[attr-defined]  # what `PictureView` reads
        await app.mount(view)
        view.make_room()
        view.show(layer_picture())
        await until(lambda: view.mosaic.shown_picture is not None)
        area, wide, _ = view.areas_px
        assert area == wide


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


async def test_colours_that_the_link_had_no_time_for_are_not_lost_in_silence() -> None:
    app = LayerApp()
    async with app.run_test(size=(100, 30)):
        view = app.query_one(LayerView)
        view.show(layer_picture())
        await until(lambda: view.mosaic._painter.encoded is not None)
        legend = app.query_one("#legend", Static)
        await until(lambda: "4 maps" in str(legend.content))
        assert "colours" not in str(legend.content)
        encoded = view.mosaic._painter.encoded
        assert encoded is not None
        view.mosaic.post_message(PictureView.Shown(view.mosaic, replace(encoded, colours=12)))
        await until(lambda: "12 of 32 colours for a slow link" in str(legend.content))
