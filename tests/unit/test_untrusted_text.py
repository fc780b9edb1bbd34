"""Nothing that a journal, a manifest or a frame says can control the terminal, whichever field says it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import recorded
from piloting import running, screen_text, until

from facegender.runs.config import TrainConfig
from facegender.runs.details import read_details
from facegender.runs.events import AnyEvent, Event, decode, encode
from facegender.runs.folder import Skipped
from facegender.runs.frames import write_frame
from facegender.runs.lock import Process
from facegender.runs.summary import summarise
from facegender.support.text import printable_strings
from tui.graphics.geometry import Area
from tui.graphics.terminal import Terminal
from tui.inspect.compose import compose
from tui.inspect.modes import MODES
from tui.inspect.request import LayerRequest
from tui.inspect.selection import Selection

HOSTILE = {
    "clipboard (OSC 52)": "\x1b]52;c;cHduZWQ=\x1b\\",
    "window title": "\x1b]2;title\x07",
    "device control string": "\x1bPq#0;2;0;0;0#0~~\x1b\\",
    "C1": "\x9b2J\x90\x9d",
    "right to left": "\u202egnp.exe",
    "line separators": "a\u2028b\u2029c\x85d\ne\rf",
    "delete": "\x7f\x7f",
}
TEXTS = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())


def strings_in(value: Any) -> Iterator[str]:
    """Every string in a tree of structs, dataclasses, lists and dictionaries."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from strings_in(getattr(value, name))
    elif isinstance(value, dict):
        for item in [*value.keys(), *value.values()]:
            yield from strings_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings_in(item)


def with_each_string_replaced(value: Any, text: str) -> Iterator[Any]:
    """The trees that have ``text`` in the place of one string, or one key, of a tree of plain types."""
    if isinstance(value, str):
        yield text
    elif isinstance(value, list):
        for index, item in enumerate(value):
            for changed in with_each_string_replaced(item, text):
                yield [*value[:index], changed, *value[index + 1 :]]
    elif isinstance(value, dict):
        for key, item in value.items():
            others = {name: other for name, other in value.items() if name != key}
            yield {**others, text: item}
            for changed in with_each_string_replaced(item, text):
                yield {**others, key: changed}


@TEXTS
@pytest.mark.parametrize("event", recorded.one_of_each(), ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("ascii_only", [True, False], ids=["escaped", "raw UTF-8"])
def test_no_string_of_an_event_can_control_the_terminal(event: Event, text: str, ascii_only: bool) -> None:
    raw = json.loads(encode(event))
    decoded: list[AnyEvent] = []
    for changed in with_each_string_replaced(raw, text):
        # A field that allows some words only, or that is missing now, makes the line unreadable, which is as safe.
        if (arrived := decode(json.dumps(changed, ensure_ascii=ascii_only).encode())) is not None:
            decoded.append(arrived)
    assert all(string.isprintable() for arrived in decoded for string in strings_in(arrived))
    free = [string for string in strings_in(event) if string not in ("warning", "failed")]
    assert len(decoded) >= len(free)


def test_harmless_text_of_an_event_stays_as_it_is() -> None:
    for text in ("Zoë \U0001f469\u200d\U0001f52c", "C:\\faces", 'a "b" c', "[red]x[/]"):
        event = recorded.epoch_finished(0, classes=[text, "male"])
        assert decode(encode(event)) == event


@TEXTS
def test_no_string_of_a_manifest_s_summary_can_control_the_terminal(root: Path, text: str) -> None:
    folder = recorded.write_run(root, data=f"/data/{text}")
    assert text in summarise(folder).data
    assert all(string.isprintable() for string in strings_in(printable_strings(summarise(folder))))


@TEXTS
def test_no_string_of_the_run_page_can_control_the_terminal(root: Path, text: str) -> None:
    folder = recorded.write_run(
        root,
        data=f"/data/{text}",
        config=TrainConfig(data=f"/data/{text}"),
        program=text,
        process=Process(pid=1, host=text),
        skipped=[Skipped(f"female/{text}.jpg", text)],
    )
    recorded.append(folder, *recorded.one_of_each())
    shown = [line for section in read_details(folder).sections for line in section.lines]
    assert all(part.isprintable() for line in shown for part in (line.label, line.text, line.copied))


@TEXTS
def test_no_string_of_a_composed_frame_can_control_the_terminal(tmp_path: Path, text: str) -> None:
    frame = recorded.frame(0, names=[text, text])
    layers = [msgspec.structs.replace(layer, name=layer.name + text) for layer in frame.layers]
    path = tmp_path / "epoch_0.safetensors"
    write_frame(path, msgspec.structs.replace(frame, classes=[text, "male"], layers=layers))
    for mode in MODES:
        picture = compose(LayerRequest(path, Selection(0, mode=mode), Area(96, 36), Terminal(), reference=path))
        assert picture.layers[0].startswith("conv1")
        assert all(
            string.isprintable() for name in picture.__struct_fields__ for string in strings_in(getattr(picture, name))
        )


@TEXTS
async def test_no_pane_shows_what_could_control_the_terminal(root: Path, text: str) -> None:
    config = TrainConfig(data=f"/data/{text}")
    folder = recorded.write_run(root, end="completed", data=f"/data/{text}", config=config)
    lines = [json.loads(line) for line in folder.journal_path.read_bytes().splitlines()]
    for line in lines:
        if "classes" in line:
            line["classes"] = [f"fe{text}", f"[red]m{text}[/]"]
        if "device_name" in line:
            line["device_name"] = f"gpu{text}"
    folder.journal_path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    async with running(root) as (app, pilot):
        await until(lambda: "[red]m" in screen_text(app))
        assert screen_text(app).replace("\n", "").isprintable()
        await pilot.press("r")
        await until(lambda: "/data/" in screen_text(app))
        assert screen_text(app).replace("\n", "").isprintable()
        await pilot.press("t")
        await until(lambda: "accelerator" in screen_text(app))
        assert screen_text(app).replace("\n", "").isprintable()
