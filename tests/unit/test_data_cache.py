import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facegender.data import cache, store
from facegender.data.cache import decode_all
from facegender.runs.errors import UserError


@pytest.fixture(autouse=True)
def folder_for_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEGENDER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """Ten photographs, each of one grey that tells its number."""
    paths = [tmp_path / "data" / f"{number}.png" for number in range(10)]
    paths[0].parent.mkdir()
    for number, path in enumerate(paths):
        Image.new("RGB", (20, 20), (number * 20,) * 3).save(path)
    return paths


LABELS = [0, 1] * 5


def cached_files(tmp_path) -> list[Path]:
    return sorted((tmp_path / "cache").glob("*"))


def test_photographs_come_back_in_the_order_of_the_files(files):
    decoded = decode_all(files, LABELS, 16)
    assert decoded.images.shape == (10, 16, 16, 3)
    assert decoded.images.dtype == np.uint8
    assert decoded.images[:, 8, 8, 0].tolist() == [number * 20 for number in range(10)]
    assert decoded.labels.tolist() == LABELS
    assert decoded.labels.dtype == np.int64
    assert decoded.paths == files
    assert len(set(decoded.digests)) == 10
    assert decoded.skipped == []
    assert decoded.notice == ""


def test_the_second_time_no_photograph_is_opened(files, monkeypatch):
    first = decode_all(files, LABELS, 16)
    monkeypatch.setattr(cache, "read_bytes", lambda path: pytest.fail("opened a photograph"))
    second = decode_all(files, LABELS, 16)
    assert second.cached
    assert not first.cached
    assert not second.images.flags.writeable
    assert np.array_equal(first.images, second.images)
    assert (first.digests, first.paths, first.skipped) == (second.digests, second.paths, second.skipped)
    assert np.array_equal(first.labels, second.labels)


def test_the_folder_may_move(files, tmp_path):
    decode_all(files, LABELS, 16)
    (tmp_path / "data").rename(tmp_path / "moved")
    moved = [tmp_path / "moved" / path.name for path in files]
    decoded = decode_all(moved, LABELS, 16)
    assert decoded.cached
    assert decoded.paths == moved


@pytest.mark.parametrize("change", ["content", "time", "name", "fewer", "size"])
def test_any_change_decodes_again(files, change):
    decode_all(files, LABELS, 16)
    files, labels, side = list(files), list(LABELS), 16
    if change == "content":
        Image.new("RGB", (20, 20), "white").save(files[3])
    elif change == "time":
        status = files[3].stat()
        os.utime(files[3], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    elif change == "name":
        files[9] = files[9].rename(files[9].with_name("z.png"))
    elif change == "fewer":
        files, labels = files[1:], labels[1:]
    else:
        side = 17
    decoded = decode_all(files, labels, side)
    assert not decoded.cached
    if change == "content":
        assert decoded.images[3].min() == 255


def test_the_labels_are_the_callers_and_not_the_caches(files):
    decode_all(files, LABELS, 16)
    assert decode_all(files, [1] * 10, 16).labels.tolist() == [1] * 10


def test_unreadable_files_are_left_out_and_named_relative_to_the_folder_and_harmless(files, tmp_path):
    bad = tmp_path / "data" / "evil\x1b[2J.jpg"
    bad.write_bytes(b"")
    system = tmp_path / "data" / "Thumbs.db"
    system.write_bytes(b"x")
    for _ in range(2):  # decoded, then cached
        decoded = decode_all([files[0], bad, files[1], system], [0, 1, 1, 0], 16, folder=tmp_path)
        assert decoded.paths == files[:2]
        assert decoded.labels.tolist() == [0, 1]
        said = {skipped.file: skipped.reason for skipped in decoded.skipped}
        assert said == {"data/evil\ufffd[2J.jpg": "empty file", "data/Thumbs.db": "system file"}


def test_a_file_that_is_named_twice_gives_two_photographs(files):
    decoded = decode_all([files[4], files[4]], [0, 1], 16)
    assert decoded.digests[0] == decoded.digests[1]
    assert len(decoded.images) == 2


def test_a_folder_without_one_readable_photograph_gives_none(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no")
    decoded = decode_all([tmp_path / "a.jpg"], [0], 16)
    assert decoded.images.shape == (0, 16, 16, 3)
    assert len(decoded.skipped) == 1
    assert decode_all([], [], 16).images.shape == (0, 16, 16, 3)


def test_progress_is_told_for_every_file_in_the_callers_thread(files):
    told = []
    decode_all(files, LABELS, 16, report=lambda done, total: told.append((done, total, threading.get_ident())))
    assert told == [(number + 1, 10, threading.get_ident()) for number in range(10)]
    told.clear()
    decode_all(files, LABELS, 16, report=lambda done, total: told.append((done, total)))
    assert told == [(10, 10)]


# Damage and trouble -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "empty", "trailer", "description", "pixels", "foreign"])
def test_a_damaged_cache_is_built_again(files, tmp_path, damage):
    expected = np.array(decode_all(files, LABELS, 16).images)
    (path,) = cached_files(tmp_path)
    data = bytearray(path.read_bytes())
    pixel_bytes = 10 * 16 * 16 * 3
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "empty":
        data.clear()
    elif damage == "trailer":
        data[-1] ^= 1
    elif damage == "description":
        data[pixel_bytes + 9] ^= 1
    elif damage == "pixels":
        data[:pixel_bytes] = bytes(pixel_bytes)
    else:
        data[:] = os.urandom(len(data))
    path.write_bytes(data)
    decoded = decode_all(files, LABELS, 16)
    assert not decoded.cached
    assert np.array_equal(decoded.images, expected)
    assert decode_all(files, LABELS, 16).cached


def test_an_interrupted_build_leaves_nothing_behind(files, tmp_path):
    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode_all(files, LABELS, 16, report=interrupt)
    assert cached_files(tmp_path) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_a_cache_folder_that_cannot_be_made_costs_a_notice_and_no_photograph(files, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FACEGENDER_CACHE", str(tmp_path / "file" / "cache"))
    decoded = decode_all(files, LABELS, 16)
    assert decoded.images[:, 8, 8, 0].tolist() == [number * 20 for number in range(10)]
    assert "kept in memory only" in decoded.notice


@pytest.mark.parametrize("fails_at", [0, 4, 9, "finish"])
def test_a_disk_that_fills_up_half_way_costs_a_notice_and_no_photograph(files, tmp_path, monkeypatch, fails_at):
    written = []

    def append(writer: store.Writer, data: memoryview) -> None:
        if fails_at == len(written) or (fails_at == "finish" and len(written) == 10):
            writer._file.write(data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        written.append(writer._file.write(data))

    monkeypatch.setattr(store.Writer, "_append", append)
    decoded = decode_all(files, LABELS, 16)
    assert decoded.images[:, 8, 8, 0].tolist() == [number * 20 for number in range(10)]
    assert "No space left on device" in decoded.notice
    assert cached_files(tmp_path) == []


def test_when_neither_disk_nor_memory_has_room_the_message_says_what_to_do(files, monkeypatch):
    monkeypatch.setattr(store, "make_room", lambda needed: False)
    monkeypatch.setattr(cache.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 100})())
    with pytest.raises(UserError, match="--image-size"):
        decode_all(files, LABELS, 16)


# The bound ----------------------------------------------------------------------------------------------------------


def test_what_was_used_least_recently_makes_room(files, tmp_path):
    for side in (16, 20, 24):
        decode_all(files, LABELS, side)
    sizes = {side: 10 * side * side * 3 for side in (16, 20, 24)}
    by_size = sorted(cached_files(tmp_path), key=lambda path: path.stat().st_size)
    for age, path in enumerate(by_size):
        os.utime(path, (1000 + age, 1000 + age))
    decode_all(files, LABELS, 16)  # used again: now the newest
    total = sum(path.stat().st_size for path in by_size)
    assert store.make_room(100, limit=total)
    assert cached_files(tmp_path) == sorted([by_size[0], by_size[2]])
    assert not store.make_room(total + 1, limit=total)
    assert len(cached_files(tmp_path)) == 2
    assert sizes[16] < sizes[24]


def test_the_cache_takes_at_most_a_fifth_of_the_free_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(store.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 5000})())
    assert store.make_room(1000)
    assert not store.make_room(1001)


def test_what_a_killed_build_left_is_removed_after_a_day_and_not_before(tmp_path):
    (tmp_path / "cache").mkdir()
    old, new = tmp_path / "cache" / ".a.1.building", tmp_path / "cache" / ".b.2.building"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1000, 1000))
    assert store.make_room(1)
    assert cached_files(tmp_path) == [new]
