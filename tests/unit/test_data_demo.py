import io
import sys
import types

import numpy as np
import pytest
from PIL import Image

from facegender.data import kaggle
from facegender.data.dataset import list_files, locate
from facegender.data.demo.faces import demo_photographs, draw_face, write_demo_faces
from facegender.data.image import open_photograph
from facegender.support.errors import UserError


@pytest.fixture(autouse=True)
def folder_for_the_cache(tmp_path, monkeypatch):
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


def test_every_picture_says_demo_in_its_corner():
    """All pictures are light letters on a darkened box there, whatever is drawn beneath."""
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
    told = []
    first = demo_photographs(5, 32, 42, lambda *what: told.append(what)).complete()
    assert told[-1] == ("decoding", 10, 10)
    assert first.images.shape == (10, 32, 32, 3)
    assert first.labels.tolist() == [0, 1] * 5
    assert len(set(first.digests)) == 10
    assert str(first.paths[1]) == "male/demo_00000.jpg"
    second = demo_photographs(5, 32, 42)
    assert second.cached
    assert np.array_equal(first.images, second.images)
    assert not np.array_equal(demo_photographs(5, 32, 43).complete().images, first.images)


def test_written_faces_are_a_data_folder(tmp_path):
    write_demo_faces(tmp_path / "faces", 3, 48, 42)
    files = list_files(locate(str(tmp_path / "faces"), tmp_path))
    assert [label for _, label in files] == [0, 0, 0, 1, 1, 1]
    assert all(open_photograph(path).size == (48, 48) for path, _ in files)


def test_faces_may_be_written_again_but_never_between_somebodys_files(tmp_path):
    folder = tmp_path / "faces"
    assert write_demo_faces(folder, 2, 32, 1) == 4
    assert write_demo_faces(folder, 2, 32, 2) == 4
    assert write_demo_faces(folder, 1, 32, 2) == 4, "those of before are still there"
    (folder / "female" / "grandma.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match="grandma"):
        write_demo_faces(folder, 2, 32, 1)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError):
        write_demo_faces(tmp_path / "file", 2, 32, 1)


# Kaggle -------------------------------------------------------------------------------------------------------------


def stub(monkeypatch, dataset_download) -> None:
    module = types.ModuleType("kagglehub")
    module.dataset_download = dataset_download
    monkeypatch.setitem(sys.modules, "kagglehub", module)


def test_a_download_gives_the_folder_of_the_classes(tmp_path, monkeypatch):
    asked = []

    def dataset_download(handle):
        asked.append(handle)
        for name in ("Male Faces", "Female Faces"):
            (tmp_path / "set" / "Male and Female face dataset" / name).mkdir(parents=True)
        return str(tmp_path / "set")

    stub(monkeypatch, dataset_download)
    assert kaggle.download() == tmp_path / "set" / "Male and Female face dataset"
    assert asked == ["ashwingupta3012/male-and-female-faces-dataset"]


@pytest.mark.parametrize("error", [ConnectionError("no\nroute \x1b[31m"), OSError(28, "No space left"), RuntimeError()])
def test_a_failed_download_is_one_line_with_the_remedies(monkeypatch, error):
    def dataset_download(handle):
        raise error

    stub(monkeypatch, dataset_download)
    with pytest.raises(UserError) as caught:
        kaggle.download()
    message = str(caught.value)
    assert message.isprintable()
    for part in ("kaggle.json", "--data", "--demo"):
        assert part in message


def test_a_download_without_the_classes_is_refused(tmp_path, monkeypatch):
    stub(monkeypatch, lambda handle: str(tmp_path))
    with pytest.raises(UserError, match="no folders female/ and male/"):
        kaggle.download()


def test_a_face_survives_being_saved_as_jpeg():
    data = io.BytesIO()
    draw_face(0, 0, 64).save(data, "jpeg", quality=92)
    assert len(data.getvalue()) < 8000
