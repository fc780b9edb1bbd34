"""A late answer of the terminal, as Textual hands it on, beside keys that a person presses."""

from __future__ import annotations

import pytest

from tui.graphics.late import TOGETHER_S, LateAnswer

NAME = ["circumflex_accent", "P", "greater_than_sign", "vertical_line", "x", "t", "e", "r", "m", "left_parenthesis"]
KITTY = ["circumflex_accent", "underscore", "G", "i", "equals_sign", "3", "1", "semicolon", "O", "K"]


@pytest.mark.parametrize("answer", [NAME, KITTY, NAME + KITTY], ids=["name", "kitty", "both"])
def test_an_answer_is_swallowed_but_for_its_first_character(answer: list[str]) -> None:
    late = LateAnswer()
    assert [late.swallows(key, 5.0 + number / 1000) for number, key in enumerate(answer)] == [
        False,
        *[True] * (len(answer) - 1),
    ]
    assert late.seen


@pytest.mark.parametrize("keys", [["t", "P", "q"], ["circumflex_accent", "t", "P"], ["P", "underscore", "G"]])
def test_keys_without_the_opening_are_keys(keys: list[str]) -> None:
    late = LateAnswer()
    assert not any(late.swallows(key, 5.0) for key in keys)
    assert not late.seen


def test_what_is_pressed_after_an_answer_or_slowly_is_a_key() -> None:
    late = LateAnswer()
    for key in NAME:
        late.swallows(key, 5.0)
    assert not late.swallows("t", 5.0 + 2 * TOGETHER_S)
    assert not LateAnswer().swallows("circumflex_accent", 6.0)
    late = LateAnswer()
    assert not late.swallows("circumflex_accent", 7.0)
    assert not late.swallows("P", 7.0 + 2 * TOGETHER_S)
