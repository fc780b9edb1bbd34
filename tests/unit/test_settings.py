"""The settings file: what it sets, and what is said of its mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui.__main__ import main
from tui.graphics.terminal import PROTOCOL_NAMES
from tui.settings import FIELDS, Settings, SettingsError, load_settings, settings_path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def test_a_missing_file_has_the_defaults(path: Path) -> None:
    assert load_settings(path) == load_settings(path / "below-a-file") == Settings()


def test_a_file_sets_what_it_names(path: Path) -> None:
    path.write_text('theme = "nord"\r\nlevels = 64\r\n\r\n[keys]\r\nview = "v"\r\n')
    assert load_settings(path) == Settings(theme="nord", levels=64, keys={"view": "v"})


@pytest.mark.parametrize(
    ("text", "problems", "kept"),
    [
        (
            'levels = 500\n\n# a comment\nthemes = "nord"\nbell = false\n[keys]\nview = 3\n',
            (
                "line 1: levels must be between 2 and 128, not 500",
                "line 4: unknown setting 'themes'; did you mean 'theme'?",
                "line 6: keys must be a table of names and texts",
            ),
            Settings(bell=False),
        ),
        ("smoothing = 1.0", ("line 1: smoothing must be 0 or between 0.1 and 0.999, not 1",), Settings()),
        (
            "x_axis = [\n1,\n]\nlevels = 'x'",
            ("line 1: x_axis must be one of epochs, steps, minutes", "line 4: levels must be a whole number"),
            Settings(),
        ),
        ('bell = true\ntheme = "nord\n', ("line 2: not TOML at column 14: Illegal character '\\n'",), Settings()),
        ("bell =", ("line 1: not TOML at the end: Invalid value",), Settings()),
    ],
)
def test_all_mistakes_are_named_with_their_lines(
    path: Path, text: str, problems: tuple[str, ...], kept: Settings
) -> None:
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert caught.value.problems == problems
    assert caught.value.settings == kept
    assert str(caught.value) == f"{path}, {'; '.join(problems)}"


def test_no_file_can_break_the_program_or_write_to_the_terminal(path: Path) -> None:
    for data in (b"\xff", b"x = " + b"[" * 5000, b"a" * 100_000, b'"\\u001b[31m" = 1'):
        path.write_bytes(data)
        with pytest.raises(SettingsError) as caught:
            load_settings(path)
        assert str(caught.value).isprintable()
    path.unlink()
    path.mkdir()
    with pytest.raises(SettingsError, match="is no regular file"):
        load_settings(path)


def test_the_path_is_that_of_the_config_folder(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/some/where")
    monkeypatch.setattr("sys.argv", ["facegender-tui", "--config-path"])
    main()
    assert capfdbinary.readouterr() == (b"/some/where/facegender-tui/settings.toml\n", b"")
    monkeypatch.setenv("XDG_CONFIG_HOME", "not/absolute")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert settings_path() == Path("/home/somebody/.config/facegender-tui/settings.toml")


def test_the_protocols_are_those_of_the_terminal() -> None:
    assert FIELDS["graphics"].choices == PROTOCOL_NAMES
