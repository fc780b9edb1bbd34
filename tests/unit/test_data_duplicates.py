import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from facegender.data.dataset import split_indices
from facegender.data.duplicates import difference_hash, find_near_copies, group_names
from facegender.data.image import open_image, resize

SIDE = 64


def picture(seed: int) -> Image.Image:
    """A soft random picture with as much structure as a photograph."""
    noise = np.random.default_rng(seed).integers(0, 256, (150, 120, 3), dtype=np.uint8)
    return Image.fromarray(noise).filter(ImageFilter.GaussianBlur(6)).point(lambda v: max(0, min(255, 6 * v - 640)))


def encoded(image: Image.Image, kind: str, quality: int) -> Image.Image:
    data = io.BytesIO()
    image.save(data, kind, quality=quality)
    return Image.open(data).convert("RGB")


def near_copies(*images: Image.Image) -> list[list[str]]:
    return find_near_copies(hashes(images), [f"{i:03d}" for i in range(len(images))])


def hashes(images: Iterable[Image.Image], side: int = SIDE) -> np.ndarray:
    return np.stack([difference_hash(resize(image, side)) for image in images])


@pytest.mark.parametrize(
    "copy",
    [
        pytest.param(lambda image: encoded(image, "jpeg", 40), id="JPEG of low quality"),
        pytest.param(lambda image: encoded(image, "webp", 50), id="WebP"),
        pytest.param(lambda image: image.resize((60, 75)), id="half the size"),
        pytest.param(lambda image: image.resize((300, 400)), id="larger"),
        pytest.param(lambda image: image.convert("L").convert("RGB"), id="grey"),
        pytest.param(lambda image: image.point(lambda value: min(255, value * 11 // 10)), id="brighter"),
    ],
)
def test_a_changed_copy_of_a_photograph_is_found(copy):
    others = [picture(seed) for seed in range(1, 30)]
    assert near_copies(picture(0), *others, copy(picture(0))) == [["000", "030"]]


def test_copies_of_copies_are_one_group():
    copies = [encoded(picture(0), "jpeg", quality) for quality in (90, 70, 50)]
    assert near_copies(*copies, picture(1), picture(2).resize((90, 90)), picture(2)) == [
        ["000", "001", "002"],
        ["004", "005"],
    ]


def test_different_photographs_and_blank_ones_are_no_copies_of_each_other():
    blank = [Image.new("RGB", (40, 40), (value, value, value)) for value in (0, 1, 128, 255)]
    assert near_copies(*map(picture, range(40)), *blank) == []
    assert not difference_hash(resize(blank[0], SIDE)).any()
    assert find_near_copies(np.empty((0, 4), np.uint64), []) == []


def test_files_with_the_same_content_count_once():
    assert find_near_copies(hashes([picture(0), picture(0)]), ["same", "same"]) == []


def test_a_photograph_and_its_copy_get_the_same_side_of_every_split():
    digests = [f"{i:03d}" for i in range(40)]
    groups = group_names(digests, [["003", "017", "031"]])
    labels = np.repeat(np.arange(2), 20)
    for seed in range(30):
        _, validation = split_indices(labels, groups, 0.2, seed)
        assert len({3, 17, 31} & set(validation.tolist())) in (0, 3)


def test_without_copies_each_photograph_is_its_own_group():
    assert group_names(["b", "a", "b"], []) == ["b", "a", "b"]


def test_real_photographs_of_different_people_are_not_grouped_and_their_copies_are(real_faces: Path):
    files = sorted((real_faces / "dev" / "female").glob("*.jpg"))[:150]
    images = [open_image(file) for file in files]
    digests = [file.name for file in files]
    assert find_near_copies(hashes(images, 128), digests) == []
    copies = [encoded(image.resize((image.width * 2 // 3, image.height * 2 // 3)), "jpeg", 60) for image in images]
    found = find_near_copies(hashes([*images, *copies], 128), [*digests, *(f"{name} copy" for name in digests)])
    assert found == [[name, f"{name} copy"] for name in digests]
