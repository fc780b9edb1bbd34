"""A late answer of the terminal, as Textual hands it on, beside keys that a person presses."""

from __future__ import annotations

import pytest

from tui.graphics.probe import MAX_GAP_S, LateReplyFilter

NAME = "^P>|xterm(390)"
KITTY = "^_Gi=31;OK"
ATTRIBUTES = "^[?62;4;22c"
BACKGROUND = "^]11;rgb:1616/1818/1d1d"


@pytest.mark.parametrize(
    "answer",
    [NAME, KITTY, ATTRIBUTES, BACKGROUND, NAME + KITTY + ATTRIBUTES],
    ids=["name", "kitty", "attributes", "background", "all"],
)
def test_a_reply_is_dropped_except_its_first_character(answer: str) -> None:
    late = LateReplyFilter()
    swallowed = [late.consumes(character, 5.0 + number / 1000) for number, character in enumerate(answer)]
    assert swallowed == [False, *[True] * (len(answer) - 1)]


def test_a_reply_without_its_escape_is_dropped_too() -> None:
    late = LateReplyFilter()
    assert all(late.consumes(character, 5.0 + number / 1000) for number, character in enumerate("[?62;4;22c"))
    assert not late.consumes("t", 6.0)


@pytest.mark.parametrize("keys", ["tPq", "^tP", "P_G"])
def test_keys_without_the_opening_are_keys(keys: str) -> None:
    late = LateReplyFilter()
    assert not any(late.consumes(key, 5.0) for key in keys)


def test_keys_after_a_reply_or_pressed_slowly_are_kept() -> None:
    late = LateReplyFilter()
    for key in NAME:
        late.consumes(key, 5.0)
    assert not late.consumes("t", 5.0 + 2 * MAX_GAP_S)
    late = LateReplyFilter()
    assert not late.consumes("^", 7.0)
    assert not late.consumes("P", 7.0 + 2 * MAX_GAP_S)


def test_an_arrow_key_held_down_after_a_reply_is_kept() -> None:
    late = LateReplyFilter()
    for key in NAME:
        late.consumes(key, 5.0)
    assert not any(late.consumes(None, 5.0 + number / 30) for number in range(60))


def test_a_letter_held_down_is_not_dropped_for_ever() -> None:
    late = LateReplyFilter()
    for key in NAME:
        late.consumes(key, 5.0)
    assert not all(late.consumes("l", 5.0 + number / 30) for number in range(100))
