"""Requests to a trainer are files that are taken once, in order, whatever lies beside them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import recorded

from facegender.runs.folder import RunFolder
from facegender.runs.requests import FrameRequest, StopRequest, send_request, take_requests
from facegender.support.errors import UserError


def test_requests_are_taken_once_and_in_the_order_in_which_they_were_sent(tmp_path: Path) -> None:
    folder = recorded.write_run(tmp_path)
    assert take_requests(folder) == []
    send_request(folder, FrameRequest())
    send_request(folder, StopRequest())
    assert take_requests(folder) == [FrameRequest(), StopRequest()]
    assert take_requests(folder) == []


@pytest.mark.parametrize("content", [b"", b"[]", b'{"type":"dance"}', b'{"type":"frame"', b"\xff", b"[" * 100_000])
def test_a_request_that_cannot_be_read_is_taken_and_named(tmp_path: Path, content: bytes) -> None:
    folder = recorded.write_run(tmp_path)
    folder.requests_path.mkdir()
    (folder.requests_path / "1-a.json").write_bytes(content)
    assert take_requests(folder) == ["1-a.json is no request that this version knows"]
    assert take_requests(folder) == []


def test_the_name_of_a_request_that_cannot_be_read_is_safe_to_print_and_to_store(tmp_path: Path) -> None:
    folder = recorded.write_run(tmp_path)
    folder.requests_path.mkdir()
    (folder.requests_path / os.fsdecode(b"1-\xff\x1b.json")).write_bytes(b"")
    assert take_requests(folder) == ["1-\ufffd\ufffd.json is no request that this version knows"]


def test_what_is_no_file_and_what_is_half_written_is_left_alone(tmp_path: Path) -> None:
    folder = recorded.write_run(tmp_path)
    (folder.requests_path / "1-a.json").mkdir(parents=True)
    (folder.requests_path / ".2-b.json.tmp").write_text("{")
    assert take_requests(folder) == []


def test_a_request_to_a_run_that_is_gone_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run otter: cannot write the request"):
        send_request(RunFolder(tmp_path, "otter"), FrameRequest())
