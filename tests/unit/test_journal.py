"""The journal: one writer that may be killed at any byte, readers that never see half an event or one twice."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from pathlib import Path

import pytest
import recorded
from recorded import read_all

from facegender.runs.events import EpochFinished, Event, Heartbeat, Notice, RunFinished, RunStarted, encode
from facegender.runs.journal import JournalReader, JournalWriter, read_kinds, read_tail

BEATS = [Heartbeat(time=float(number)) for number in range(5)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def write(path: Path, *events: Event) -> None:
    with closing(JournalWriter(path)) as journal:
        journal.write(*events)


def test_every_event_comes_out_in_the_order_it_went_in(path: Path) -> None:
    write(path, *recorded.one_of_each())
    assert read_all(path) == recorded.one_of_each()


def test_a_reader_gets_only_what_is_new(path: Path) -> None:
    reader = JournalReader(path)
    write(path, *BEATS[:2])
    assert reader.read() == BEATS[:2]
    assert reader.read() == []
    write(path, *BEATS[2:])
    assert reader.read() == BEATS[2:]
    assert not reader.restarted


def test_a_missing_journal_reads_as_empty_until_it_is_there(path: Path) -> None:
    reader = JournalReader(path)
    assert reader.read() == []
    assert reader.caught_up
    assert read_all(path) == []
    assert list(read_tail(path)) == []
    write(path, BEATS[0])
    assert reader.read() == [BEATS[0]]
    assert not reader.restarted


@pytest.mark.timeout(20)
def test_a_journal_that_cannot_be_opened_reads_as_empty(path: Path) -> None:
    path.mkdir()
    reader = JournalReader(path)
    assert reader.read() == []
    assert reader.caught_up
    assert read_all(path) == []
    assert list(read_tail(path)) == []


def test_a_torn_last_line_waits_for_its_end_at_whatever_byte_it_is_torn(path: Path) -> None:
    line = encode(Notice(time=1.0, level="info", text="Zoë ✓"))
    for cut in range(1, len(line)):
        path.write_bytes(encode(BEATS[0]) + line[:cut])
        reader = JournalReader(path)
        assert reader.read() == [BEATS[0]]
        assert reader.read() == []
        with path.open("ab") as file:
            file.write(line[cut:])
        assert reader.read() == [Notice(time=1.0, level="info", text="Zoë ✓")]


def test_the_torn_line_of_a_killed_writer_is_closed_and_skipped(path: Path) -> None:
    path.write_bytes(encode(BEATS[0]) + encode(BEATS[1])[:-7])
    reader = JournalReader(path)
    assert reader.read() == [BEATS[0]]
    write(path, BEATS[2])
    assert reader.read() == [BEATS[2]]
    assert read_all(path) == [BEATS[0], BEATS[2]]
    assert path.read_bytes().count(b"\n") == 3


def test_a_whole_last_line_is_not_closed_again(path: Path) -> None:
    write(path, BEATS[0])
    write(path, BEATS[1])
    assert path.read_bytes() == encode(BEATS[0]) + encode(BEATS[1])


def test_unknown_tags_and_garbage_are_skipped_and_what_follows_is_not(path: Path) -> None:
    write(path, BEATS[0])
    with path.open("ab") as file:
        file.write(b'{"type":"dream","time":1.0,"v":7}\n\x00\xff\xfe garbage\n\n[]\n')
    write(path, BEATS[1])
    assert read_all(path) == BEATS[:2]
    assert list(read_tail(path)) == BEATS[1::-1]


def test_the_file_stays_strict_json_with_metrics_that_are_not_finite(path: Path) -> None:
    event = recorded.steps(0, loss=[float("nan"), float("inf"), float("-inf"), 1.0, 2.0])
    write(path, event)

    def refuse(text: str) -> float:
        raise AssertionError(f"{text} is no JSON")

    for line in path.read_bytes().splitlines():
        json.loads(line, parse_constant=refuse)
    (arrived,) = read_all(path)
    assert list(map(str, arrived.loss)) == ["nan", "inf", "-inf", "1.0", "2.0"]


def test_a_replaced_journal_is_read_from_its_start_and_says_so(path: Path) -> None:
    reader = JournalReader(path)
    write(path, *BEATS[:2])
    reader.read()
    other = path.with_name("other")
    write(other, *BEATS[2:])
    other.replace(path)
    assert reader.read() == BEATS[2:]
    assert reader.restarted
    assert reader.read() == []
    assert not reader.restarted


def test_a_truncated_journal_is_read_from_its_start_and_says_so(path: Path) -> None:
    reader = JournalReader(path)
    write(path, *BEATS)
    reader.read()
    path.write_bytes(encode(BEATS[3]))
    assert reader.read() == [BEATS[3]]
    assert reader.restarted


def test_half_a_line_of_the_old_journal_does_not_spoil_the_new_one(path: Path) -> None:
    path.write_bytes(encode(BEATS[0]) + encode(BEATS[1])[:-5])
    reader = JournalReader(path)
    reader.read()
    path.write_bytes(encode(BEATS[2]))
    assert reader.read() == [BEATS[2]]


def test_a_journal_that_was_away_for_a_while_is_read_from_its_start(path: Path) -> None:
    reader = JournalReader(path)
    write(path, BEATS[0])
    reader.read()
    path.unlink()
    assert reader.read() == []
    # The new file may have been given the old one's inode, and is longer.
    write(path, *BEATS[1:])
    assert reader.read() == BEATS[1:]
    assert reader.restarted


def test_a_large_journal_read_in_chunks_gives_every_event_exactly_once(path: Path) -> None:
    events = [Notice(time=float(n), level="info", text="x" * (n * 37 % 900)) for n in range(3000)]
    write(path, *events)
    for limit in (1000, 4096, 65_537):
        reader = JournalReader(path)
        got = []
        while not reader.caught_up:
            got += reader.read(limit)
        assert got == events


def test_a_line_longer_than_a_chunk_arrives_whole(path: Path) -> None:
    event = Notice(time=1.0, level="info", text="y" * 10_000)
    write(path, event)
    reader = JournalReader(path)
    got = []
    while not reader.caught_up:
        got += reader.read(100)
    assert got == [event]


def test_a_reader_beside_a_busy_writer_gets_every_event_exactly_once(path: Path) -> None:
    events = [Notice(time=float(n), level="info", text="z" * (n % 700)) for n in range(2000)]

    def write_all() -> None:
        with closing(JournalWriter(path)) as journal:
            for event in events:
                journal.write(event)

    writer = threading.Thread(target=write_all)
    reader = JournalReader(path)
    got = []
    writer.start()
    while writer.is_alive() or not reader.caught_up:
        got += reader.read(8192)
    writer.join()
    got += reader.read()
    assert got == events


def test_the_tail_is_enough_to_tell_how_a_long_journal_ended(path: Path) -> None:
    write(path, *[Heartbeat(time=float(n)) for n in range(5000)], RunFinished(time=9.0, status="completed"))
    tail = list(read_tail(path, 300))[::-1]
    assert tail[-1] == RunFinished(time=9.0, status="completed")
    assert 1 < len(tail) < 10


def test_writing_nothing_writes_nothing(path: Path) -> None:
    write(path)
    assert path.read_bytes() == b""


def test_a_written_event_is_visible_before_the_journal_is_closed(path: Path) -> None:
    with closing(JournalWriter(path)) as journal:
        journal.write(BEATS[0])
        assert read_all(path) == [BEATS[0]]


def test_a_line_that_is_longer_than_what_is_read_at_once_arrives_whole(path: Path) -> None:
    write(path, Notice(time=1.0, level="info", text="x" * 100_000), BEATS[0])
    reader = JournalReader(path)
    arrived = []
    while not reader.caught_up:
        arrived += reader.read(1 << 10)
    assert arrived == [Notice(time=1.0, level="info", text="x" * 100_000), BEATS[0]]


def test_events_of_some_types_are_read_in_order_at_whatever_byte_the_file_is_cut_into_chunks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [recorded.run_started(), recorded.epoch_finished(0), recorded.epoch_finished(1)]
    noise = Notice(time=1.0, level="info", text='"epoch_finished" and "run_started"')
    write(path, BEATS[0], wanted[0], noise, *wanted[1:], BEATS[1])
    with path.open("ab") as file:
        file.write(b'{"type":"epoch_finished", torn')
    for size in (1, 7, 100, 1000, 1 << 20):
        monkeypatch.setattr("facegender.runs.journal.CHUNK_BYTES", size)
        assert list(read_kinds(path, RunStarted, EpochFinished)) == wanted
    assert list(read_kinds(path, Notice)) == [noise]
    assert list(read_kinds(path.with_name("none"), Notice)) == []
