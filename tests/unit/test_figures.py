"""Captioned pictures of a view: they say what they show, and every scale has numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec import structs
from PIL import Image, ImageDraw

from facegender.rendering.colormaps import DIVERGING, VIRIDIS
from facegender.rendering.figures import (
    Figure,
    FigureRequest,
    draw,
    epoch_figures,
    figure_of,
    file_name,
    mosaic_picture,
    read_figure,
    write_gif,
)
from facegender.rendering.view_options import View
from facegender.rendering.views import NothingToShow, view_tiles
from facegender.runs.folder import INITIAL, RunFolder
from facegender.runs.frames import open_frame, write_frame
from tests import recorded


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return recorded.write_run(tmp_path)


def texts_drawn(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All texts that drawing a figure writes into the picture."""
    written: list[str] = []
    original = ImageDraw.ImageDraw.text

    def text(self: ImageDraw.ImageDraw, xy: object, text: str, *rest: object, **more: object) -> None:
        written.append(text)
        original(self, xy, text, *rest, **more)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    draw(figure)
    return written


def test_feature_maps_are_captioned_with_run_epoch_layer_probe_and_scale(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = read_figure(folder, FigureRequest(epoch=1, layer="conv2", probe=1))
    assert figure.title == f"{folder.name} · epoch 2 (step 10) · conv2 · feature maps"
    about_probe, modules, scale = figure.notes
    assert about_probe.startswith("probe 2 (face-1.png), labelled male; predicted ")
    assert modules == "output of conv2, relu"
    assert scale == "6 tiles, row by row; each tile on its own scale"
    assert (figure.low.count("…"), figure.high.count("…")) == (1, 1)
    written = texts_drawn(figure, monkeypatch)
    assert {figure.title, figure.low, figure.high, *figure.notes, *"123456"} <= set(written)


@pytest.mark.parametrize(
    ("changes", "title", "note"),
    [
        ({"view": "filters"}, "conv1 · filters", "red, green and blue are the weights for these colours; grey is zero"),
        ({"view": "filters", "layer": "conv2"}, "conv2 · filters", "mean over the inputs; red is positive, blue is"),
        ({"view": "filters", "layer": "conv2", "channel": 1}, "filters · channel 2", "one kernel per input; red"),
        ({"view": "average"}, "channel average", "output of conv1, relu"),
        ({"view": "cam"}, "(step 15) · where it looked", "brighter = more influence on the class (LayerCAM at conv3)"),
        ({"view": "difference", "reference": 0}, "difference to epoch 1", "red is higher than in the other epoch"),
        ({"scope": "layer"}, "feature maps", "4 tiles, row by row; one scale for the layer"),
        ({"scope": "run"}, "feature maps", "4 tiles, row by row; one scale for all epochs"),
        ({"channel": 2}, "conv1 · feature maps · channel 3", "output of conv1, relu"),
    ],
)  # fmt: skip
def test_each_view_says_what_its_colours_mean(
    folder: RunFolder, changes: dict[str, object], title: str, note: str
) -> None:
    figure = read_figure(folder, structs.replace(FigureRequest(epoch=2, layer="conv1"), **changes))
    assert title in figure.title
    assert any(line.startswith(note) for line in figure.notes)
    picture = draw(figure)
    assert picture.mode == "RGB"
    assert picture.width <= 960


def test_the_initial_weights_are_called_epoch_0(folder: RunFolder) -> None:
    write_frame(folder.frame_path(INITIAL), structs.replace(recorded.frame(0), epoch=INITIAL, step=0))
    figure = read_figure(folder, FigureRequest(epoch=INITIAL, layer="conv1"))
    assert "epoch 0, initial weights (step 0)" in figure.title


def test_tiles_on_one_scale_have_one_number_at_each_end(folder: RunFolder) -> None:
    figure = read_figure(folder, FigureRequest(epoch=2, layer="conv2", view="filters"))
    assert figure.bar is DIVERGING
    assert float(figure.high) == -float(figure.low) == pytest.approx(float(figure.tiles.high[0]), rel=1e-2)


def test_the_mosaic_has_the_colours_of_the_tiles_where_the_grid_says(folder: RunFolder) -> None:
    with open_frame(folder.frame_path(2)) as frame:
        tiles = view_tiles("maps", frame, "conv1")
    picture, grid = mosaic_picture(tiles, (400, 300))
    assert picture.size == (grid.width, grid.height)
    pixels = np.asarray(picture)
    for channel in range(4):
        x, y = grid.origin(channel)
        assert tuple(pixels[y, x]) == tuple(VIRIDIS[tiles.pixels[channel, 0, 0]])


def test_a_layer_of_many_channels_fits_and_has_no_labels(monkeypatch: pytest.MonkeyPatch, folder: RunFolder) -> None:
    tiles = read_figure(folder, FigureRequest(epoch=2, layer="conv1")).tiles
    many = structs.replace(
        tiles,
        pixels=np.zeros((2048, 7, 7), np.uint8),
        low=np.zeros(2048, np.float32),
        high=np.ones(2048, np.float32),
        labels=tuple(map(str, range(1, 2049))),
    )
    figure = figure_of(many, "x" * 400, ["a note of many words " * 40])
    assert draw(figure).width <= 960
    assert "2048" not in texts_drawn(figure, monkeypatch)


def test_texts_of_a_file_cannot_control_a_terminal(folder: RunFolder) -> None:
    write_frame(folder.frame_path(0), recorded.frame(0, names=["evil\x1b[2J\nname", "b"]))
    figure = read_figure(folder, FigureRequest(epoch=0, layer="conv1"))
    assert all(text.isprintable() for text in (figure.title, *figure.notes))


@pytest.mark.parametrize("view", ["maps", "filters", "cam"])
def test_the_epochs_of_an_animation_share_one_scale(folder: RunFolder, view: View) -> None:
    figures = list(epoch_figures(folder, FigureRequest(epoch=2, layer="conv2", view=view)))
    assert len(figures) == 3
    assert len({(figure.low, figure.high) for figure in figures}) == 1
    assert all(figure.tiles.scope == "run" for figure in figures)


def test_epochs_that_have_nothing_to_show_are_left_out_of_an_animation(folder: RunFolder) -> None:
    write_frame(folder.frame_path(1), structs.replace(recorded.frame(1), cams={}))
    with pytest.raises(NothingToShow):
        read_figure(folder, FigureRequest(epoch=1, layer="conv1", view="cam"))
    assert len(list(epoch_figures(folder, FigureRequest(epoch=2, layer="conv1", view="cam")))) == 2
    assert len(list(epoch_figures(folder, FigureRequest(epoch=2, layer="conv1", view="difference", reference=0)))) == 2


def test_a_gif_plays_the_epochs_for_ever_and_is_written_whole(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (40 + number, 30 - number), (80 * number, 0, 0)) for number in range(3)]
    write_gif(tmp_path / "a.gif", pictures)
    with Image.open(tmp_path / "a.gif") as gif:
        assert (gif.n_frames, gif.size, gif.info["loop"]) == (3, (42, 30), 0)
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


def test_a_figure_has_a_name_of_its_own_that_any_file_system_takes() -> None:
    chosen = FigureRequest(epoch=2, layer="features.0", view="maps", channel=4)
    assert file_name(chosen, ".png") == "features.0_maps_channel_5_epoch_2.png"
    assert file_name(structs.replace(chosen, view="cam", channel=None, probe=1), ".gif") == "cam_probe_2.gif"
    assert file_name(structs.replace(chosen, epoch=INITIAL, channel=None), ".png") == "features.0_maps_initial.png"
    odd = file_name(structs.replace(chosen, layer="../a\x1b b" * 60), ".png")
    assert "/" not in odd
    assert odd.isprintable()
    assert len(odd) <= 104
