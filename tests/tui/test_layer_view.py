"""The words around a layer's picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from textual.app import App, ComposeResult
from textual.widgets import Static

from tests.piloting import until
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
