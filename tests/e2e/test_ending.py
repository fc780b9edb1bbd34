"""However the program is ended, the terminal is as it was found, and nobody waits for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import recorded
from screen import Screen

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals"),
    pytest.mark.timeout(60),
]

PROMPTLY_S = 5.0
"""A second, and some for a machine that is busy with other tests."""


def ends(screen: Screen) -> tuple[int, float]:
    """The exit code, and how many seconds the program took to end."""
    began = time.monotonic()
    return screen.until_ended(), time.monotonic() - began


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT, signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_leaves_the_terminal_as_it_was(tmp_path: Path, number: signal.Signals) -> None:
    recorded.write_run(tmp_path)
    with Screen(["--root", str(tmp_path)], tmp_path) as screen:
        screen.until("otter-3")
        assert not screen.is_as_found
        os.kill(screen.pid, number)
        code, seconds = ends(screen)
        assert code == 0
        assert seconds < PROMPTLY_S
        assert screen.is_as_found
        assert b"Traceback" not in screen.written


def test_bytes_that_no_key_sends_do_not_end_it(tmp_path: Path) -> None:
    recorded.write_run(tmp_path)
    with Screen(["--root", str(tmp_path)], tmp_path) as screen:
        screen.until("otter-3")
        # The first is Alt and a on a terminal with 8-bit input.
        screen.press(b"\xe1", b"\xff\xfe", b"\xc3(", b"\x1b[9999999u", b"\x1b[99999999999u")
        screen.press("c", "photo\u00e9")
        screen.until("photo\u00e9")
        screen.press("\x03", b"\xe2")  # the beginning of a character is left over
        assert ends(screen)[0] == 0


def test_a_paste_that_is_not_utf_8_is_not_taken_for_keys(tmp_path: Path) -> None:
    folder = recorded.write_run(tmp_path)
    with Screen(["--root", str(tmp_path)], tmp_path) as screen:
        screen.until("otter-3")
        screen.press(b"\x1b[200~Gr\xfc\xdfe, ", b"Sven will ", b"try\x1b[201~")  # S and y would stop the run
        screen.press("c", "photo")
        screen.until("photo")
    assert not folder.stop_path.exists()


def test_a_terminal_that_goes_away_ends_it_and_the_classify_process(tmp_path: Path) -> None:
    recorded.write_run(tmp_path)
    with Screen(["--root", str(tmp_path)], tmp_path) as screen:
        screen.until("otter-3")
        screen.press("c", "somebody.jpg", "\r")
        children: list[psutil.Process] = []
        end = time.monotonic() + 20
        while not (children := psutil.Process(screen.pid).children(recursive=True)):
            assert time.monotonic() < end
            time.sleep(0.02)
        screen.hang_up()
        _, seconds = ends(screen)
        assert seconds < PROMPTLY_S
        _, alive = psutil.wait_procs(children, timeout=PROMPTLY_S)
        assert not alive
    assert not (tmp_path / "facegender-tui-error.log").exists()


def test_a_terminal_that_stopped_reading_does_not_keep_it(tmp_path: Path) -> None:
    recorded.write_run(tmp_path)
    with Screen(["--root", str(tmp_path)], tmp_path) as screen:
        screen.until("otter-3")
        for _ in range(400):
            os.kill(screen.pid, signal.SIGWINCH)  # makes it draw, and nobody reads that
            time.sleep(0.002)
        os.kill(screen.pid, signal.SIGHUP)
        end = time.monotonic() + 3 * PROMPTLY_S
        while not (ended := os.waitpid(screen.pid, os.WNOHANG))[0]:
            assert time.monotonic() < end, "it waits for the terminal"
            time.sleep(0.02)
        screen.exit_code = os.waitstatus_to_exitcode(ended[1])


def test_interrupted_while_it_asks_the_terminal_it_ends_without_a_word(tmp_path: Path) -> None:
    with Screen(["--root", str(tmp_path)], tmp_path, answers=False) as screen:
        screen.until(lambda: b"\x1b[c" in screen.written)
        screen.press("\x03")
        assert screen.until_ended() == 130
        assert screen.is_as_found
        assert b"Traceback" not in screen.written


@pytest.mark.parametrize("after_s", [0.1, 0.2, 0.3, 0.4, 0.6])
def test_interrupted_at_any_moment_of_its_start_it_ends_without_a_word(tmp_path: Path, after_s: float) -> None:
    # Only from its first line on; before that it is Python that is interrupted.
    code = "import sys; from tui.__main__ import main; sys.stdout.write('begun'); sys.stdout.flush(); main()"
    with Screen(["--root", str(tmp_path)], tmp_path, code=code) as screen:
        screen.until(lambda: b"begun" in screen.written)
        time.sleep(after_s)
        os.kill(screen.pid, signal.SIGINT)
        assert screen.until_ended() in (0, 130)
        assert screen.is_as_found
        assert b"Traceback" not in screen.written


BREAKING = """
from tui import __main__, app
def broken(self):
    raise ZeroDivisionError("a mistake of the program")
app.FaceGenderApp.action_help = broken
__main__.main()
"""


@pytest.mark.parametrize("in_full", [False, True])
def test_an_error_of_its_own_is_one_line_on_a_clean_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_full: bool
) -> None:
    monkeypatch.setenv("FACEGENDER_TRACEBACK", "1" if in_full else "")
    recorded.write_run(tmp_path)
    with Screen(["--root", str(tmp_path)], tmp_path, code=BREAKING) as screen:
        screen.until("otter-3")
        screen.press("?")
        assert screen.until_ended() == 1
        assert screen.is_as_found
        log = tmp_path / "facegender-tui-error.log"
        said = screen.written[screen.written.rindex(b"\x1b[?1049l") :].decode()
        if in_full:
            assert "Traceback" in said
            assert not log.exists()
        else:
            assert "facegender-tui: ended by an internal error: ZeroDivisionError: a mistake of the program" in said
            assert "Traceback" not in said
            assert said.count("\n") == 1
            assert "action_help" in log.read_text() or "broken" in log.read_text()


HANGING = """
import time
from tui import __main__, app
app.list_runs = lambda root: time.sleep(1e6)
__main__.main()
"""


def test_a_disk_that_does_not_answer_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    with Screen(["--root", str(tmp_path)], tmp_path, code=HANGING) as screen:
        screen.until("no run is open")
        screen.press("q")
        code, seconds = ends(screen)
        assert code == 0
        assert seconds < PROMPTLY_S


def test_it_draws_on_the_terminal_also_where_its_errors_go_to_a_file(tmp_path: Path) -> None:
    recorded.write_run(tmp_path)
    code = f"""
import os, runpy
os.dup2(os.open({str(tmp_path / "errors")!r}, os.O_WRONLY | os.O_CREAT), 2)
runpy.run_module("tui", run_name="__main__")
"""
    with Screen(["--root", str(tmp_path)], tmp_path, code=code) as screen:
        screen.until("otter-3")
        screen.press("q")
        assert screen.until_ended() == 0
        last_line = screen.written.rstrip().splitlines()[-1].decode()
    assert (tmp_path / "errors").read_bytes() == b""
    assert last_line.endswith(f"otter-3 is still training; show it with: facegender-tui otter-3 --root={tmp_path}")


@pytest.mark.parametrize("how", ["q", "\x03", "\x11", signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_every_run_that_trains_is_named_with_a_command_to_paste(tmp_path: Path, how: str | signal.Signals) -> None:
    root = tmp_path / "my runs"
    for name in ("heron-7", "otter-3"):
        recorded.write_run(root, name)
    recorded.write_run(root, "crane-1", end="completed")
    with Screen(["otter-3", "--root", str(root)], tmp_path) as screen:
        screen.until("otter-3")
        screen.until("training")
        if isinstance(how, str):
            screen.press(how)
        else:
            os.kill(screen.pid, how)
        assert screen.until_ended() == 0
        said = screen.written.decode()
    shown = [line for line in said.splitlines()[-4:] if "still training" in line]
    assert [line[line.index(" is still") - len("otter-3") :] for line in shown] == [
        f"otter-3 is still training; show it with: facegender-tui otter-3 '--root={root}'",
        f"heron-7 is still training; show it with: facegender-tui heron-7 '--root={root}'",
    ]
    assert "crane-1 is" not in said


@pytest.mark.parametrize("own_job", [False, True])
def test_a_job_of_its_own_is_what_has_another_process_group_than_its_parent(own_job: bool) -> None:
    command = [sys.executable, "-c", "from tui.host.shutdown import is_shell_job; print(is_shell_job())"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, start_new_session=own_job)
    assert done.stdout == f"{own_job}\n"


def test_a_new_run_and_read_only_exclude_each_other(tmp_path: Path) -> None:
    with Screen(["--demo", "--read-only", "--root", str(tmp_path)], tmp_path / "cache") as screen:
        assert screen.until_ended() == 2
        said = "facegender-tui: a new run (--demo, --data) and --read-only exclude each other: give one of them"
        assert said in screen.written.decode()
    assert not list(tmp_path.iterdir())


def test_a_folder_of_photographs_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with Screen(["--data", "nosuch", "--root", str(tmp_path)], tmp_path / "cache") as screen:
        assert screen.until_ended() == 2
        assert "nosuch: no such folder; name one that holds female/ and male/" in screen.written.decode()
