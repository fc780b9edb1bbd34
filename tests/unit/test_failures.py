"""What goes wrong becomes one line with the remedy, and nothing comes between that line and its end."""

from __future__ import annotations

import errno
import os
import sys

import pytest

from facegender.support.errors import print_error
from facegender.training.failures import describe


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_file_that_finds_no_room_says_why_and_how_the_run_continues(code: int) -> None:
    line = describe(OSError(code, os.strerror(code)))
    assert os.strerror(code) in line
    assert line.endswith("make room, then --resume the run")


def test_an_error_is_written_with_its_newline_so_that_no_other_line_comes_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[str] = []

    class Terminal:
        def write(self, text: str) -> None:
            written.append(text)

        def flush(self) -> None:
            pass

    monkeypatch.setattr(sys, "stderr", Terminal())
    print_error("the disk is full")
    assert [text for text in written if text] == ["facegender: the disk is full\n"]
