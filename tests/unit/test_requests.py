"""Requests to a trainer are files that are taken once, in order, whatever lies beside them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import recorded
from msgspec.structs import replace

from facegender.runs.folder import RunFolder
from facegender.runs.requests import (
    CheckpointRequest,
    FrameRequest,
    SetRequest,
    StopRequest,
    send_request,
    take_requests,
)
from facegender.support.errors import UserError


def test_requests_are_taken_once_and_in_the_order_in_which_they_were_sent(tmp_path: Path) -> None:
    folder = recorded.write_run(tmp_path)
    assert take_requests(folder) == []
    sent = [FrameRequest(), SetRequest(learning_rate=1e-4, epochs=20), CheckpointRequest(), StopRequest()]
    ids = [send_request(folder, request) for request in sent]
    assert len(set(ids)) == len(sent)
    assert take_requests(folder) == [replace(request, id=id) for request, id in zip(sent, ids, strict=True)]
    assert take_requests(folder) == []


def test_a_request_written_by_hand_needs_no_id(tmp_path: Path) -> None:
    folder = recorded.write_run(tmp_path)
    folder.requests_path.mkdir()
    (folder.requests_path / "1.json").write_text('{"type":"set","learning_rate":1e-4}')
    assert take_requests(folder) == [SetRequest(learning_rate=1e-4)]


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (SetRequest(), "set needs learning_rate or epochs"),
        (SetRequest(learning_rate=0.0), "learning rate must be above 0 and at most 10, not 0"),
        (SetRequest(learning_rate=float("nan")), "learning rate must be above 0 and at most 10, not nan"),
        (SetRequest(learning_rate=1e-320), "learning rate must be at least 1e-12, not 9.99989e-321"),
        (SetRequest(epochs=0), "epochs must be between 1 and 100000, not 0"),
    ],
)
def test_values_out_of_bounds_are_not_sent(tmp_path: Path, request_: SetRequest, why: str) -> None:
    folder = recorded.write_run(tmp_path)
    with pytest.raises(UserError, match=f"run otter-3: {why}$"):
        send_request(folder, request_)
    assert take_requests(folder) == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", ""),
        (b"[]", " (Expected `object`, got `array`)"),
        (b'{"type":"dance"}', " (Invalid value 'dance' - at `$.type`)"),
        (b'{"type":"set","momentum":0.9}', " (Object contains unknown field `momentum`)"),
        (b'{"type":"set","epochs":true}', " (Expected `int | null`, got `bool` - at `$.epochs`)"),
        (b'{"type":"frame"', ""),
        (b"\xff", ""),
        (b'{"type":"frame","id":"' + b"x" * 1_000_000 + b'"}', ""),
        (b"[" * 100_000, " (Expected `object`, got `array`)"),
    ],
)
def test_a_request_that_cannot_be_read_is_taken_and_named(tmp_path: Path, content: bytes, why: str) -> None:
    folder = recorded.write_run(tmp_path)
    folder.requests_path.mkdir()
    (folder.requests_path / "1-a.json").write_bytes(content)
    assert take_requests(folder) == [f"1-a.json is no request that this version knows{why}"]
    assert take_requests(folder) == []


@pytest.mark.parametrize(
    "content",
    [
        '{"type":"set","epochs":' + "9" * 500 + "}",
        '{"type":"' + "a" * 500 + '"}',
        f'{{"type":"frame","id":"{"a" * 500}"}}',
    ],
    ids=["number", "type", "id"],
)
def test_the_answer_to_a_request_with_a_long_value_is_short(tmp_path: Path, content: str) -> None:
    folder = recorded.write_run(tmp_path)
    folder.requests_path.mkdir()
    (folder.requests_path / "1-a.json").write_text(content)
    (why,) = take_requests(folder)
    assert isinstance(why, str)
    assert len(why) < 160


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


def test_links_lead_neither_to_files_nor_to_folders_outside_the_run(tmp_path: Path) -> None:
    folder = recorded.write_run(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "1.json").write_text('{"type":"frame"}')
    folder.requests_path.symlink_to(outside)
    assert take_requests(folder) == []
    with pytest.raises(UserError, match="requests is a symbolic link: remove it"):
        send_request(folder, FrameRequest())
    assert [path.name for path in outside.iterdir()] == ["1.json"]
    folder.requests_path.unlink()
    folder.requests_path.mkdir()
    (folder.requests_path / "1.json").symlink_to(outside / "1.json")
    assert take_requests(folder) == []


def test_a_request_to_a_run_that_is_gone_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run otter: cannot write the request"):
        send_request(RunFolder(tmp_path, "otter"), FrameRequest())
