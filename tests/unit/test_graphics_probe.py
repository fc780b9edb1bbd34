"""The probe against a scripted terminal at the other end of a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import select
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tui.graphics.probe import KITTY_QUERY, Probe, discard_cursor_reports, queries
from tui.graphics.terminal import Protocol

ENVIRONMENT = {"TERM": "xterm-256color"}
LAST_QUESTION = b"\x1b[c"
ANSWERS = b"\x1b_Gi=31;OK\x1b\\\x1bP>|kitty(0.41.1)\x1b\\\x1b[6;18;9t\x1b[?2026;2$y\x1b[?62;22c"


@dataclass
class Scripted:
    """A terminal that answers once, when the last question has come."""

    fd: int
    questions: bytes = b""

    def wait_for_questions(self) -> None:
        while LAST_QUESTION not in self.questions:
            self.questions += os.read(self.fd, 4096)


@contextmanager
def terminal(script: Callable[[Scripted], None]) -> Iterator[tuple[int, Scripted]]:
    master, slave = pty.openpty()
    scripted = Scripted(master)
    thread = threading.Thread(target=script, args=(scripted,))
    thread.start()
    try:
        yield slave, scripted
    finally:
        thread.join(10)
        os.close(master)
        os.close(slave)


def probe(fd: int, override: str = "auto", environment: dict[str, str] = ENVIRONMENT) -> Probe:
    return Probe(override, input_fd=fd, output_fd=fd, environment=environment)


def modes(fd: int) -> list[object]:
    return termios.tcgetattr(fd)


def answer_at_once(scripted: Scripted) -> None:
    scripted.wait_for_questions()
    os.write(scripted.fd, ANSWERS)


def test_the_last_reply_ends_the_wait_and_the_mode_is_restored() -> None:
    with terminal(answer_at_once) as (fd, scripted):
        before = modes(fd)
        asked = probe(fd)
        assert modes(fd) != before
        began = time.monotonic()
        found = asked.finish(timeout_s=30)
        assert time.monotonic() - began < 10
        assert modes(fd) == before
        assert found.protocol is Protocol.KITTY
        assert found.name == "kitty(0.41.1)"
        assert (found.cell_width_px, found.cell_height_px) == (9, 18)
        assert scripted.questions.endswith(LAST_QUESTION + b"\r\x1b[K") or LAST_QUESTION in scripted.questions
        assert asked.finish() is found


def test_the_queries_are_sent_before_anything_is_waited_for() -> None:
    with terminal(Scripted.wait_for_questions) as (fd, scripted):
        asked = probe(fd)
        deadline = time.monotonic() + 10
        while LAST_QUESTION not in scripted.questions and time.monotonic() < deadline:
            time.sleep(0.01)
        assert LAST_QUESTION in scripted.questions
        asked.restore()


@pytest.mark.parametrize(
    "environment", [{"TMUX": "/tmp/x,1,0"}, {"STY": "1.x"}, {"TERM": "tmux-256color"}, {"TERM": "screen"}]
)
def test_kitty_is_not_asked_for_behind_a_multiplexer_which_takes_the_question_for_a_title(
    environment: dict[str, str],
) -> None:
    assert KITTY_QUERY not in queries(environment)
    assert KITTY_QUERY in queries({"TERM": "xterm-256color"})


def test_replies_in_single_bytes_with_key_presses_between_them() -> None:
    def in_pieces(scripted: Scripted) -> None:
        scripted.wait_for_questions()
        os.write(scripted.fd, b"q\x1b[A")
        for answer in (b"\x1bP>|kitty(0.41.1)\x1b\\", b"\x1b_Gi=31;OK\x1b\\", b"\x1b[6;18;9t", b"\x1b[?62;22c"):
            for byte in answer:
                os.write(scripted.fd, bytes([byte]))
                time.sleep(0.001)
            os.write(scripted.fd, b"j")

    with terminal(in_pieces) as (fd, _):
        assert probe(fd).finish(timeout_s=30).protocol is Protocol.KITTY


def test_late_replies_are_waited_for() -> None:
    def late(scripted: Scripted) -> None:
        scripted.wait_for_questions()
        time.sleep(0.4)
        os.write(scripted.fd, ANSWERS)

    with terminal(late) as (fd, _):
        assert probe(fd).finish(timeout_s=30).protocol is Protocol.KITTY


def test_a_silent_terminal_gets_half_blocks_after_the_limit() -> None:
    with terminal(Scripted.wait_for_questions) as (fd, _):
        before = modes(fd)
        found = probe(fd).finish(timeout_s=0.2)
        assert found.protocol is Protocol.HALFBLOCK
        assert "did not reply" in found.reason
        assert modes(fd) == before


def test_keys_typed_during_the_probe_do_not_reach_the_program() -> None:
    def typed(scripted: Scripted) -> None:
        scripted.wait_for_questions()
        os.write(scripted.fd, ANSWERS + b"trailing keys")

    with terminal(typed) as (fd, _):
        probe(fd).finish(timeout_s=30)
        os.set_blocking(fd, False)
        try:
            left = os.read(fd, 100)
        except BlockingIOError:
            left = b""
        assert b"\x1b" not in left


def test_no_terminal_is_no_error() -> None:
    reading, writing = os.pipe()
    try:
        found = Probe(input_fd=reading, output_fd=writing, environment=ENVIRONMENT).finish()
    finally:
        os.close(reading)
        os.close(writing)
    assert found.protocol is Protocol.HALFBLOCK
    assert "not a terminal" in found.reason


def test_a_dumb_terminal_is_not_probed() -> None:
    with terminal(lambda scripted: None) as (fd, scripted):
        found = probe(fd, environment={"TERM": "dumb"}).finish(timeout_s=0.2)
        assert found.protocol is Protocol.HALFBLOCK
        assert not scripted.questions


def test_the_override_is_used_and_the_cell_size_is_still_probed() -> None:
    with terminal(answer_at_once) as (fd, _):
        found = probe(fd, override="sixel").finish(timeout_s=30)
        assert found.protocol is Protocol.SIXEL
        assert (found.cell_width_px, found.cell_height_px) == (9, 18)


def test_leaving_the_context_restores_the_terminal_after_an_error() -> None:
    with terminal(Scripted.wait_for_questions) as (fd, _):
        before = modes(fd)
        try:
            with probe(fd):
                raise RuntimeError
        except RuntimeError:
            pass
        assert modes(fd) == before


def test_late_reports_are_dropped_and_the_mode_is_restored() -> None:
    def reports(scripted: Scripted) -> None:
        os.write(scripted.fd, b"\x1b[1;1R")
        os.write(scripted.fd, b"\x1b[50;150R")

    with terminal(reports) as (fd, _):
        before = modes(fd)
        discard_cursor_reports(2, 30, fd)
        assert modes(fd) == before
        assert not select.select([fd], [], [], 0)[0]
