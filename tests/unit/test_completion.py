"""Completing a path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from facegender.support.files import typed_path
from tui.completion import MAX_CANDIDATES, complete_path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("anna.jpg", "anton.jpg", "bert.png", ".hidden.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "zoe smith.jpg").touch()
    return tmp_path


def test_the_only_candidate_is_completed_whole(root: Path) -> None:
    assert complete_path("b", root) == ("bert.png", "")


def test_several_candidates_are_completed_as_far_as_they_agree_and_listed(root: Path) -> None:
    assert complete_path("a", root) == ("an", "anna.jpg  anton.jpg")
    assert complete_path("an", root) == ("an", "anna.jpg  anton.jpg")


def test_a_folder_gets_a_slash_and_is_entered_by_the_next_tab(root: Path) -> None:
    assert complete_path("ph", root) == ("photos/", "")
    assert complete_path("photos/", root) == ("photos/zoe smith.jpg", "")


def test_hidden_files_are_offered_only_to_who_asks_for_them(root: Path) -> None:
    assert ".hidden" not in complete_path("", root)[1]
    assert complete_path(".h", root) == (".hidden.jpg", "")


def test_an_absolute_path_and_the_home_folder_are_completed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert complete_path(f"{root}/be", root / "photos") == (f"{root}/bert.png", "")
    monkeypatch.setenv("HOME", str(root))
    assert complete_path("~/be", root / "photos") == ("~/bert.png", "")
    assert complete_path("~nobody-of-that-name/x", root)[0] == "~nobody-of-that-name/x"


def test_nothing_to_complete_says_so_and_keeps_the_text(root: Path) -> None:
    assert complete_path("zzz", root) == ("zzz", "nothing starts with that")
    assert complete_path("nowhere/x", root) == ("nowhere/x", "nowhere/: No such file or directory")
    assert complete_path("anna.jpg/x", root) == ("anna.jpg/x", "anna.jpg/: Not a directory")


def test_a_path_too_long_for_any_file_system_is_told(root: Path) -> None:
    text = "x" * 5000 + "/y"
    completed, said = complete_path(text, root)
    assert completed == text
    assert "too long" in said


def test_a_path_with_a_null_character_is_told(root: Path) -> None:
    completed, said = complete_path("a\x00b/c", root)
    assert completed == "a\x00b/c"
    assert said


def test_names_that_could_control_the_terminal_are_never_offered(root: Path) -> None:
    for name in ("evil\x1b[2J.jpg", "evil\nline.jpg", os.fsdecode(b"evil\xff.jpg")):
        (root / name).touch()
    assert complete_path("evil", root) == ("evil", "nothing starts with that")


def test_many_candidates_are_counted(root: Path) -> None:
    for number in range(MAX_CANDIDATES + 5):
        (root / f"face-{number:02}.png").touch()
    completed, said = complete_path("f", root)
    assert completed == "face-"
    assert said.endswith("  and 5 more")
    assert said.count(".png") == MAX_CANDIDATES


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("photos/a.jpg", "{root}/photos/a.jpg"),
        ("  photos/a.jpg \n", "{root}/photos/a.jpg"),
        ("'photos/zoe smith.jpg'", "{root}/photos/zoe smith.jpg"),
        ('"/tmp/a b.jpg"', "/tmp/a b.jpg"),
        ("/tmp/a.jpg", "/tmp/a.jpg"),
        ("'", "{root}/'"),
        ("~/a.jpg", "/home/ann/a.jpg"),
        ("~nobody-of-that-name/a", "{root}/~nobody-of-that-name/a"),
    ],
)
def test_a_typed_text_means_a_path(text: str, path: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert typed_path(text, root) == Path(path.format(root=root))


def test_a_link_that_leads_to_itself_is_a_name_like_others(root: Path) -> None:
    (root / "anloop").symlink_to("anloop")
    assert complete_path("an", root) == ("an", "anloop  anna.jpg  anton.jpg")
