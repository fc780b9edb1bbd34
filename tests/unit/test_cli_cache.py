"""`facegender cache`, and what `doctor` says about the cache."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from PIL import Image

from facegender.__main__ import run
from facegender.cli.data import cache_summary
from facegender.data.cache import eviction
from facegender.data.cache.file import PhotoFile, open_locked
from facegender.data.cache.photos import load_photos
from facegender.support.text import size_in_words

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACEGENDER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def one_set(tmp_path: Path, folder: Path) -> Path:
    """Ten photographs of 64 px, used two hours ago."""
    (tmp_path / "faces").mkdir()
    files = [tmp_path / "faces" / f"{number}.png" for number in range(10)]
    for number, path in enumerate(files):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(path)
    load_photos(files, [0, 1] * 5, 64, folder=tmp_path / "faces")
    (path,) = folder.iterdir()
    os.utime(path, (time.time() - 7300,) * 2)
    return path


def unfinished(done: int, key: str = "half", source: str = "x") -> PhotoFile:
    """A set that is being decoded, of which some photographs are there."""
    file = open_locked(key, 4, 64, source)
    file.record((row, bytes(16), bytes(32), "") for row in range(done))
    return file


def test_an_empty_cache_says_where_photographs_would_be(folder: Path, capsys: Capture) -> None:
    assert run(["cache"]) == 0
    assert capsys.readouterr().out == f"no decoded photographs in {folder}: a training run puts them there\n"
    assert not folder.exists()


def test_a_set_is_listed_with_count_pixels_size_and_last_use(one_set: Path, folder: Path, capsys: Capture) -> None:
    unfinished(3).close()
    assert run(["cache"]) == 0
    head, half, whole, total = capsys.readouterr().out.splitlines()
    assert head.split() == ["photographs", "px", "size", "used", "from"]
    assert half.split()[:4] == ["3", "of", "4", "64"]
    assert whole.split()[:2] == ["10", "64"]
    assert "2 h ago" in whole
    assert whole.endswith("faces")
    assert str(folder) in total


def test_no_line_of_the_list_is_wider_than_a_terminal(folder: Path, capsys: Capture) -> None:
    unfinished(1, source="/long" * 40).close()
    assert run(["cache"]) == 0
    assert all(len(line) <= 80 for line in capsys.readouterr().out.splitlines()[:-1])


def test_clearing_says_what_was_freed_and_leaves_everything_else(one_set: Path, folder: Path, capsys: Capture) -> None:
    unfinished(2, "left").close()
    building = unfinished(1, "now")
    (folder / "facegender-tui-error.log").write_text("mine")
    (folder / "classify").mkdir()
    freed = size_in_words(sum(entry.size_bytes for entry in eviction.entries() if not entry.busy))
    assert run(["cache", "--clear"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"removed 2 sets, {freed}"
    assert lines[-1] == "kept 1 set that a run is decoding now"
    assert {path.name for path in folder.iterdir()} == {"facegender-tui-error.log", "classify", building.path.name}
    building.close()


def test_clearing_an_empty_cache_is_no_error(capsys: Capture) -> None:
    assert run(["cache", "--clear"]) == 0
    assert capsys.readouterr().out == "removed 0 sets, 0 KiB\n"


def test_a_set_that_cannot_be_removed_is_reported_in_one_line(
    one_set: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert run(["cache", "--clear"]) == 1
    said = capsys.readouterr()
    assert said.out == "removed 0 sets, 0 KiB\n"
    assert f"{one_set}: Permission denied" in said.err
    assert len(said.err.splitlines()) == 1


def test_foreign_and_damaged_files_are_listed_as_such(folder: Path, capsys: Capture) -> None:
    folder.mkdir()
    (folder / "other.photographs").write_bytes(b"of another version")
    (folder / "cut.photographs").write_bytes(b"")
    (folder / "gone.photographs").symlink_to(folder / "nowhere")
    (folder / "odd.photographs").mkdir()
    assert run(["cache"]) == 0
    assert "another version, or damaged" in capsys.readouterr().out
    run(["cache", "--clear"])
    assert (folder / "odd.photographs").exists()


def test_a_named_pipe_holds_nobody_up(folder: Path, capsys: Capture) -> None:
    folder.mkdir()
    os.mkfifo(folder / "pipe.photographs")
    assert run(["cache"]) == 0
    assert run(["cache", "--clear"]) == 0
    assert [path.name for path in folder.iterdir()] == ["pipe.photographs"]


@pytest.mark.parametrize("place", ["file", "missing"])
def test_a_cache_folder_that_does_not_exist_is_not_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, place: str
) -> None:
    if place == "file":
        (tmp_path / "cache").write_text("in the way")
    monkeypatch.setenv("FACEGENDER_CACHE", str(tmp_path / "cache" / "below"))
    assert run(["cache"]) == 0
    assert run(["cache", "--clear"]) == 0
    assert "0 sets, 0 KiB; at most" in cache_summary()
    assert not (tmp_path / "cache" / "below").exists()


def test_the_summary_counts_sets_and_names_the_limit(one_set: Path) -> None:
    unfinished(2).close()
    assert cache_summary().startswith("2 sets, ")
    assert "; at most " in cache_summary()


def test_a_set_that_is_being_decoded_is_listed_as_such(folder: Path, capsys: Capture) -> None:
    building = unfinished(2)
    for said in ("2 of 4, being decoded", "2 of 4  "):
        assert run(["cache"]) == 0
        assert said in capsys.readouterr().out
        building.close()
