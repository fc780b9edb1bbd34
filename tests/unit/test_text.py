"""Text from outside cannot control the terminal."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import unicodedata
from pathlib import Path

import msgspec
import pytest

from facegender.support.text import (
    figure,
    json_line,
    measured,
    one_line,
    percent,
    printable,
    shell_command,
    significant,
    thousands,
)


@pytest.mark.parametrize("text", ["", "plain", "Zoë Ångström", "日本語", "👩\u200d🔬", "a [red]markup[/] b", "e\u0301"])
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    "character",
    [
        "\x00", "\x07", "\x08", "\t", "\n", "\r", "\x1b", "\x7f", "\x85", "\x9b",
        "\u200b", "\u200e", "\u202e", "\u2028", "\u2029", "\u2066", "\ufeff", "\udc80", "\ue000", "\U0010eeee",
    ],
    ids=lambda character: f"{ord(character):#x}",
)  # fmt: skip
def test_a_character_that_could_control_a_terminal_is_replaced(character: str) -> None:
    assert printable(f"a{character}b") == "a\ufffdb"


def test_nothing_that_is_left_is_a_control_of_any_kind() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    left = set(printable(everything)) - {"\u200d"}
    assert not {character for character in left if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")}


def test_what_is_printable_can_be_encoded() -> None:
    undecodable = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    assert printable(undecodable).encode() == "caf\ufffd.jpg".encode()


def test_one_line_has_no_breaks_and_single_spaces() -> None:
    assert one_line("  first\n\n\tsecond \r third\x1b[2J ") == "first second third\ufffd[2J"


def test_a_json_line_is_printable_ascii_and_reads_back_as_the_same_value() -> None:
    everything = "".join(map(chr, range(0x3000))) + "\udce9\U0010eeee"
    line = json_line({"name": everything, "values": [1, 0.5, True, None]})
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {"name": everything, "values": [1, 0.5, True, None]}


def test_a_json_line_of_a_struct_has_null_in_the_place_of_numbers_that_are_not_finite() -> None:
    class Row(msgspec.Struct):
        name: str
        losses: list[float]

    assert json_line(Row("a", [0.5, math.nan, math.inf])) == '{"name": "a", "losses": [0.5, null, null]}'


def test_a_command_to_paste_names_its_root_unless_that_is_the_current_folder() -> None:
    assert shell_command(Path(), "train", "--resume", "a") == "facegender train --resume a"
    assert shell_command(Path("/my runs"), "train") == "facegender train '--root=/my runs'"


@pytest.mark.parametrize("name", ["it's\x1b[2J", "a\u202eb\\n", "caf\udce9", "\x9b\n\t"])
def test_a_command_to_paste_means_the_same_path_and_does_not_control_the_terminal(name: str) -> None:
    command = shell_command(Path(name), "train")
    assert command.isprintable()
    script = f"facegender() {{ printf '%s\\n' \"$@\"; }}; {command}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    assert done.stdout == b"train\n--root=" + name.encode("utf-8", "surrogateescape") + b"\n"


@pytest.mark.parametrize(
    ("written", "as_text"),
    [
        (figure(0.40149), "0.401"),
        (figure(math.nan), "NaN"),
        (figure(-math.inf), "-∞"),
        (measured(None), "-"),
        (measured(math.nan), "-"),
        (measured(1.0), "1.000"),
        (significant(0.001), "0.001"),
        (significant(0.00012345), "0.000123"),
        (significant(12345.6), "12346"),
        (percent(0.87344), "87.34%"),
        (percent(1, 0), "100%"),
        (thousands(33_685_506), "33 685 506"),
        (thousands(1.25), "1.2"),
        (thousands(math.nan), "-"),
    ],
)
def test_numbers_are_written_in_one_way(written: str, as_text: str) -> None:
    assert written == as_text
