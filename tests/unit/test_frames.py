"""Frame files: the numbers come back, a part without the rest, and damage is told in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import recorded
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from facegender.runs import frames
from facegender.runs.frames import FrameReader, FrameUnreadable, dequantise, open_frame, quantise, write_frame


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "epoch_3.safetensors"


def test_everything_in_a_frame_comes_back(path: Path) -> None:
    written = recorded.frame(3, probes=3, heatmap=True)
    write_frame(path, written)
    with open_frame(path) as frame:
        assert frame.info.epoch == 3
        assert frame.info.global_step == written.step
        assert frame.info.layers == list(recorded.LAYERS)
        assert frame.info.classes == recorded.CLASSES
        assert frame.info.probe_names == list(written.probe_names)
        assert frame.info.maps_of == written.maps_of
        assert frame.info.statistics == ["mean", "std", "min", "max", "zero"]
        for probe, image in enumerate(written.images):
            np.testing.assert_array_equal(frame.probe_image(probe), image)
        np.testing.assert_array_equal(frame.tensor("probe/labels"), written.labels)
        np.testing.assert_array_equal(frame.tensor("probe/probabilities"), written.probabilities)
        np.testing.assert_array_equal(frame.tensor("probe/heatmap"), written.heatmap)
        for layer in written.layers:
            np.testing.assert_array_equal(frame.tensor(f"filters/{layer.name}"), layer.filters)


def test_reading_one_probe_of_one_layer_gives_that_slice(path: Path) -> None:
    written = recorded.frame(3, probes=3)
    write_frame(path, written)
    with open_frame(path) as frame:
        for layer in written.layers:
            quantised, low, high = quantise(layer.maps)
            for probe in range(3):
                maps, lowest, highest = frame.maps(layer.name, probe)
                np.testing.assert_array_equal(maps, quantised[probe])
                np.testing.assert_array_equal(lowest, low[probe])
                np.testing.assert_array_equal(highest, high[probe])
                np.testing.assert_array_equal(frame.tensor(f"stats/{layer.name}", probe), layer.stats[probe])
        for probe in range(3):
            np.testing.assert_array_equal(frame.probe_image(probe), written.images[probe])


def test_the_heatmap_is_optional(path: Path) -> None:
    write_frame(path, recorded.frame(3))
    with open_frame(path) as frame:
        assert "probe/heatmap" not in frame


def test_names_that_look_like_json_and_names_with_controls_come_back_as_text(path: Path) -> None:
    names = ["[1, 2]", 'say "hello"\n\x1b[2J', "日本.jpg"]
    write_frame(path, recorded.frame(3, probes=3, names=names))
    with open_frame(path) as frame:
        assert frame.info.probe_names == names


def test_arrays_that_are_views_with_strides_are_written_as_they_look(path: Path) -> None:
    written = recorded.frame(3)
    turned = msgspec.structs.replace(written, images=written.images[:, ::-2, ::2])
    write_frame(path, turned)
    with open_frame(path) as frame:
        np.testing.assert_array_equal(frame.probe_image(1), written.images[1, ::-2, ::2])


def test_no_temporary_and_no_frame_is_left_where_writing_failed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_frame(path, recorded.frame(3))
    assert not list(path.parent.iterdir())


def test_writing_a_frame_again_replaces_it(path: Path) -> None:
    write_frame(path, recorded.frame(3))
    write_frame(path, recorded.frame(4))
    with open_frame(path) as frame:
        assert frame.info.epoch == 4
    assert [found.name for found in path.parent.iterdir()] == [path.name]


# What cannot be read


def reading(path: Path) -> str:
    """The message of the refusal to open a file."""
    with pytest.raises(FrameUnreadable) as refusal, open_frame(path):
        pass
    message = str(refusal.value)
    assert "\n" not in message
    return message


def test_a_missing_frame_is_said_to_be_missing(path: Path) -> None:
    assert reading(path) == "epoch_3.safetensors does not exist (yet, or any more)"


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_frame_cut_short_is_unreadable(path: Path, share: float) -> None:
    write_frame(path, recorded.frame(3))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "cannot be read" in reading(path)


def test_something_that_is_no_frame_is_unreadable(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n" * 100)
    assert "cannot be read" in reading(path)


def test_a_folder_in_the_place_of_a_frame_is_unreadable(path: Path) -> None:
    path.mkdir()
    assert "cannot be read" in reading(path)


def test_tensors_without_metadata_are_unreadable(path: Path) -> None:
    save_file({"probe/images": np.zeros((1, 2, 2, 3), np.uint8)}, path)
    assert "cannot be read" in reading(path)


def test_metadata_nested_too_deep_to_decode_are_unreadable(path: Path) -> None:
    save_file({"probe/images": np.zeros((1, 2, 2, 3), np.uint8)}, path, {"layers": "[" * 100_000})
    assert "cannot be read" in reading(path)


def test_a_frame_of_a_newer_schema_asks_for_an_update(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "SCHEMA_VERSION", 99)
    write_frame(path, recorded.frame(3))
    monkeypatch.undo()
    assert reading(path) == "epoch_3.safetensors is of schema 99: update facegender-tui to read it"


@pytest.mark.parametrize(
    ("read", "problem"),
    [
        (lambda frame: frame.tensor("filters/conv9"), "has no filters/conv9"),
        (lambda frame: frame.maps("conv9", 0), "has no maps/conv9"),
        (lambda frame: frame.maps("conv1", 2), "has 2 rows of maps/conv1"),
        (lambda frame: frame.maps("conv1", -1), "has 2 rows of maps/conv1"),
    ],
)
def test_a_layer_or_probe_that_the_file_lacks_is_named(
    path: Path, read: Callable[[FrameReader], object], problem: str
) -> None:
    write_frame(path, recorded.frame(3, probes=2))
    with pytest.raises(FrameUnreadable) as refusal, open_frame(path) as frame:
        read(frame)
    assert str(refusal.value).startswith(f"epoch_3.safetensors cannot be read ({problem}")


# Quantising


def test_quantised_maps_come_back_within_half_a_level() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 5, 7, 6)).astype(np.float32) * 30
    quantised, low, high = quantise(maps)
    assert quantised.dtype == np.uint8
    assert (low.dtype, high.dtype) == (np.float32, np.float32)
    for probe in range(2):
        back = dequantise(quantised[probe], low[probe], high[probe])
        half = (high[probe] - low[probe])[:, None, None] / 255 / 2
        assert (np.abs(back - maps[probe]) <= half * 1.001 + 1e-6).all()


def test_each_channel_uses_its_whole_range() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 5, 7, 6)).astype(np.float32)
    quantised, low, high = quantise(maps)
    assert (quantised.min(axis=(2, 3)) == 0).all()
    assert (quantised.max(axis=(2, 3)) == 255).all()
    np.testing.assert_array_equal(low, maps.min(axis=(2, 3)))
    np.testing.assert_array_equal(high, maps.max(axis=(2, 3)))


@pytest.mark.parametrize("value", [0.0, 3.5, -2.0])
def test_a_constant_channel_is_its_value_again(value: float) -> None:
    quantised, low, high = quantise(np.full((1, 1, 3, 3), value, np.float32))
    assert (quantised == 0).all()
    np.testing.assert_array_equal(dequantise(quantised[0], low[0], high[0]), np.full((1, 3, 3), value, np.float32))


@pytest.mark.filterwarnings("error")
def test_what_is_not_finite_counts_as_the_lowest_finite_value() -> None:
    maps = np.array([[[[np.nan, 1.0], [2.0, 3.0]], [[np.inf, -np.inf], [5.0, 4.0]]]], np.float32)
    quantised, low, high = quantise(maps)
    np.testing.assert_array_equal(low, [[1.0, 4.0]])
    np.testing.assert_array_equal(high, [[3.0, 5.0]])
    np.testing.assert_array_equal(quantised[0, 0], [[0, 0], [128, 255]])
    np.testing.assert_array_equal(quantised[0, 1], [[0, 0], [255, 0]])


@pytest.mark.filterwarnings("error")
def test_a_channel_without_a_finite_value_is_zero() -> None:
    quantised, low, high = quantise(np.full((1, 2, 2, 2), np.nan, np.float32))
    assert (quantised == 0).all()
    assert (low == 0).all()
    assert (high == 0).all()


@pytest.mark.filterwarnings("error")
def test_a_channel_that_spans_all_of_float32_is_no_overflow() -> None:
    largest = np.finfo(np.float32).max
    quantised, low, high = quantise(np.array([[[[-largest, 0.0, largest]]]], np.float32))
    assert quantised[0, 0, 0].tolist() == [0, 128, 255]
    assert (low[0, 0], high[0, 0]) == (-largest, largest)


def test_the_tensors_have_the_names_and_types_of_the_contract(path: Path) -> None:
    write_frame(path, recorded.frame(3, heatmap=True))
    tensors = load_file(path)
    expected = {"probe/images": "uint8", "probe/labels": "int64", "probe/probabilities": "float32"}
    expected["probe/heatmap"] = "uint8"
    for name in recorded.LAYERS:
        expected |= {f"maps/{name}": "uint8", f"maps/{name}/low": "float32", f"maps/{name}/high": "float32"}
        expected |= {f"filters/{name}": "float32", f"stats/{name}": "float32", f"units/{name}": "float32"}
        expected |= {f"top/{name}/value": "float32", f"top/{name}/image": "int32", f"top/{name}/at": "int16"}
    for name in recorded.CLASSES:
        expected |= {f"cam/{name}": "uint8", f"cam/{name}/high": "float32"}
    assert {name: str(tensor.dtype) for name, tensor in tensors.items()} == expected


def test_where_the_network_looked_and_what_excites_a_channel_come_back(path: Path) -> None:
    written = recorded.frame(3)
    write_frame(path, written)
    with open_frame(path) as frame:
        assert frame.info.cam_method == "LayerCAM at conv3"
        for name, cam in written.cams.items():
            for probe in range(len(cam)):
                values, high = frame.cam(name, probe)
                assert high == pytest.approx(cam[probe].max())
                np.testing.assert_allclose(values / 255 * high, cam[probe], atol=high / 255)
        for layer in written.layers:
            assert layer.top is not None
            np.testing.assert_array_equal(frame.tensor(f"units/{layer.name}"), layer.units)
            top = frame.top(layer.name, 1)
            np.testing.assert_array_equal(top.value, layer.top.value[1])
            np.testing.assert_array_equal(top.image, layer.top.image[1])
            np.testing.assert_array_equal(top.at, layer.top.at[1])


def test_of_more_top_photographs_the_first_nine_are_read_with_places_within_reach(path: Path) -> None:
    write_frame(path, recorded.frame(3))
    tensors, metadata = load_file(path), metadata_of(path)
    for part in ("value", "image", "at"):
        tensors[f"top/conv1/{part}"] = np.repeat(tensors[f"top/conv1/{part}"], 1000, axis=1)
    tensors["top/conv1/at"] = np.full(tensors["top/conv1/at"].shape, 2**31 - 1, np.int32)
    tensors["top/conv1/at"][:, :, 1] = -5
    save_file(tensors, path, metadata)
    with open_frame(path) as frame:
        top = frame.top("conv1", 1)
    assert len(top.value) == len(top.image) == 9
    assert top.at.tolist() == [[2**15 - 1, 0]] * 9


@pytest.mark.parametrize("change", [lambda at: at[:, :4], lambda at: at[:, :, :1]])
def test_top_photographs_whose_parts_do_not_fit_are_unreadable(
    path: Path, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    write_frame(path, recorded.frame(3))
    tensors = load_file(path)
    save_file(tensors | {"top/conv1/at": change(tensors["top/conv1/at"]).copy()}, path, metadata_of(path))
    with (
        pytest.raises(FrameUnreadable, match="has top/conv1 of parts that do not fit each other"),
        open_frame(path) as frame,
    ):
        frame.top("conv1", 1)


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(path, "numpy") as file:
        metadata: dict[str, str] = file.metadata()
    return metadata


@pytest.mark.filterwarnings("error")
def test_limits_that_are_not_finite_print_no_warning() -> None:
    infinite = np.array([np.inf], np.float32)
    values = dequantise(np.array([[[0, 255]]], np.uint8), -infinite, infinite)
    assert values.shape == (1, 1, 2)


@pytest.mark.filterwarnings("error")
def test_where_a_diverged_network_looked_is_nowhere(path: Path) -> None:
    cams = {"female": np.full((2, 4, 4), np.nan, np.float32), "male": np.zeros((2, 4, 4), np.float32)}
    write_frame(path, msgspec.structs.replace(recorded.frame(3), cams=cams))
    with open_frame(path) as frame:
        for name in cams:
            values, high = frame.cam(name, 0)
            assert not values.any()
            assert high == 0


def test_of_a_layer_with_very_many_weights_the_strongest_kernels_are_kept(path: Path) -> None:
    random = np.random.default_rng(5)
    written = recorded.frame(3)
    large = random.normal(size=(512, 600, 3, 3)).astype(np.float32)
    layers = [*written.layers[:2], msgspec.structs.replace(written.layers[2], filters=large)]
    write_frame(path, msgspec.structs.replace(written, layers=layers))
    assert path.stat().st_size < frames.MAX_FILTERS_BYTES + (1 << 20)
    with open_frame(path) as frame:
        np.testing.assert_array_equal(frame.kernels("conv1", 2)[0], written.layers[0].filters[2])
        np.testing.assert_array_equal(frame.kernels("conv1", 2)[1], [0, 1, 2])
        np.testing.assert_allclose(frame.filter_means("conv3"), large.mean(axis=1), atol=1e-6)
        kernels, inputs = frame.kernels("conv3", 7)
        assert len(kernels) == len(inputs) > 100
        np.testing.assert_allclose(kernels, large[7, inputs], atol=1e-2)
        strength = np.square(large[7]).sum(axis=(1, 2))
        assert set(inputs) == set(np.argsort(-strength)[: len(inputs)])


RESNET18 = [(64, 80, 80)] + [(64, 40, 40)] * 4 + [(128, 20, 20)] * 5 + [(256, 10, 10)] * 5 + [(512, 5, 5)] * 5


def test_maps_are_stored_as_they_are_while_they_fit() -> None:
    assert frames.map_sizes(RESNET18) == [size[1:] for size in RESNET18]
    assert frames.map_sizes([(32, 256, 256), (64, 128, 128), (128, 64, 64)]) == [(128, 128), (128, 128), (64, 64)]
    assert frames.map_sizes([(3, 1, 1000), (3, 100, 300)]) == [(1, 128), (42, 128)]


def test_the_largest_maps_are_pooled_further_where_all_together_are_too_large() -> None:
    layers = [(64, 128, 128)] * 12 + [(512, 7, 7)] * 40
    sizes = frames.map_sizes(layers)
    assert sizes[-1] == (7, 7)
    assert sizes[0][0] < 128
    total = sum(layer[0] * height * width for layer, (height, width) in zip(layers, sizes, strict=True))
    assert 0.4 * frames.MAX_PROBE_BYTES < total <= frames.MAX_PROBE_BYTES


def test_a_frame_of_a_network_with_very_many_channels_stays_within_its_limit(path: Path) -> None:
    shapes = [(96, 112, 112), *[(1152, 14, 14)] * 12, *[(1280, 7, 7)] * 15]
    probes, side = 4, 224
    random = np.random.default_rng(7)
    layers = []
    sizes = frames.map_sizes(shapes, 3 * side * side)
    for number, ((channels, _, _), size) in enumerate(zip(shapes, sizes, strict=True)):
        value = np.ones((channels, frames.TOP), np.float32)
        at = np.zeros((channels, frames.TOP, 2), np.int16)
        layer = frames.LayerFrame(
            name=f"conv{number}",
            maps=random.random((probes, channels, *size), dtype=np.float32),
            filters=random.random((channels, 64, 3, 3), dtype=np.float32),
            stats=np.zeros((probes, channels, 5), np.float32),
            units=np.zeros((channels, 3), np.float32),
            top=frames.TopPatches(value=value, image=value.astype(np.int32), at=at),
        )
        layers.append(layer)
    images = np.zeros((probes, side, side, 3), np.uint8)
    write_frame(path, msgspec.structs.replace(recorded.frame(3, probes=probes), images=images, layers=layers))
    assert 12 << 20 < path.stat().st_size <= frames.MAX_FRAME_BYTES
