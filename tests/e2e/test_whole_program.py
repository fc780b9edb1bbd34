"""The program as a person has it: in a terminal, with real trainers and a real network."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from recorded import read_all, write_run
from screen import Screen

from facegender.runs.events import FrameSaved
from facegender.runs.folder import list_runs

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals"),
    pytest.mark.timeout(240),
]

ENTER, ESCAPE, TAB, UP, DOWN, LEFT, CLEAR, START = "\r", "\x1b", "\t", "\x1b[A", "\x1b[B", "\x1b[D", "\x15", "\x13"


def fill(screen: Screen, steps: int, text: str) -> None:
    """Go so many fields down in the form and replace what is there."""
    screen.press(*[DOWN] * steps, CLEAR, text)


def test_train_look_inside_classify_detach_and_come_back(tmp_path: Path) -> None:
    root, cache = tmp_path / "root", tmp_path / "cache"
    root.mkdir()
    Image.new("RGB", (90, 120), (180, 140, 120)).save(root / "somebody.jpg")

    with Screen(["--root", str(root)], cache) as screen:
        screen.until("There is no run here yet")
        screen.press(DOWN, ENTER)
        screen.until("no datasets/ here")
        fill(screen, 0, "demo")
        fill(screen, 3, "32")
        fill(screen, 1, "2000")
        screen.until("ready: Ctrl+S starts the run")
        screen.press(START)
        screen.until("● training")
        screen.until("live")
        [folder] = list_runs(root)
        assert any(isinstance(event, FrameSaved) for event in read_all(folder.journal_path))
        screen.until("▸conv1◂")
        screen.until("▀▀")
        screen.press(DOWN)
        screen.until("▸conv2◂")

        screen.press("c", "someb", TAB)
        screen.until("somebody.jpg")
        screen.press(ENTER)
        screen.until("Predicted: ")
        screen.until("Confidence: ")
        screen.until("Probabilities: Female: ")
        screen.until(f"run {folder.name}, last.ckpt")
        screen.press(ESCAPE)
        screen.until("▸conv2◂")

        screen.press("q")
        assert screen.until_ended() == 0
    assert folder.state() in ("training", "completed")

    with Screen(["--root", str(root)], cache) as screen:
        screen.until(folder.name)
        screen.until("demo faces")
        screen.press("S")
        screen.until(f"Stop run {folder.name}?")
        screen.press("y")
        screen.until("■ stopped")
        screen.press("q")
        assert screen.until_ended() == 0
    assert folder.last_checkpoint.exists()


def test_ended_from_outside_it_ends_as_if_left(tmp_path: Path) -> None:
    with Screen(["--root", str(tmp_path)], tmp_path) as screen:
        screen.until("There is no run here yet")
        os.kill(screen.pid, signal.SIGTERM)
        assert screen.until_ended() == 0


def test_a_connection_that_drops_costs_nothing(tmp_path: Path) -> None:
    root, cache = tmp_path / "root", tmp_path / "cache"
    root.mkdir()
    with Screen(["--root", str(root), "--demo"], cache) as screen:
        screen.until("starting")
        screen.until(lambda: bool(list_runs(root)))
        os.kill(screen.pid, signal.SIGHUP)
        screen.until_ended()
    [folder] = list_runs(root)
    folder_ends = time.monotonic() + 200
    while not any(isinstance(event, FrameSaved) for event in read_all(folder.journal_path)):
        assert time.monotonic() < folder_ends, folder.log_tail()
        time.sleep(0.2)
    assert folder.state() == "training"
    folder.request_stop()
    while folder.state() != "stopped":
        assert time.monotonic() < folder_ends, folder.log_tail()
        time.sleep(0.2)


def test_the_settings_file_is_in_force_its_mistakes_are_told_and_an_editor_changes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, file, editor = (
        tmp_path / "root",
        tmp_path / "config" / "facegender-tui" / "settings.toml",
        tmp_path / "editor",
    )
    write_run(root, "otter-3", epochs_done=2, end="completed")
    file.parent.mkdir(parents=True)
    file.write_text(f'root = "{root}"\nx_axis = "hours"\n')
    editor.write_text("""#!/bin/sh\necho 'x_axis = "steps"' > "$1"\n""")
    editor.chmod(0o700)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(file.parents[1]))
    monkeypatch.setenv("VISUAL", str(editor))
    with Screen([], tmp_path) as screen:
        screen.until("otter-3")
        screen.until("line 2: x_axis must be one of")
        screen.press("O")
        screen.until("Ctrl+E")
        screen.press("\x05")
        screen.until("default epochs: Unit of the x axis")
        screen.press(ESCAPE)
        screen.until("20  steps")


def test_keys_that_arrive_in_one_read_are_all_handled_in_their_order(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("heron", "otter"):
        write_run(root, name, end="completed")
    with Screen(["heron", "--root", str(root)], tmp_path / "cache") as screen:
        screen.until("epoch 2: loss")
        screen.press(b":compare heron otter\rq:open otter\r/EPOCH 3\r")
        screen.until("lines with “EPOCH 3”")
        screen.until("otter  ✓ completed")
        assert "epoch 2: loss" not in screen.text
        screen.press(b":epoch 2\rr/her\r\r")
        screen.until("heron  ✓ completed")
        screen.press(b"?q:quit\r")
        assert screen.until_ended() == 0
