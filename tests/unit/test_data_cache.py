import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facegender.data.cache import eviction, photos
from facegender.data.cache.file import PhotoFile, open_locked, remove
from facegender.data.cache.photos import DecodedPhotos, load_photos
from facegender.support.cache_dir import cache_folder, make_cache_folder
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


def load(files: list[Path], labels: list[int], side: int, **options) -> DecodedPhotos:
    return load_photos(files, labels, side, **{"folder": files[0].parent if files else Path(), **options})


def is_cached(files: list[Path], labels: list[int], side: int) -> bool:
    """Whether loading some photographs decodes nothing."""
    reports: list[tuple[str, int, int]] = []
    load(files, labels, side, progress=lambda *report: reports.append(report)).close()
    return not reports


def cached_files(tmp_path) -> list[Path]:
    return sorted((tmp_path / "cache").glob("*"))


def numbers(decoded: DecodedPhotos) -> list[int]:
    """Which photographs there are, as their grey tells."""
    return [int(grey) // 20 for grey in decoded.read(np.arange(len(decoded)))[:, 8, 8, 0]]


def test_photographs_come_back_in_the_order_of_the_files(files):
    decoded = load(files, LABELS, 16)
    pixels = decoded.read(np.arange(10))
    assert pixels.shape == (10, 16, 16, 3)
    assert pixels.dtype == np.uint8
    assert decoded.size_bytes == pixels.nbytes
    assert numbers(decoded) == list(range(10))
    assert decoded.labels.tolist() == LABELS
    assert decoded.labels.dtype == np.int64
    assert decoded.names == [path.name for path in files]
    assert len(set(decoded.digests)) == 10
    assert decoded.skipped == []
    assert decoded.notice == ""


def test_some_photographs_are_read_in_any_order(files):
    decoded = load(files, LABELS, 16)
    assert decoded.read(np.array([7, 2, 7]))[:, 8, 8, 0].tolist() == [140, 40, 140]


def test_the_second_time_no_photograph_is_decoded(files, monkeypatch):
    first = load(files, LABELS, 16)
    monkeypatch.setattr(photos, "decode_missing", lambda *_: pytest.fail("decoded a photograph"))
    second = load(files, LABELS, 16)
    assert numbers(second) == numbers(first)
    assert (first.digests, first.names, first.skipped) == (second.digests, second.names, second.skipped)
    assert np.array_equal(first.labels, second.labels)


def test_the_folder_may_move(files, tmp_path):
    load(files, LABELS, 16)
    (tmp_path / "data").rename(tmp_path / "moved")
    assert is_cached([tmp_path / "moved" / path.name for path in files], LABELS, 16)


def test_a_folder_whose_name_is_not_utf_8_is_cached_like_any_other(files, tmp_path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    (tmp_path / "data").rename(odd)
    moved = [odd / path.name for path in files]
    assert numbers(load(moved, LABELS, 16)) == list(range(10))
    assert is_cached(moved, LABELS, 16)
    assert eviction.entries()[0].photos.source.isprintable()


@pytest.mark.parametrize("change", ["content", "time", "name", "fewer", "size", "permission"])
def test_any_change_decodes_again(files, monkeypatch, change):
    load(files, LABELS, 16)
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
    assert not is_cached(files, labels, side)
    if change == "content":
        assert load(files, labels, side).read(np.array([3])).min() == 255


def test_the_labels_are_the_callers_and_not_the_caches(files):
    load(files, LABELS, 16)
    assert load(files, [1] * 10, 16).labels.tolist() == [1] * 10


def damage(path: Path) -> None:
    """Spoil a PNG in its middle, which its ends do not tell."""
    data = bytearray(path.read_bytes())
    at = data.index(b"IDAT") + 6
    data[at : at + 8] = bytes(8)
    path.write_bytes(data)


def test_unreadable_files_are_left_out_and_listed_by_a_harmless_name_relative_to_the_folder(files, tmp_path):
    bad = tmp_path / "data" / "evil\x1b[2J.jpg"
    bad.write_bytes(b"")
    system = tmp_path / "data" / "Thumbs.db"
    system.write_bytes(b"x")
    damage(files[2])
    for _ in range(2):  # decoded, then cached
        decoded = load([files[0], bad, files[1], system, files[2]], [0, 1, 1, 0, 0], 16, folder=tmp_path)
        assert decoded.names == ["data/0.png", "data/1.png"]
        assert decoded.labels.tolist() == [0, 1]
        assert numbers(decoded) == [0, 1]
        assert [(skipped.file, skipped.reason) for skipped in decoded.skipped] == [
            ("data/evil\ufffd[2J.jpg", "empty file"),
            ("data/Thumbs.db", "system file"),
            ("data/2.png", "damaged image"),
        ]


def test_a_file_that_is_named_twice_gives_two_photographs(files):
    decoded = load([files[4], files[4]], [0, 1], 16)
    assert decoded.digests[0] == decoded.digests[1]
    assert numbers(decoded) == [4, 4]


def test_a_folder_without_a_readable_photograph_gives_none(files):
    for path in files:
        damage(path)
    decoded = load(files, LABELS, 16)
    assert len(decoded) == 0
    assert len(decoded.skipped) == 10
    assert len(load([], [], 16)) == 0


def test_progress_counts_up_to_all_files(files):
    reports = []
    load(files, LABELS, 16, progress=lambda *report: reports.append(report))
    assert {(stage, count) for stage, _, count in reports} == {("decoding", 10)}
    assert [done for _, done, _ in reports] == sorted(done for _, done, _ in reports)
    assert (reports[0][1], reports[-1][1]) == (0, 10)
    reports.clear()
    load(files, LABELS, 16, progress=lambda *report: reports.append(report))
    assert reports == []


# While it is decoded ------------------------------------------------------------------------------------------------


@pytest.fixture
def decoded_names(tmp_path, monkeypatch):
    """Which files the worker processes have decoded since this was last called."""
    log = tmp_path / "decoded.log"
    log.touch()
    original = photos.read_bytes

    def read_bytes(path: Path) -> bytes:
        with log.open("a") as file:
            file.write(path.name + "\n")
        return original(path)

    monkeypatch.setattr(photos, "read_bytes", read_bytes)

    count = 0

    def taken() -> list[str]:
        nonlocal count
        names = log.read_text().split()
        new, count = names[count:], len(names)
        return new

    return taken


@pytest.fixture
def slow(monkeypatch) -> None:
    """One process decodes, and reports every photograph."""
    original = photos.resize

    def resize(image: Image.Image, side: int) -> np.ndarray:
        time.sleep(0.01)
        return original(image, side)

    monkeypatch.setattr(photos, "resize", resize)
    monkeypatch.setattr("facegender.data.cache.decoder.available_processors", lambda: 1)
    monkeypatch.setattr("facegender.data.cache.decoder._SEND_EVERY_S", 0)


def interrupt_at(number: int):
    """A progress callback that ends decoding as Ctrl-C would."""

    def progress(stage: str, done: int, count: int) -> None:
        if done >= number:
            raise KeyboardInterrupt

    return progress


def test_a_progress_callback_that_is_stuck_does_not_hold_up_decoding(files, slow, decoded_names):
    seen: set[str] = set()

    def progress(stage: str, done: int, count: int) -> None:
        deadline = time.monotonic() + 20
        while len(seen) < 10 and time.monotonic() < deadline:
            seen.update(decoded_names())
            time.sleep(0.01)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photos, "decode_missing", skip_first_report(photos.decode_missing))
        load(files, LABELS, 16, progress=progress)
    assert len(seen) == 10


def skip_first_report(decode_missing):
    """The first report comes before the processes start."""

    def decode(file, read, report):
        decode_missing(file, read, lambda done, count: report(done, count) if done else None)

    return decode


def test_an_interrupted_build_continues_with_what_is_missing(files, tmp_path, slow, decoded_names):
    with pytest.raises(KeyboardInterrupt):
        load(files, LABELS, 16, progress=interrupt_at(4))
    assert 4 <= len(decoded_names()) < 10
    reports = []
    decoded = load(files, LABELS, 16, progress=lambda *report: reports.append(report))
    assert reports[0] == ("decoding", 4, 10)
    assert decoded_names() == [path.name for path in files[4:]]
    assert numbers(decoded) == list(range(10))
    assert len(cached_files(tmp_path)) == 1
    assert is_cached(files, LABELS, 16)


def test_an_interrupted_build_leaves_no_process_behind(files, slow):
    with pytest.raises(KeyboardInterrupt):
        load(files, LABELS, 16, progress=interrupt_at(1))
    assert multiprocessing.active_children() == []


KILLED = """
import os, sys, time
from pathlib import Path
from facegender.data.cache import decoder, photos
decoder._RECORD_EVERY_S = decoder._SEND_EVERY_S = 0
original = photos.resize
photos.resize = lambda image, side: time.sleep(0.05) or original(image, side)
def progress(stage, done, count):
    if done >= 5:
        os.kill(os.getpid(), 9)
photos.load_photos(sorted(Path(sys.argv[1]).iterdir()), [0, 1] * 5, 16, folder=Path(sys.argv[1]), progress=progress)
"""


def test_a_build_that_was_killed_continues_with_what_is_missing(files, tmp_path, decoded_names):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "data")], timeout=60)
    assert killed.returncode == -9
    decoded = load(files, LABELS, 16)
    assert decoded_names() == [path.name for path in files[4:]]
    assert numbers(decoded) == list(range(10))


def test_a_photograph_that_may_not_have_reached_the_disk_is_not_marked_as_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", full_disk)
    with closing(open_locked("key", 2, 16, "")) as file:
        file.write(0, np.zeros((16, 16, 3), np.uint8))
        with pytest.raises(OSError, match="No space"):
            file.record([(0, bytes(16), bytes(32), "")])
    with closing(open_locked("key", 2, 16, "")) as file:
        assert file.missing_rows.tolist() == [0, 1]


@pytest.mark.parametrize("cut", [0, 1, 100, 5000, -1])
def test_an_unfinished_file_that_was_cut_off_is_begun_again(files, tmp_path, slow, cut):
    with pytest.raises(KeyboardInterrupt):
        load(files, LABELS, 16, progress=interrupt_at(4))
    (path,) = cached_files(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    assert numbers(load(files, LABELS, 16)) == list(range(10))


def test_a_process_waits_for_another_that_decodes_the_same_photographs(files, tmp_path, slow):
    with pytest.raises(KeyboardInterrupt):
        load(files, LABELS, 16, progress=interrupt_at(4))
    (path,) = cached_files(tmp_path)
    other = open_locked(path.stem, 10, 16, "")
    reports = []

    def progress(*report) -> None:
        reports.append(report)
        other.close()

    assert numbers(load(files, LABELS, 16, progress=progress)) == list(range(10))
    assert reports[0] == ("another process is decoding", 4, 10)


def test_a_complete_set_is_used_by_several_processes_at_once(files):
    first, second = load(files, LABELS, 16), load(files, LABELS, 16)
    assert numbers(first) == numbers(second) == list(range(10))


def test_signals_to_the_worker_processes_are_the_parents_matter(files, slow):
    def progress(stage: str, done: int, count: int) -> None:
        for process in multiprocessing.active_children():
            os.kill(process.pid, signal.SIGINT)
            os.kill(process.pid, signal.SIGTERM)

    assert numbers(load(files, LABELS, 16, progress=progress)) == list(range(10))


def test_a_process_that_is_spawned_opens_the_file_again_to_write_to_it():
    with closing(open_locked("key", 2, 16, "")) as file:
        with closing(pickle.loads(pickle.dumps(file))) as again:
            again.write(1, np.full((16, 16, 3), 7, np.uint8))
        out = np.empty((1, 16, 16, 3), np.uint8)
        file.read(np.array([1]), out)
        assert out.min() == 7


def test_an_error_of_the_program_in_a_worker_process_is_raised_with_its_traceback(files, monkeypatch):
    monkeypatch.setattr(photos, "resize", lambda image, side: 1 / 0)
    with pytest.raises(ZeroDivisionError) as raised:
        load(files, LABELS, 16)
    assert "in _work" in raised.value.__notes__[0]


def test_a_worker_process_that_is_killed_is_an_error_that_names_the_signal(files, monkeypatch):
    monkeypatch.setattr(photos, "resize", lambda image, side: os.kill(os.getpid(), 9))
    with pytest.raises(RuntimeError, match="SIGKILL"):
        load(files, LABELS, 16)


def test_too_many_processes_are_an_error_that_says_so_and_cost_no_photograph_that_is_decoded(files, tmp_path, slow):
    with pytest.raises(KeyboardInterrupt):
        load(files, LABELS, 16, progress=interrupt_at(4))

    def start(process: multiprocessing.Process) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multiprocessing.process.BaseProcess, "start", start)
        with pytest.raises(UserError, match=r"cannot start .* \(Resource temporarily unavailable\).*`ulimit -u`"):
            load(files, LABELS, 16)
    (entry,) = eviction.entries()
    assert len(entry.photos.decoded_rows) == 4


# Damage and trouble -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "empty", "header", "foreign"])
def test_a_damaged_cache_is_built_again(files, tmp_path, damage):
    load(files, LABELS, 16)
    (path,) = cached_files(tmp_path)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "empty":
        data.clear()
    elif damage == "header":
        data[:8] = bytes(8)
    else:
        data[:] = os.urandom(len(data))
    path.write_bytes(data)
    assert not is_cached(files, LABELS, 16)
    assert is_cached(files, LABELS, 16)
    assert numbers(load(files, LABELS, 16)) == list(range(10))


def test_a_file_that_is_truncated_while_it_is_used_is_one_clear_error(files, tmp_path):
    decoded = load(files, LABELS, 16)
    (path,) = cached_files(tmp_path)
    os.truncate(path, path.stat().st_size - 1)
    assert decoded.read(np.array([8]))[0, 8, 8, 0] == 160
    with pytest.raises(UserError, match="truncated the decoded photographs; start the run again"):
        decoded.read(np.array([9]))
    assert not is_cached(files, LABELS, 16)
    with pytest.raises(UserError, match="truncated"):  # and not the pixels of the new set
        decoded.read(np.array([9]))


def test_nobody_else_may_read_the_cache(files, tmp_path):
    before = os.umask(0)
    try:
        load(files, LABELS, 16)
    finally:
        os.umask(before)
    (path,) = cached_files(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_the_default_cache_folder_of_an_earlier_version_becomes_private(tmp_path, monkeypatch):
    monkeypatch.delenv("FACEGENDER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache_folder().mkdir(mode=0o755)
    make_cache_folder()
    assert cache_folder().stat().st_mode & 0o777 == 0o700


def test_a_cache_folder_that_cannot_be_created_costs_a_notice_and_no_photograph(files, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FACEGENDER_CACHE", str(tmp_path / "file" / "cache"))
    decoded = load(files, LABELS, 16)
    assert numbers(decoded) == list(range(10))
    assert "kept in memory only" in decoded.notice
    assert decoded.in_memory


def full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("step", ["write", "record"])
def test_a_disk_that_fills_up_costs_a_notice_and_no_photograph(files, tmp_path, monkeypatch, step):
    original = getattr(PhotoFile, step)

    def failing(self: PhotoFile, *arguments: object) -> None:
        if self.path.suffix == ".photographs":
            full_disk()
        original(self, *arguments)

    monkeypatch.setattr(PhotoFile, step, failing)
    decoded = load(files, LABELS, 16)
    assert numbers(decoded) == list(range(10))
    assert "No space left on device" in decoded.notice
    assert cached_files(tmp_path) == []


@pytest.mark.parametrize("lack", ["memory", "memfd_create"])
def test_when_neither_disk_nor_memory_takes_them_the_message_says_what_to_do(files, monkeypatch, lack):
    monkeypatch.setattr(eviction, "MAX_BYTES", 100)
    if lack == "memory":
        monkeypatch.setattr(photos, "available_memory", lambda: 100)
    else:
        monkeypatch.delattr(os, "memfd_create")  # only Linux has it
    with pytest.raises(UserError, match=r"cannot take them \(at most . KiB .*--image-size"):
        load(files, LABELS, 16)


# Eviction -----------------------------------------------------------------------------------------------------------


def fits(size_bytes: int) -> bool:
    """Whether room could be made."""
    try:
        eviction.make_room(size_bytes)
    except OSError:
        return False
    return True


def test_what_was_used_least_recently_makes_room(files, tmp_path, monkeypatch):
    for side in (16, 20, 24):
        load(files, LABELS, side)
    by_size = sorted(cached_files(tmp_path), key=lambda path: path.stat().st_size)
    for age, path in enumerate(by_size):
        os.utime(path, (1000 + age, 1000 + age))
    load(files, LABELS, 16)  # used again: now the newest
    total = sum(path.stat().st_size for path in by_size)
    monkeypatch.setattr(eviction, "MAX_BYTES", total)
    assert fits(100)
    assert cached_files(tmp_path) == sorted([by_size[0], by_size[2]])
    assert not fits(total + 1)
    assert len(cached_files(tmp_path)) == 2


def test_the_cache_takes_at_most_a_fifth_of_the_free_disk(monkeypatch):
    monkeypatch.setattr(eviction.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 5000})())
    assert fits(1000)
    assert not fits(1001)


def test_an_unfinished_set_is_removed_after_a_week_and_not_before(tmp_path):
    for key, age in (("a", 8 * 86_400), ("b", 6 * 86_400)):
        file = open_locked(key, 1, 16, "")
        file.close()
        os.utime(file.path, (time.time() - age,) * 2)
    assert fits(1)
    assert [path.stem for path in cached_files(tmp_path)] == ["b"]


def test_sets_of_another_layout_are_removed(tmp_path):
    (tmp_path / "cache").mkdir()
    for name in ("old.photographs", "older.photographs"):
        (tmp_path / "cache" / name).write_bytes(b"of an earlier version")
    (tmp_path / "cache" / "notes.txt").write_text("mine")
    assert fits(1)
    assert [path.name for path in cached_files(tmp_path)] == ["notes.txt"]


def test_unfinished_sets_make_room_unless_they_are_being_decoded(tmp_path, monkeypatch):
    file = open_locked("key", 10, 16, "")
    size = file.path.stat().st_size
    monkeypatch.setattr(eviction, "MAX_BYTES", size)
    assert not fits(10)
    file.close()
    assert cached_files(tmp_path) == [file.path]
    assert fits(size)
    assert cached_files(tmp_path) == []


def test_sets_are_listed_with_what_is_in_them(files, tmp_path, slow):
    with pytest.raises(KeyboardInterrupt):
        load(files, LABELS, 16, progress=interrupt_at(4))
    load(files, LABELS, 20)
    finished, unfinished = sorted(eviction.entries(), key=lambda entry: len(entry.photos.missing_rows))
    assert (len(finished.photos.decoded_rows), finished.photos.count, finished.photos.side) == (10, 10, 20)
    assert finished.photos.source == str(tmp_path / "data")
    assert (len(unfinished.photos.decoded_rows), unfinished.photos.count, unfinished.photos.side) == (4, 10, 16)
    assert not unfinished.busy
    (tmp_path / "cache" / "other.photographs").write_bytes(b"of another version")
    assert [entry.photos for entry in eviction.entries()].count(None) == 1


def test_a_set_that_was_removed_stays_readable_while_it_is_open(files, tmp_path):
    decoded = load(files, LABELS, 20)
    assert remove(*cached_files(tmp_path))
    assert numbers(decoded) == list(range(10))
    assert cached_files(tmp_path) == []
