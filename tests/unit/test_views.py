"""Views of a layer: each shows the numbers of the frame, on a scale that says what its colours stand for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from facegender.rendering import history
from facegender.rendering.colormaps import DIVERGING, VIRIDIS
from facegender.rendering.view_options import SCOPES, Scope, View
from facegender.rendering.views import NothingToShow, top_values, view_tiles
from facegender.runs.folder import INITIAL
from facegender.runs.frames import Frame, FrameReader, FrameUnreadable, open_frame, write_frame
from tests import recorded


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def frame() -> Frame:
    return recorded.frame(3)


def reader(stack: ExitStack, folder: Path, frame: Frame) -> FrameReader:
    path = folder / f"{frame.epoch}.safetensors"
    write_frame(path, frame)
    return stack.enter_context(open_frame(path))


def shown(tiles, index: int) -> np.ndarray:
    """The values that a tile's colours stand for."""
    low, high = tiles.low[index], tiles.high[index]
    return tiles.pixels[index] / 255 * (high - low) + low


@pytest.mark.parametrize("scope", SCOPES["maps"])
def test_feature_maps_show_the_activation_on_each_scale(
    stack: ExitStack, tmp_path: Path, frame: Frame, scope: Scope
) -> None:
    limits = (-6.0, 6.0) if scope == "run" else None
    tiles = view_tiles("maps", reader(stack, tmp_path, frame), "conv2", probe=1, scope=scope, limits=limits)
    maps = frame.layers[1].maps[1]
    assert tiles.scope == scope
    assert tiles.colormap is VIRIDIS
    assert tiles.labels == tuple("123456")
    for channel in range(6):
        step = float(tiles.high[channel] - tiles.low[channel]) / 255
        np.testing.assert_allclose(shown(tiles, channel), maps[channel], atol=1.5 * step)
    ranges = {(float(low), float(high)) for low, high in zip(tiles.low, tiles.high, strict=True)}
    assert len(ranges) == (6 if scope == "channel" else 1)
    if scope == "layer":
        assert ranges == {(float(maps.min()), float(maps.max()))}
    if scope == "run":
        assert ranges == {(-6.0, 6.0)}


def test_values_beyond_a_given_scale_have_its_last_colours(stack: ExitStack, tmp_path: Path, frame: Frame) -> None:
    opened = reader(stack, tmp_path, frame)
    tiles = view_tiles("maps", opened, "conv1", scope="run", limits=(-0.1, 0.1))
    maps = frame.layers[0].maps[0]
    assert (tiles.pixels[maps > 0.2] == 255).all()
    assert (tiles.pixels[maps < -0.2] == 0).all()


def test_filters_that_see_the_photograph_have_its_colours(stack: ExitStack, tmp_path: Path, frame: Frame) -> None:
    filters = frame.layers[0].filters
    tiles = view_tiles("filters", reader(stack, tmp_path, frame), "conv1")
    assert tiles.pixels.shape == (4, 3, 3, 3)
    assert set(tiles.high.tolist()) == {float(np.abs(filters).max())}
    np.testing.assert_allclose(shown(tiles, 2), np.moveaxis(filters[2], 0, 2), atol=tiles.high[0] / 250)


@pytest.mark.parametrize(("layer", "variant"), [("conv1", "weights"), ("conv2", None)])
def test_other_filters_are_averaged_over_their_inputs(
    stack: ExitStack, tmp_path: Path, frame: Frame, layer: str, variant
) -> None:
    tiles = view_tiles("filters", reader(stack, tmp_path, frame), layer, variant=variant)
    means = next(one for one in frame.layers if one.name == layer).filters.mean(axis=1)
    assert tiles.colormap is DIVERGING
    assert tiles.pixels.shape == means.shape
    assert tiles.low[0] == -tiles.high[0]
    np.testing.assert_allclose(shown(tiles, 3), means[3], atol=tiles.high[0] / 250)


def test_one_filter_shows_the_kernel_of_each_input(stack: ExitStack, tmp_path: Path, frame: Frame) -> None:
    opened = reader(stack, tmp_path, frame)
    tiles = view_tiles("filters", opened, "conv3", channel=4)
    assert tiles.labels == ("1", "2", "3")
    np.testing.assert_allclose(shown(tiles, 1), frame.layers[2].filters[4, 1], atol=tiles.high[0] / 250)


def test_of_a_layer_with_too_many_weights_the_strongest_kernels_say_which_inputs_they_belong_to(
    stack: ExitStack, tmp_path: Path, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facegender.runs.frames.MAX_FILTERS_BYTES", 900)
    random = np.random.default_rng(0)
    wide = structs.replace(frame.layers[1], filters=random.normal(size=(6, 32, 3, 3)).astype(np.float32))
    opened = reader(stack, tmp_path, structs.replace(frame, layers=[frame.layers[0], wide]))
    tiles = view_tiles("filters", opened, "conv2", channel=2)
    strength = np.square(wide.filters[2]).sum(axis=(1, 2))
    order = [str(number + 1) for number in np.argsort(-strength)]
    assert 0 < len(tiles.labels) < 32
    assert list(tiles.labels) == order[: len(tiles.labels)]


@pytest.mark.parametrize("variant", ["maps", "filters"])
@pytest.mark.parametrize("scope", SCOPES["difference"])
def test_a_difference_is_this_epoch_minus_the_reference(
    stack: ExitStack, tmp_path: Path, frame: Frame, variant, scope: Scope
) -> None:
    earlier = recorded.frame(1)
    opened, reference = reader(stack, tmp_path, frame), reader(stack, tmp_path, earlier)
    tiles = view_tiles("difference", opened, "conv2", probe=1, reference=reference, variant=variant, scope=scope)
    new, old = frame.layers[1], earlier.layers[1]
    expected = new.maps[1] - old.maps[1] if variant == "maps" else (new.filters - old.filters).mean(axis=1)
    assert tiles.colormap is DIVERGING
    np.testing.assert_array_equal(tiles.low, -tiles.high)
    assert len(set(tiles.high.tolist())) == (1 if scope == "layer" else 6)
    for channel in range(6):
        np.testing.assert_allclose(shown(tiles, channel), expected[channel], atol=float(tiles.high.max()) / 50)


def test_an_epoch_does_not_differ_from_itself(stack: ExitStack, tmp_path: Path, frame: Frame) -> None:
    opened = reader(stack, tmp_path, frame)
    tiles = view_tiles("difference", opened, "conv1", reference=opened)
    assert set(np.unique(tiles.pixels).tolist()) <= {127, 128}


def test_a_difference_to_another_network_says_so(stack: ExitStack, tmp_path: Path, frame: Frame) -> None:
    other = structs.replace(frame, epoch=0, layers=[structs.replace(frame.layers[0], maps=np.zeros((2, 4, 5, 5), "f"))])
    opened, reference = reader(stack, tmp_path, frame), reader(stack, tmp_path, other)
    with pytest.raises(NothingToShow, match="another size in epoch 1"):
        view_tiles("difference", opened, "conv1", reference=reference)
    with pytest.raises(NothingToShow, match="epoch 1 has no layer conv2"):
        view_tiles("difference", opened, "conv2", reference=reference)
    with pytest.raises(NothingToShow, match="no other epoch"):
        view_tiles("difference", opened, "conv2")


def test_a_class_whose_name_is_that_of_the_limits_of_another_has_no_heatmap(
    stack: ExitStack, tmp_path: Path, frame: Frame
) -> None:
    cams = {"a": frame.cams["female"], "a/high": frame.cams["male"]}
    tiles = view_tiles("cam", reader(stack, tmp_path, structs.replace(frame, classes=list(cams), cams=cams)), "conv1")
    assert tiles.labels == ("a",)


def test_heatmaps_of_different_sizes_are_unreadable(tmp_path: Path, frame: Frame) -> None:
    cams = {"female": np.ones((2, 4, 4), np.float32), "male": np.ones((2, 5, 4), np.float32)}
    path = tmp_path / "frame.safetensors"
    write_frame(path, structs.replace(frame, cams=cams))
    with pytest.raises(FrameUnreadable, match="has heatmaps of different sizes"), open_frame(path) as opened:
        view_tiles("cam", opened, "conv1")


@pytest.mark.parametrize("scope", SCOPES["cam"])
def test_where_it_looked_is_shown_over_the_photograph_for_each_class(
    stack: ExitStack, tmp_path: Path, frame: Frame, scope: Scope
) -> None:
    cams = {"female": frame.cams["female"], "male": frame.cams["male"] / 4}
    opened = reader(stack, tmp_path, structs.replace(frame, cams=cams))
    limits = (0.0, 8.0) if scope == "run" else None
    tiles = view_tiles("cam", opened, "conv1", probe=1, scope=scope, limits=limits)
    assert tiles.labels == ("female", "male")
    assert tiles.pixels.shape == (2, recorded.IMAGE_PX, recorded.IMAGE_PX, 3)
    own = [float(cam[1].max()) for cam in cams.values()]
    expected = {"channel": own, "layer": [max(own)] * 2, "run": [8.0, 8.0]}[scope]
    np.testing.assert_allclose(tiles.high, expected, rtol=1e-6)
    row, column = np.unravel_index(cams["female"][1].argmax(), (4, 4))
    spot = tiles.pixels[0, row * 6 + 3, column * 6 + 3].astype(int)
    yellow = np.abs(spot - VIRIDIS[255]).sum() < np.abs(spot - VIRIDIS[0]).sum()
    assert yellow or scope == "run"


def test_of_many_classes_the_most_probable_comes_first(stack: ExitStack, tmp_path: Path, frame: Frame) -> None:
    names = [f"class-{number}" for number in range(12)]
    shares = np.random.default_rng(2).dirichlet(np.ones(12), size=2).astype(np.float32)
    cams = dict.fromkeys(names, frame.cams["female"])
    opened = reader(stack, tmp_path, structs.replace(frame, classes=names, probabilities=shares, cams=cams))
    labels = view_tiles("cam", opened, "conv1", probe=1).labels
    assert list(labels) == [names[number] for number in np.argsort(-shares[1])]


def test_the_largest_activations_are_those_of_the_frame(stack: ExitStack, tmp_path: Path, frame: Frame) -> None:
    top = top_values(reader(stack, tmp_path, frame), "conv3", 7)
    expected = frame.layers[2].top
    assert expected is not None
    np.testing.assert_array_equal(top.value, expected.value[7])
    np.testing.assert_array_equal(top.image, expected.image[7])
    np.testing.assert_array_equal(top.at, expected.at[7])


@pytest.mark.parametrize("view", ["cam", "top"])
@pytest.mark.parametrize(("epoch", "why"), [(2, "not recorded in this epoch"), (INITIAL, "the initial weights")])
def test_what_a_frame_does_not_have_is_said_in_one_line(
    stack: ExitStack, tmp_path: Path, frame: Frame, view: View, epoch: int, why: str
) -> None:
    layers = [structs.replace(layer, top=None) for layer in frame.layers]
    opened = reader(stack, tmp_path, structs.replace(frame, epoch=epoch, layers=layers, cams={}))
    with pytest.raises(NothingToShow, match=why):
        top_values(opened, "conv1", 0) if view == "top" else view_tiles(view, opened, "conv1")


def test_a_frame_of_an_earlier_version_says_so(
    stack: ExitStack, tmp_path: Path, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facegender.runs.frames.SCHEMA_VERSION", 1)
    layers = [structs.replace(layer, top=None, units=None) for layer in frame.layers]
    opened = reader(stack, tmp_path, structs.replace(frame, layers=layers, cams={}))
    with pytest.raises(NothingToShow, match="by an earlier version: train on"):
        view_tiles("cam", opened, "conv1")
    assert len(view_tiles("maps", opened, "conv1").pixels) == 4


# Over the epochs


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 128, 129, 1000, 5000])
def test_of_many_epochs_a_bounded_number_is_read_and_always_the_last(count: int) -> None:
    epochs = list(range(3, 3 + count))
    chosen = history.spaced(epochs)
    assert len(chosen) <= history.MAX_FRAMES + 1
    assert (chosen[0], chosen[-1]) == (epochs[0], epochs[-1])
    assert list(chosen) == sorted(set(chosen))
    if count <= history.MAX_FRAMES:
        assert list(chosen) == epochs


def test_a_further_epoch_leaves_the_choice_of_the_others() -> None:
    before = set(history.spaced(list(range(1000)))[:-1])
    assert before <= set(history.spaced(list(range(1001))))


def files_of(folder: Path, frames: list[Frame]) -> list[tuple[int, Path]]:
    for frame in frames:
        write_frame(folder / f"{frame.epoch}.safetensors", frame)
    return [(frame.epoch, folder / f"{frame.epoch}.safetensors") for frame in frames]


def test_the_scale_of_a_run_holds_the_values_of_all_epochs(tmp_path: Path) -> None:
    frames = [recorded.frame(epoch) for epoch in range(3)]
    files = [*files_of(tmp_path, frames), (3, tmp_path / "missing.safetensors")]
    maps = np.stack([frame.layers[1].maps for frame in frames])
    assert history.run_limits("maps", files, "conv2") == pytest.approx((maps.min(), maps.max()))
    means = np.stack([frame.layers[1].filters.mean(axis=1) for frame in frames])
    assert history.run_limits("filters", files, "conv2") == pytest.approx((-np.abs(means).max(), np.abs(means).max()))
    weights = np.stack([frame.layers[0].filters for frame in frames])
    assert history.run_limits("filters", files, "conv1")[1] == pytest.approx(np.abs(weights).max())
    means = weights.mean(axis=2)
    assert history.run_limits("filters", files, "conv1", variant="weights")[1] == pytest.approx(np.abs(means).max())
    cams = [cam[1].max() for frame in frames for cam in frame.cams.values()]
    assert history.run_limits("cam", files, "conv1", probe=1) == pytest.approx((0.0, max(cams)))
    assert history.run_limits("difference", files, "conv1") is None
    assert history.run_limits("maps", files, "other") is None


def test_a_frame_that_is_written_again_is_read_again(tmp_path: Path) -> None:
    frame = recorded.frame(0)
    files = files_of(tmp_path, [frame])
    before = history.run_limits("maps", files, "conv1")
    assert before is not None
    larger = [structs.replace(layer, maps=layer.maps * 2) for layer in frame.layers]
    files_of(tmp_path, [structs.replace(frame, layers=larger, probe_names=["another", "length"])])
    assert history.run_limits("maps", files, "conv1") == pytest.approx((2 * before[0], 2 * before[1]))


def test_the_curve_of_a_channel_is_its_mean_and_its_zeros_over_the_epochs(tmp_path: Path) -> None:
    frames = [recorded.frame(epoch) for epoch in (0, 1, 4)]
    curve = history.channel_curve(files_of(tmp_path, frames), "conv3", 1, 5)
    assert curve.epochs == (0, 1, 4)
    np.testing.assert_allclose(curve.mean, [frame.layers[2].stats[1, 5, 0] for frame in frames])
    np.testing.assert_allclose(curve.zero, [frame.layers[2].stats[1, 5, 4] for frame in frames])


@pytest.mark.filterwarnings("error")
def test_limits_that_are_not_finite_print_no_warning_on_a_shared_scale(tmp_path: Path, frame: Frame) -> None:
    path = tmp_path / "frame.safetensors"
    write_frame(path, frame)
    tensors = load_file(path)
    tensors["maps/conv1/low"][:] = -np.inf
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
    save_file(tensors, path, metadata)
    with open_frame(path) as opened:
        assert len(view_tiles("maps", opened, "conv1", scope="layer").pixels) == 4
