import contextlib
import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image, ImageCms

from facegender.data.image import FORMATS, UnreadableImage, open_image, resize


def two_colours(size=(40, 30)) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", size, "blue")
    image.paste("red", (0, 0, size[0] // 2, size[1]))
    return image


def reason(path: Path) -> str:
    with pytest.raises(UnreadableImage) as caught:
        open_image(path)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "webp", "bmp", "tiff", "ppm", "avif", "ico"])
def test_every_listed_format_gives_rgb_pixels(tmp_path, kind):
    path = tmp_path / "face.any"
    two_colours().save(path, kind)
    image = open_image(path)
    assert image.mode == "RGB"
    assert image.getpixel((2, 15))[0] > 200
    assert image.getpixel((image.width - 3, 15))[2] > 200


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"])
def test_every_mode_becomes_8_bit_rgb(tmp_path, mode):
    grey = Image.new("L", (20, 20), 255)
    grey.paste(0, (0, 0, 10, 20))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    elif mode == "LAB":
        lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        image = ImageCms.applyTransform(grey.convert("RGB"), lab)
    else:
        image = grey.convert("RGB").convert(mode) if mode in ("CMYK", "YCbCr") else grey.convert(mode)
    path = tmp_path / "face.tif"
    image.save(path)
    if mode == "YCbCr" and int(PIL.__version__.split(".")[0]) < 13:
        pytest.skip("older Pillow cannot read these TIFFs of its own")
    pixels = np.asarray(open_image(path))
    assert pixels.shape == (20, 20, 3)
    assert pixels[10, 3].max() <= 5
    assert pixels[10, 16].min() >= 250


def test_sixteen_bit_greys_keep_their_proportions(tmp_path):
    ramp = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "grey.png")
    values = np.asarray(open_image(tmp_path / "grey.png"))[:, :, 0].ravel()
    assert np.abs(values.astype(int) - np.arange(256)).max() <= 1


def test_transparent_pixels_are_white_whatever_colour_hides_in_them(tmp_path):
    image = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (10, 0, 20, 20))
    image.save(tmp_path / "cut.png")
    shown = open_image(tmp_path / "cut.png")
    assert shown.getpixel((3, 10)) == (255, 255, 255)
    assert shown.getpixel((15, 10)) == (0, 0, 255)


def test_a_palette_with_a_transparent_colour_is_composited_too(tmp_path):
    image = two_colours().convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    image.save(tmp_path / "p.png", transparency=image.getpixel((2, 2)))
    assert open_image(tmp_path / "p.png").getpixel((2, 2)) == (255, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
def test_a_photograph_is_turned_upright_from_each_of_the_eight_orientations(tmp_path, orientation, kind):
    upright = Image.new("RGB", (40, 24), "white")
    upright.paste("red", (0, 0, 16, 10))
    stored = {
        1: upright,
        2: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: upright.transpose(Image.Transpose.ROTATE_180),
        4: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: upright.transpose(Image.Transpose.TRANSPOSE),
        6: upright.transpose(Image.Transpose.ROTATE_90),
        7: upright.transpose(Image.Transpose.TRANSVERSE),
        8: upright.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "face"
    stored.save(path, kind, exif=exif, quality=95)
    image = open_image(path)
    assert image.size == (40, 24)
    assert image.getpixel((4, 4))[1] < 80
    assert min(image.getpixel((35, 20))) > 200


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">HHHII", 1, 0x0112, 99, 9, 9),
    ],
)
def test_a_photograph_with_faulty_exif_is_read(tmp_path, exif):
    two_colours().save(tmp_path / "face.jpg", exif=exif)
    assert open_image(tmp_path / "face.jpg").size == (40, 30)


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "tiff"])
def test_an_animation_gives_its_first_frame(tmp_path, kind):
    frames = [Image.new("RGB", (30, 30), colour) for colour in ("red", "blue", "green")]
    frames[0].save(tmp_path / "face", kind, save_all=True, append_images=frames[1:])
    red, green, blue = open_image(tmp_path / "face").getpixel((15, 15))
    assert red > 230
    assert green < 30
    assert blue < 30


def test_the_extension_of_a_file_is_ignored(tmp_path):
    two_colours().save(tmp_path / "face.jpg", "png")
    assert open_image(tmp_path / "face.jpg").size == (40, 30)


def test_small_images_are_read_and_images_below_the_smallest_side_are_not(tmp_path):
    for name, size in [("a.png", (24, 38)), ("b.png", (8, 8)), ("c.png", (3000, 4)), ("d.png", (1, 1))]:
        Image.new("RGB", size).save(tmp_path / name)
    assert open_image(tmp_path / "a.png").size == (24, 38)
    assert open_image(tmp_path / "b.png").size == (8, 8)
    assert reason(tmp_path / "c.png") == "too small (3000×4 px, at least 8 a side)"
    assert reason(tmp_path / "d.png") == "too small (1×1 px, at least 8 a side)"


def bomb(path: Path, size: tuple[int, int]) -> None:
    """A PNG of a few bytes that claims to be of some size."""
    whole = io.BytesIO()
    Image.new("1", (8, 8)).save(whole, "png")
    data = bytearray(whole.getvalue())
    data[16:24] = struct.pack(">II", *size)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)


@pytest.mark.parametrize("size", [(13_000, 12_500), (16_000, 16_000), (20_000, 20_000)])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, size):
    bomb(tmp_path / "bomb.png", size)
    assert reason(tmp_path / "bomb.png") == f"too large ({size[0] * size[1] // 1_000_000} megapixels, at most 150)"


def test_a_truncated_file_is_unreadable_wherever_it_is_cut(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for kind in ("jpeg", "png", "webp", "bmp", "tiff"):
        whole = io.BytesIO()
        Image.fromarray(noise).save(whole, kind)
        data = whole.getvalue()
        for share in (0.02, 0.3, 0.6, 0.9):
            path = tmp_path / f"cut.{kind}"
            path.write_bytes(data[: int(len(data) * share)])
            assert reason(path) in ("truncated image", "damaged image", "not an image")


def test_random_damage_never_raises_anything_but_unreadable(tmp_path):
    generator = np.random.default_rng(1)
    for kind in ("jpeg", "png", "gif", "webp", "tiff", "ico", "bmp", "ppm", "avif"):
        whole = io.BytesIO()
        two_colours().save(whole, kind)
        for _ in range(25):
            data = np.frombuffer(whole.getvalue(), np.uint8).copy()
            data[generator.integers(0, len(data), 6)] = generator.integers(0, 256, 6)
            (tmp_path / "odd").write_bytes(data.tobytes())
            with contextlib.suppress(UnreadableImage):
                assert open_image(tmp_path / "odd").mode == "RGB"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty file"),
        (b"hello, I am text", "not an image"),
        (b"<!DOCTYPE html><title>404</title>", "a web page, not an image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIF is not supported: convert it to JPEG"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL is not supported: convert it to JPEG"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer, not the image itself: run git lfs pull"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (b"\x89PNG\r\n\x1a\n", "damaged image"),
    ],
)
def test_a_file_that_is_no_image_has_a_reason_that_says_what_it_is(tmp_path, content, expected):
    (tmp_path / "face.jpg").write_bytes(content)
    assert reason(tmp_path / "face.jpg") == expected


def test_postscript_is_not_among_the_formats():
    assert not {"EPS", "PDF", "WMF", "FPX", "MIC"} & set(FORMATS)


def test_pipes_folders_and_missing_files_have_their_reasons_and_do_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert reason(tmp_path / "pipe") == "not a regular file"
    assert reason(tmp_path) == "a folder, not a file"
    assert reason(tmp_path / "gone.jpg") == "no such file"
    assert reason(Path("a\0b")) == "not a file name"
    assert reason(tmp_path / ("x" * 300)) == "file name too long"


def test_odd_files_print_no_warning(tmp_path):
    bomb(tmp_path / "bomb.png", (13_000, 12_500))
    two_colours().save(tmp_path / "exif.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0")
    Image.fromarray(np.linspace(-3e38, 3e38, 81, dtype=np.float32).reshape(9, 9)).save(tmp_path / "range.tif")
    program = """
import pathlib, sys
from facegender.data.image import UnreadableImage, open_image
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        print(path.name, open_image(path).size)
    except UnreadableImage as error:
        print(path.name, error)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["bomb.png", "exif.jpg", "range.tif"]
    assert done.stderr == ""


def test_resizing_keeps_the_whole_photograph(tmp_path):
    pixels = resize(two_colours((200, 50)), 32)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert pixels[16, 2].tolist() == [255, 0, 0]
    assert pixels[16, 29].tolist() == [0, 0, 255]


@pytest.mark.parametrize("size", [(8, 8), (9, 31), (300, 200), (641, 480)])
@pytest.mark.parametrize("side", [9, 32, 200, 513])
def test_resizing_gives_the_result_of_pillow_within_rounding(size, side):
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    pixels = resize(Image.fromarray(noise), side)
    expected = np.asarray(Image.fromarray(noise).resize((side, side), Image.Resampling.BILINEAR))
    assert pixels.flags.c_contiguous
    assert np.abs(pixels.astype(int) - expected.astype(int)).max() <= 2


def test_an_image_of_the_right_size_is_not_changed():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    pixels = resize(Image.fromarray(noise), 64)
    np.testing.assert_array_equal(pixels, noise)
    pixels[0] = 0  # writable, as torch wants it


def test_a_jpeg_is_decoded_smaller_but_never_below_what_is_asked_for(tmp_path: Path) -> None:
    for size, at_least, expected in (
        ((640, 480), 100, (160, 120)),
        ((640, 90), 100, (640, 90)),
        ((80, 60), 15, (20, 15)),
    ):
        Image.new("RGB", size).save(tmp_path / "a.jpg")
        assert open_image(tmp_path / "a.jpg", at_least=at_least).size == expected
        assert open_image(tmp_path / "a.jpg").size == size
