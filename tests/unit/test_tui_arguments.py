"""A wrong command line of the interface is one safe line and exit code 2."""

from __future__ import annotations

import pytest

from tui.__main__ import arguments


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["--nosuch"], "unrecognized arguments: --nosuch"),
        (["a", "--b\x1b[31m\nc"], "unrecognized arguments: --b\ufffd[31m c"),
        (["--graphics=\x1b[2J"], "invalid choice"),
        (["--root="], "must not be empty"),
        (["--data", " "], "must not be empty"),
        (["--demo", "--data=faces"], "not allowed with argument --demo"),
    ],
)
def test_a_wrong_command_line_is_one_safe_line(
    given: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments(given)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("facegender-tui: ")
    assert problem in line
    assert line.isprintable()
