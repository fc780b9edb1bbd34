"""Paths as people type them, and disks that do not answer."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import recorded

from facegender.__main__ import run
from facegender.runs.config import TrainConfig
from facegender.runs.folder import RunFolder, create_run, list_runs, open_run
from facegender.support.cache_dir import cache_folder
from facegender.support.errors import UserError, print_error
from facegender.support.files import exists, expanded, is_file, is_folder, typed_path
from facegender.training.run_setup import set_up_new, set_up_resumed, set_up_script


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("ann.jpg", "ann.jpg"),
        ("  ann.jpg ", "ann.jpg"),
        ('"my face.jpg"', "my face.jpg"),
        ("'my face.jpg'", "my face.jpg"),
        (r"my\ face.jpg", "my face.jpg"),
        (r"'it'\''s.jpg'", "it's.jpg"),
        ("my face.jpg", "my face.jpg"),
        ("it's.jpg", "it's.jpg"),
        ("~nobody-of-that-name/x", "~nobody-of-that-name/x"),
        ("", "."),
        ("a\0b", "a\0b"),
    ],
)
def test_a_typed_text_means_a_path(text: str, path: str, tmp_path: Path) -> None:
    assert typed_path(text, tmp_path) == tmp_path / path


@pytest.mark.parametrize("name", [r"odd\ name.jpg", '"quoted".jpg', "'q'"])
def test_a_text_that_is_the_name_of_a_file_is_taken_as_it_is(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert typed_path(name, tmp_path) == tmp_path / name


def test_the_home_folder_stands_for_a_tilde_also_within_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert typed_path("~/a.jpg", Path("/x")) == Path("/home/ann/a.jpg")
    assert typed_path("'~/my face.jpg'", Path("/x")) == Path("/home/ann/my face.jpg")
    assert expanded("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")


@pytest.fixture
def away(root: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run on a network disk that has gone away."""
    folder = recorded.write_run(root, "otter-3", end="stopped")
    originals = {name: getattr(os, name) for name in ("stat", "lstat", "open", "scandir", "listdir", "mkdir")}

    def refusing(name: str):
        def call(path, *arguments, **options):
            if not isinstance(path, int) and str(folder.path) in os.fsdecode(path):
                raise OSError(errno.ESTALE, "Stale file handle", os.fsdecode(path))
            return originals[name](path, *arguments, **options)

        return call

    for name in originals:
        monkeypatch.setattr(os, name, refusing(name))
    return folder


def test_what_is_on_a_disk_that_is_away_counts_as_missing(away: RunFolder) -> None:
    assert not exists(away.path)
    assert not is_folder(away.path)
    assert not is_file(away.manifest_path)
    assert not away.stop_requested()
    assert list_runs(away.root) == []
    with pytest.raises(UserError, match="no run otter-3"):
        open_run(away.root, "otter-3")
    with pytest.raises(UserError, match="no run otter-3"):
        set_up_resumed(away.root, "otter-3", {})


def test_making_a_run_on_a_disk_that_is_away_is_one_line(away: RunFolder) -> None:
    with pytest.raises(UserError, match="Stale file handle"):
        create_run(away.root, "otter-3")
    with pytest.raises(UserError, match="Stale file handle"):
        set_up_new(TrainConfig(demo=True), away.root, "otter-3")


def test_the_cache_folder_is_chosen_by_the_environment_or_is_the_user_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEGENDER_CACHE", "/big/disk")
    assert cache_folder() == Path("/big/disk")
    monkeypatch.delenv("FACEGENDER_CACHE")
    assert cache_folder().name == "facegender-tui"


def test_a_complaint_is_one_safe_line(capfd: pytest.CaptureFixture[str]) -> None:
    print_error("two\nlines \x1b[2J")
    assert capfd.readouterr().err == "facegender: two lines \ufffd[2J\n"


def test_the_name_of_a_script_may_have_any_bytes(root: Path) -> None:
    folder = set_up_script(TrainConfig(), root, "otter-3", os.fsdecode(b"caf\xe9\x1b.py"))
    folder.lock.release()
    manifest = folder.read_manifest()
    assert manifest is not None
    assert manifest.script == "caf\ufffd\ufffd.py"


def test_a_path_that_is_not_utf_8_is_refused_before_a_run_folder_exists(root: Path, capfd) -> None:
    odd = root / os.fsdecode(b"caf\xe9")
    odd.mkdir()
    for arguments in (["--root", str(odd), "--demo"], ["--root", str(root), "--data", str(odd)]):
        assert run(["train", "--run", "otter-3", *arguments]) == 2
        message = capfd.readouterr().err
        assert f"{root}/caf\ufffd: the path is not valid UTF-8; rename the folder, or name a symbolic link" in message
    assert [path for path in root.rglob("*") if path != odd] == []
