import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facegender.data.cache import eviction, photos, places
from facegender.data.cache import file as store
from facegender.data.cache.photos import Photographs, photographs_of
from facegender.data.image import read_bytes
from facegender.support.errors import UserError


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


def decode_all(files, labels, side, **options) -> Photographs:
    return photographs_of(files, labels, side, **options).complete()


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
    monkeypatch.setattr(photos, "read_bytes", lambda path: pytest.fail("opened a photograph"))
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


@pytest.mark.parametrize("change", ["content", "time", "name", "fewer", "size", "permission"])
def test_any_change_decodes_again(files, monkeypatch, change):
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
    elif change == "permission":
        monkeypatch.setattr(photos.os, "access", lambda path, mode: path != files[3])
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


def test_progress_is_told_for_every_file(files):
    told = []
    decode_all(files, LABELS, 16, progress=lambda *what: told.append(what))
    every = range(1, 11)
    assert told == [("checking", done, 10) for done in every] + [("decoding", done, 10) for done in every]
    told.clear()
    decode_all(files, LABELS, 16, progress=lambda *what: told.append(what))
    assert told == [("decoding", 10, 10)]


# In the background --------------------------------------------------------------------------------------------------


class Gate:
    """Lets photographs be decoded when a test says so; what is looked at before is let through."""

    def __init__(self, monkeypatch) -> None:
        self.open = threading.Event()
        self.decoded: list[str] = []
        original = photos.decode_image

        def decode(data: bytes):
            self.open.wait(20)
            image = original(data)
            self.decoded.append(str(image.getpixel((0, 0))[0] // 20))
            return image

        monkeypatch.setattr(photos, "decode_image", decode)


def test_what_is_known_without_decoding_is_known_at_once(files, monkeypatch):
    gate = Gate(monkeypatch)
    photographs = photographs_of(files, LABELS, 16)
    assert not photographs.finished
    assert photographs.labels.tolist() == LABELS
    assert photographs.paths == files
    digests = photographs.digests
    gate.open.set()
    assert decode_all(files, LABELS, 16).digests == digests
    photographs.close()


def test_who_waits_for_some_photographs_gets_those_and_not_all(files, monkeypatch):
    monkeypatch.setattr("facegender.data.cache.decoder.decoding_threads", lambda: 1)
    let_through = threading.Semaphore(0)
    original = photos.decode_image

    def decode(data: bytes):
        let_through.acquire(timeout=20)
        return original(data)

    monkeypatch.setattr(photos, "decode_image", decode)
    photographs = photographs_of(files, LABELS, 16)
    let_through.release(3)  # whatever was begun first, then the two that are waited for
    assert photographs.wait(np.array([7, 4])).all()
    assert photographs.images[[7, 4], 8, 8, 0].tolist() == [140, 80]
    assert not photographs.finished
    let_through.release(20)
    assert photographs.complete().images[:, 8, 8, 0].tolist() == [number * 20 for number in range(10)]


def test_the_order_of_decoding_can_be_chosen(files, monkeypatch):
    monkeypatch.setattr("facegender.data.cache.decoder.decoding_threads", lambda: 1)
    gate = Gate(monkeypatch)
    photographs = photographs_of(files, LABELS, 16)
    photographs.prefer(np.array([9, 3, 5]))
    gate.open.set()
    photographs.complete()
    first = gate.decoded[0]  # was begun before anybody had chosen
    assert [name for name in gate.decoded if name != first][:2] == [name for name in "935" if name != first][:2]
    assert sorted(gate.decoded) == [str(number) for number in range(10)]


def damage(path: Path) -> None:
    """Spoil a PNG in its middle, which its ends do not tell."""
    data = bytearray(path.read_bytes())
    at = data.index(b"IDAT") + 6
    data[at : at + 8] = bytes(8)
    path.write_bytes(data)


def test_what_turns_out_damaged_keeps_its_place_and_is_told_the_same_from_the_cache(files):
    damage(files[2])
    for cached in (False, True):
        photographs = decode_all(files, LABELS, 16)
        assert photographs.cached == cached
        assert photographs.paths == files
        assert photographs.wait(np.arange(10)).tolist() == [number != 2 for number in range(10)]
        assert [(file.file, file.reason) for file in photographs.skipped] == [("2.png", "damaged image")]
        assert photographs.images[3, 8, 8, 0] == 60


def test_where_nothing_can_be_decoded_nothing_is_kept(files, tmp_path):
    for path in files:
        damage(path)
    photographs = decode_all(files, LABELS, 16)
    assert not photographs.wait(np.arange(10)).any()
    assert cached_files(tmp_path) == []


def test_an_error_of_the_programs_own_reaches_whoever_waits(files, monkeypatch):
    monkeypatch.setattr(photos, "resize", lambda image, side: 1 / 0)
    photographs = photographs_of(files, LABELS, 16)
    with pytest.raises(ZeroDivisionError):
        photographs.wait(np.array([3]))
    photographs.close()


# Going on -----------------------------------------------------------------------------------------------------------


def interrupted(files, monkeypatch, at: int) -> None:
    """A build that ended after some photographs, as a kill would end it."""
    with monkeypatch.context() as patch:
        patch.setattr("facegender.data.cache.decoder.decoding_threads", lambda: 1)
        let_through = threading.Semaphore(at)
        original = photos.decode_image

        def decode(data: bytes):
            let_through.acquire(timeout=20)
            return original(data)

        patch.setattr(photos, "decode_image", decode)
        photographs = photographs_of(files, LABELS, 16)
        photographs.wait(np.arange(at))
        let_through.release(20)
        photographs.close()
    assert not photographs.finished


@pytest.fixture
def counted(monkeypatch) -> list[str]:
    """The files that are decoded."""
    paths: list[str] = []

    def reading(path):
        paths.append(path.name)
        return read_bytes(path)

    monkeypatch.setattr(photos, "read_bytes", reading)
    return paths


def test_a_build_goes_on_from_what_was_done_and_looks_at_no_file_again(files, tmp_path, monkeypatch, counted):
    interrupted(files, monkeypatch, 4)
    assert [path.name.endswith(".building") for path in cached_files(tmp_path)] == [True]
    done = len(counted)
    assert 4 <= done < 10
    counted.clear()
    told = []
    decoded = decode_all(files, LABELS, 16, progress=lambda *what: told.append(what))
    assert len(counted) == 10 - done
    assert {stage for stage, _, _ in told} == {"decoding"}
    assert decoded.images[:, 8, 8, 0].tolist() == [number * 20 for number in range(10)]
    assert [path.name.endswith(".photographs") for path in cached_files(tmp_path)] == [True]
    assert decode_all(files, LABELS, 16).cached


def test_what_was_written_and_is_damaged_is_decoded_again(files, tmp_path, monkeypatch, counted):
    interrupted(files, monkeypatch, 4)
    (path,) = cached_files(tmp_path)
    data = bytearray(path.read_bytes())
    data[16 * 16 * 3 + 5] ^= 1  # of the second photograph
    path.write_bytes(data)
    counted.clear()
    decoded = decode_all(files, LABELS, 16)
    assert "1.png" in counted
    assert "0.png" not in counted
    assert decoded.images[:, 8, 8, 0].tolist() == [number * 20 for number in range(10)]


@pytest.mark.parametrize("cut", [0, 1, 100, 16 * 16 * 3 * 10, -1])
def test_an_unfinished_file_that_was_cut_off_is_begun_again(files, tmp_path, monkeypatch, cut):
    interrupted(files, monkeypatch, 4)
    (path,) = cached_files(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    decoded = decode_all(files, LABELS, 16)
    assert decoded.images[:, 8, 8, 0].tolist() == [number * 20 for number in range(10)]


KILLED = """
import os, sys
from pathlib import Path
from facegender.data.cache import decoder
from facegender.data.cache.photos import photographs_of
decoder.decoding_threads = lambda: 1
files = sorted(Path(sys.argv[1]).iterdir())
def progress(stage, done, count):
    if stage == "decoding" and done == 5:
        os.kill(os.getpid(), 9)
photographs_of(files, [0, 1] * 5, 16, progress=progress).complete()
"""


def test_a_build_that_was_killed_is_gone_on_with(files, tmp_path, counted):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "data")], timeout=60)
    assert killed.returncode == -9
    decoded = decode_all(files, LABELS, 16)
    assert counted == [path.name for path in files[5:]]
    assert decoded.images[:, 8, 8, 0].tolist() == [number * 20 for number in range(10)]


@pytest.mark.parametrize("room", [2**40, 12_000], ids=["roomy", "for one set"])
def test_whoever_needs_what_another_builds_waits_for_it(files, monkeypatch, room):
    monkeypatch.setattr(eviction, "_share", lambda used, limit: room)
    gate = Gate(monkeypatch)
    first = photographs_of(files, LABELS, 16)
    told = []

    def progress(stage: str, done: int, count: int) -> None:
        told.append(stage)
        gate.open.set()

    second = photographs_of(files, LABELS, 16, progress=progress)
    assert second.cached
    assert set(told) <= {"another process is decoding", "decoding"}
    assert "another process is decoding" in told
    assert np.array_equal(first.complete().images, second.images)
    assert sorted(gate.decoded) == sorted(set(gate.decoded))


def test_whoever_waits_for_one_that_does_nothing_builds_alone(files, tmp_path, monkeypatch):
    gate = Gate(monkeypatch)
    first = photographs_of(files, LABELS, 16)
    monkeypatch.setattr(photos, "STALLED_AFTER_S", -1)
    second = photographs_of(files, LABELS, 16)
    assert not second.cached
    gate.open.set()
    assert second.complete().images[:, 8, 8, 0].tolist() == [number * 20 for number in range(10)]
    assert np.array_equal(first.complete().images, second.images)
    assert decode_all(files, LABELS, 16).cached


def test_a_file_that_was_closed_is_not_synced_under_another_files_number(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(store.os, "fdatasync", synced.append)
    file = store.Unfinished("key")
    file.sync()
    number = synced.pop()
    file.close()
    file.sync()
    assert number not in synced


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


def test_a_look_at_the_files_that_is_interrupted_leaves_nothing_behind(files, tmp_path):
    def interrupt(stage: str, done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode_all(files, LABELS, 16, progress=interrupt)
    assert cached_files(tmp_path) == []


def test_a_build_that_is_closed_leaves_no_thread_behind(files, monkeypatch):
    interrupted(files, monkeypatch, 2)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("decode", "survey"))]


def test_a_cache_folder_that_cannot_be_made_costs_a_notice_and_no_photograph(files, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FACEGENDER_CACHE", str(tmp_path / "file" / "cache"))
    decoded = decode_all(files, LABELS, 16)
    assert decoded.images[:, 8, 8, 0].tolist() == [number * 20 for number in range(10)]
    assert "kept in memory only" in decoded.notice


@pytest.mark.parametrize("fails_at", [0, 4, 9, "finish"])
def test_a_disk_that_fills_up_half_way_costs_a_notice_and_no_photograph(files, tmp_path, monkeypatch, fails_at):
    begun = itertools.count()  # one step, whichever thread takes it
    write, finish = store.Unfinished.write, store.Unfinished.finish

    def filling(self: store.Unfinished, place: int, pixels) -> None:
        if next(begun) == fails_at:
            raise OSError(28, "No space left on device")
        write(self, place, pixels)

    def finishing(self: store.Unfinished, damaged) -> None:
        if fails_at == "finish":
            raise OSError(28, "No space left on device")
        finish(self, damaged)

    monkeypatch.setattr(store.Unfinished, "write", filling)
    monkeypatch.setattr(store.Unfinished, "finish", finishing)
    decoded = decode_all(files, LABELS, 16)
    assert decoded.images[:, 8, 8, 0].tolist() == [number * 20 for number in range(10)]
    assert "No space left on device" in decoded.notice
    assert cached_files(tmp_path) == []


def test_when_neither_disk_nor_memory_has_room_the_message_says_what_to_do(files, monkeypatch):
    monkeypatch.setattr(eviction, "make_room", lambda needed, keep: False)
    monkeypatch.setattr(places, "available_memory", lambda: 100)
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
    assert eviction.make_room(100, limit=total)
    assert cached_files(tmp_path) == sorted([by_size[0], by_size[2]])
    assert not eviction.make_room(total + 1, limit=total)
    assert len(cached_files(tmp_path)) == 2
    assert sizes[16] < sizes[24]


def test_the_cache_takes_at_most_a_fifth_of_the_free_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(eviction.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 5000})())
    assert eviction.make_room(1000)
    assert not eviction.make_room(1001)


def test_what_nobody_goes_on_with_is_removed_after_a_while_and_not_before(tmp_path):
    (tmp_path / "cache").mkdir()
    ages = {".a.building": 8 * 86_400, ".b.building": 6 * 86_400, ".c.1.2.building": 7200, ".d.1.2.building": 10}
    for name, age in ages.items():
        path = tmp_path / "cache" / name
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    assert eviction.make_room(1)
    assert [path.name for path in cached_files(tmp_path)] == [".b.building", ".d.1.2.building"]


def test_unfinished_sets_count_and_make_room_but_for_those_that_are_built_now(files, tmp_path, monkeypatch):
    interrupted(files, monkeypatch, 4)
    (path,) = cached_files(tmp_path)
    size = path.stat().st_size
    file = store.Unfinished(path.name.removeprefix(".").removesuffix(".building"))
    assert not eviction.make_room(10, limit=size)
    file.close()
    assert cached_files(tmp_path) == [path]
    assert eviction.make_room(size, limit=size)
    assert cached_files(tmp_path) == []


# Listing and clearing -----------------------------------------------------------------------------------------------


def test_sets_are_listed_with_what_is_in_them(files, tmp_path, monkeypatch):
    interrupted(files, monkeypatch, 4)
    decode_all(files, LABELS, 20)
    finished, unfinished = sorted(eviction.entries(), key=lambda entry: not entry.finished)
    assert finished.description is not None
    assert (finished.done, finished.description.side) == (10, 20)
    assert finished.description.source == str(tmp_path / "data")
    assert 4 <= unfinished.done < 10
    assert not unfinished.busy
    (tmp_path / "cache" / "other.photographs").write_bytes(b"of another version")
    assert [entry.description is None for entry in eviction.entries()].count(True) == 1


def test_clearing_removes_the_sets_and_nothing_else(files, tmp_path, monkeypatch):
    decode_all(files, LABELS, 20)
    size = cached_files(tmp_path)[0].stat().st_size
    (tmp_path / "cache" / "classify").mkdir()
    (tmp_path / "cache" / "notes.txt").write_text("mine")
    gate = Gate(monkeypatch)
    building = photographs_of(files, LABELS, 16)
    cleared = eviction.clear()
    assert (cleared.count, cleared.freed_bytes, cleared.building, cleared.problems) == (1, size, 1, [])
    gate.open.set()
    building.complete()
    names = [path.name for path in cached_files(tmp_path)]
    assert len(names) == 3
    assert {"classify", "notes.txt"} < set(names)
    assert eviction.clear().count == 1
    assert [path.name for path in cached_files(tmp_path)] == ["classify", "notes.txt"]
    assert building.images[9, 8, 8, 0] == 180  # what is mapped stays readable
