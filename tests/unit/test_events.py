"""Journal lines: what is written is what is read, whatever the numbers are."""

from __future__ import annotations

import json
import math

import pytest
import recorded

from facegender.runs.events import SCHEMA_VERSION, AnyEvent, Event, RunFinished, decode, decode_lines, encode


def no_constant(text: str) -> float:
    raise AssertionError(f"{text} is no JSON")


@pytest.mark.parametrize("event", recorded.one_of_each(), ids=lambda event: type(event).__name__)
def test_every_type_of_event_survives_a_round_trip(event: Event) -> None:
    assert decode(encode(event)) == event


def test_there_is_an_example_of_every_type() -> None:
    assert {type(event) for event in recorded.one_of_each()} == set(AnyEvent.__args__)


@pytest.mark.parametrize("event", recorded.one_of_each(), ids=lambda event: type(event).__name__)
def test_a_line_is_one_json_object_with_type_and_version(event: Event) -> None:
    line = encode(event)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    raw = json.loads(line)
    assert raw["type"] == type(event).__struct_config__.tag
    assert raw["v"] == SCHEMA_VERSION


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=str)
def test_a_metric_that_is_not_finite_arrives_as_such_in_strict_json(value: float) -> None:
    event = recorded.steps(0, loss=[0.5, value, 0.25, value, 1.0])
    line = encode(event)
    json.loads(line, parse_constant=no_constant)
    arrived = decode(line)
    assert isinstance(arrived, type(event))
    assert [str(loss) for loss in arrived.loss] == [str(loss) for loss in event.loss]
    assert all(isinstance(loss, float) for loss in arrived.loss)


def test_the_three_spellings_are_strings_that_any_reader_knows() -> None:
    raw = json.loads(encode(recorded.steps(0, loss=[math.nan, math.inf, -math.inf, 0.0, 1.0])))
    assert raw["loss"][:3] == ["NaN", "Infinity", "-Infinity"]


def test_a_single_metric_that_is_not_finite_arrives_as_such() -> None:
    arrived = decode(encode(recorded.epoch_finished(0, math.nan, validation_loss=math.inf, f1=[math.nan, -math.inf])))
    assert arrived is not None
    assert math.isnan(arrived.validation_accuracy)
    assert arrived.validation_loss == math.inf
    assert math.isnan(arrived.f1[0])
    assert arrived.f1[1] == -math.inf


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"garbage",
        b'{"type":"epoch_',
        b"[1, 2]",
        b"null",
        b'{"no":"type"}',
        b'{"type":"from_a_newer_version","time":1.0,"v":9}',
        b'{"type":"run_finished","time":1.0,"status":"exploded"}',
        b'{"type":"epoch_started","time":1.0,"epoch":"three","learning_rate":0.1}',
        b'{"type":"notice","time":1.0,"level":"info","text":"\xff\xfe"}',
        b"\x00\x00\x00",
    ],
)
def test_a_line_that_cannot_be_understood_is_none_and_no_exception(line: bytes) -> None:
    assert decode(line) is None


def test_a_field_that_a_newer_version_added_does_no_harm() -> None:
    assert decode(b'{"type":"run_finished","time":1.5,"v":1,"status":"stopped","mood":"fine"}') == RunFinished(
        time=1.5, status="stopped"
    )


def test_a_journal_from_before_patience_was_told_has_none() -> None:
    for event, field, key in (
        (recorded.run_started(patience=4), "patience", "patience"),
        (recorded.epoch_finished(2, epochs_since_best=3), "epochs_since_best", "waited"),
    ):
        raw = json.loads(encode(event))
        assert raw.pop(key)
        older = decode(json.dumps(raw).encode())
        assert isinstance(older, type(event))
        assert getattr(older, field) == 0


def test_line_breaks_and_controls_in_a_text_stay_within_the_line() -> None:
    event = RunFinished(time=1.0, status="failed", error="one\ntwo\x1b[31m")
    assert encode(event).count(b"\n") == 1
    assert decode(encode(event)) == RunFinished(time=1.0, status="failed", error="one two\ufffd[31m")


@pytest.mark.parametrize("time", ["1e308", "-1", '"NaN"', "1e12"])
def test_a_line_from_no_time_that_a_clock_shows_is_passed_over(time: str) -> None:
    assert decode(b'{"type":"heartbeat","time":1000.0}') is not None
    assert decode(b'{"type":"heartbeat","time":' + time.encode() + b"}") is None


def test_a_line_with_an_integer_that_no_float_holds_is_passed_over() -> None:
    good, huge = encode(recorded.steps(0)), json.loads(encode(recorded.steps(1)))
    huge["step"][-1] = 10**400
    assert decode_lines(json.dumps(huge).encode() + b"\n" + good) == [decode(good)]


def test_a_line_that_is_nested_without_end_is_passed_over() -> None:
    assert decode(b'{"type":"notice","a":' + b'{"a":' * 20_000) is None


@pytest.mark.parametrize(
    "unusual",
    [
        b"", b"\n", b"{\n", b'{"type":"nosuch","time":1}\n', b'{"type":"steps"\n', b'[1]\n', b"\xff\xfe\n",
        b'{"type":"notice","time":1,"level":"info",\n"text":"x"}\n', b'{"type":"heartbeat","time":-1}\n',
        b'{"type":"notice","time":1,"level":"info","text":"\\u001b[2J"}\n',
        '{"type":"notice","time":1,"level":"info","text":"é\x7f"}\n'.encode(), b"[" * 100_000 + b"\n",
        encode(recorded.epoch_finished(0, validation_loss=math.nan)),
    ],
    ids=range(13),
)  # fmt: skip
def test_lines_decoded_at_once_are_those_decoded_one_by_one(unusual: bytes) -> None:
    usual = b"".join(map(encode, recorded.one_of_each()))
    for data in (usual, unusual, usual + unusual + usual):
        one_by_one = [event for line in data.split(b"\n") if line and (event := decode(line)) is not None]
        assert list(map(repr, decode_lines(data))) == list(map(repr, one_by_one))
    assert len(decode_lines(usual)) == usual.count(b"\n")
