import random

import numpy as np
import pytest
from PIL import Image

from facegender.data.dataset import find_data_folder, list_labelled_files
from facegender.data.demo.faces import demo_photographs, write_demo_faces
from facegender.data.demo.look import BEARD_ODDS, CLOTHES_ODDS, HAIR_ODDS, HAIR_STYLES, Look
from facegender.data.demo.photograph import draw_demo_photograph, draw_face
from facegender.data.image import open_image
from facegender.support.errors import UserError


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEGENDER_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("side", [16, 64, 129, 200])
def test_a_face_is_drawn_at_any_size(side):
    face = draw_face(0, 1, side)
    assert face.size == (side, side)
    assert face.mode == "RGB"
    assert np.asarray(face).std() > 15


def test_the_same_seed_draws_the_same_face_and_another_seed_or_class_another():
    face = np.asarray(draw_face(0, 7, 48))
    assert np.array_equal(face, np.asarray(draw_face(0, 7, 48)))
    assert not np.array_equal(face, np.asarray(draw_face(0, 8, 48)))
    assert not np.array_equal(face, np.asarray(draw_face(1, 7, 48)))


def test_a_face_is_the_same_person_at_every_size():
    small = np.asarray(draw_face(1, 3, 64), dtype=float)
    large = np.asarray(draw_face(1, 3, 256).resize((64, 64), Image.Resampling.BOX), dtype=float)
    assert np.abs(small - large)[:56].mean() < 6


def test_the_traits_of_a_seed_are_the_same_on_every_machine():
    look = Look(1, random.Random("face 1 7"))
    assert (look.style, look.beard, look.glasses, look.skin) == ("short", "full", False, (201, 149, 111))
    assert look.width == pytest.approx(0.740554)


def test_every_hair_style_is_drawn_and_no_trait_belongs_to_one_class_alone():
    styles = {Look(label, random.Random(seed)).style for seed in range(200) for label in (0, 1)}
    assert styles == set(HAIR_STYLES)
    assert all(min(odds) > 0 for table in (HAIR_ODDS, BEARD_ODDS, CLOTHES_ODDS) for odds in table)


def test_every_picture_says_demo_in_its_corner():
    """Light letters with a dark outline stand there, whatever is drawn beneath."""
    for seed in range(6):
        corner = np.asarray(draw_face(seed % 2, seed, 256), dtype=float)[-28:, -56:].mean(axis=2)
        assert corner.max() > 220
        assert corner.max() - corner.min() > 70


def test_the_classes_overlap_but_can_be_told_apart_by_their_average():
    """Nearest class mean on small grey pictures: well above chance and well below certainty."""
    faces = {
        label: np.stack([np.asarray(draw_face(label, seed, 32).convert("L")) for seed in range(80)]) for label in (0, 1)
    }
    flat = {label: images.reshape(80, -1).astype(float) for label, images in faces.items()}
    means = {label: images[:40].mean(axis=0) for label, images in flat.items()}
    right = 0
    for label in (0, 1):
        distance = [((flat[label][40:] - means[other]) ** 2).sum(axis=1) for other in (0, 1)]
        right += int((np.argmin(distance, axis=0) == label).sum())
    assert 0.6 <= right / 80 <= 0.98


def test_photographs_hold_both_classes_and_come_from_the_cache_the_second_time():
    reports = []
    first = demo_photographs(5, 32, 42, lambda *report: reports.append(report))
    assert reports[-1] == ("decoding", 10, 10)
    images = first.read(np.arange(10))
    assert images.shape == (10, 32, 32, 3)
    assert first.labels.tolist() == [0, 1] * 5
    assert len(set(first.digests)) == 10
    assert first.names[1] == "male/demo_00000.jpg"
    reports.clear()
    second = demo_photographs(5, 32, 42, lambda *report: reports.append(report))
    assert reports == []
    assert np.array_equal(images, second.read(np.arange(10)))
    assert not np.array_equal(demo_photographs(5, 32, 43).read(np.arange(10)), images)


def test_a_photograph_of_a_run_can_be_drawn_again_by_its_name():
    photos = demo_photographs(3, 32, 42)
    for index, name in enumerate(photos.names):
        assert np.array_equal(np.asarray(draw_demo_photograph(name, 32, 42)), photos.read(np.array([index]))[0])
    with pytest.raises(ValueError, match="no demo face"):
        draw_demo_photograph("female/1.png", 32, 42)


def test_written_faces_are_a_data_folder(tmp_path):
    write_demo_faces(tmp_path / "faces", 3, 48, 42)
    files = list_labelled_files(find_data_folder(str(tmp_path / "faces"), tmp_path))
    assert [label for _, label in files] == [0, 0, 0, 1, 1, 1]
    assert all(open_image(path).size == (48, 48) for path, _ in files)


def test_faces_may_be_written_again_but_never_among_other_files(tmp_path):
    folder = tmp_path / "faces"
    assert write_demo_faces(folder, 2, 32, 1) == 4
    assert write_demo_faces(folder, 2, 32, 2) == 4
    assert write_demo_faces(folder, 1, 32, 2) == 4, "those of the earlier call are still there"
    (folder / "female" / "grandma.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match=r"grandma.jpg: is not a demo face; name an empty or a new folder"):
        write_demo_faces(folder, 2, 32, 1)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="file: cannot be written"):
        write_demo_faces(tmp_path / "file", 2, 32, 1)
