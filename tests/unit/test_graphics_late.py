"""A late answer of the terminal, as Textual hands it on, beside keys that a person presses."""

from __future__ import annotations

import pytest

from tui.graphics.late import TOGETHER_S, LateAnswer

NAME = "^P>|xterm(390)"
KITTY = "^_Gi=31;OK"
ATTRIBUTES = "^[?62;4;22c"


@pytest.mark.parametrize(
    "answer", [NAME, KITTY, ATTRIBUTES, NAME + KITTY + ATTRIBUTES], ids=["name", "kitty", "attributes", "all"]
)
def test_an_answer_is_swallowed_but_for_its_first_character(answer: str) -> None:
    late = LateAnswer()
    swallowed = [late.swallows(character, 5.0 + number / 1000) for number, character in enumerate(answer)]
    assert swallowed == [False, *[True] * (len(answer) - 1)]
    assert late.seen


def test_an_answer_whose_escape_was_lost_is_one_too() -> None:
    late = LateAnswer()
    assert all(late.swallows(character, 5.0 + number / 1000) for number, character in enumerate("[?62;4;22c"))
    assert not late.swallows("t", 6.0)


@pytest.mark.parametrize("keys", ["tPq", "^tP", "P_G"])
def test_keys_without_the_opening_are_keys(keys: str) -> None:
    late = LateAnswer()
    assert not any(late.swallows(key, 5.0) for key in keys)
    assert not late.seen


def test_what_is_pressed_after_an_answer_or_slowly_is_a_key() -> None:
    late = LateAnswer()
    for key in NAME:
        late.swallows(key, 5.0)
    assert not late.swallows("t", 5.0 + 2 * TOGETHER_S)
    late = LateAnswer()
    assert not late.swallows("^", 7.0)
    assert not late.swallows("P", 7.0 + 2 * TOGETHER_S)


def test_an_arrow_key_that_is_held_down_right_after_an_answer_is_a_key() -> None:
    late = LateAnswer()
    for key in NAME:
        late.swallows(key, 5.0)
    assert not any(late.swallows(None, 5.0 + number / 30) for number in range(60))


def test_a_letter_that_is_held_down_is_not_swallowed_for_ever() -> None:
    late = LateAnswer()
    for key in NAME:
        late.swallows(key, 5.0)
    assert not all(late.swallows("l", 5.0 + number / 30) for number in range(100))
