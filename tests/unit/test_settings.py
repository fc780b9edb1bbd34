"""The settings file: what it sets, and what is said of its mistakes."""

from __future__ import annotations

import json
import re
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from facegender.support.errors import UserError
from tui.__main__ import main
from tui.graphics.terminal import PROTOCOL_NAMES
from tui.settings import FIELDS, MAX_PROBLEMS, Settings, SettingsError, load_settings, settings_path
from tui.settings_edit import make_settings, save_setting, template


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
    for data in (
        b"\xff", b"x = " + b"[" * 5000, b"a" * 100_000, b'"\\u001b[31m" = 1', b"a" + b".a" * 30_000 + b" = 1",
        b"".join(b'k%d = "x"\n' % number for number in range(3000)),
    ):  # fmt: skip
        path.write_bytes(data)
        with pytest.raises(SettingsError) as caught:
            load_settings(path)
        assert str(caught.value).isprintable()
        assert len(caught.value.problems) <= MAX_PROBLEMS + 1
    path.unlink()
    path.mkdir()
    with pytest.raises(SettingsError, match="is no regular file"):
        load_settings(path)


@pytest.mark.parametrize("text", ["keys = [\n" + "1,\n" * 20_000 + "]\n", 'root = """\n' + "a\n" * 30_000 + '"""\n'])
def test_a_value_of_very_many_lines_is_refused_at_once(path: Path, text: str) -> None:
    path.write_text("\n" + text)
    with pytest.raises(SettingsError, match="line 2: a value of more than 100 lines"):
        load_settings(path)
    with pytest.raises(UserError, match="line 2: a value of more than 100 lines"):
        save_setting(path, "levels", 64)
    assert path.read_text() == "\n" + text


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


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("levels = 3", 'levels = 3\ntheme = "a\\"#b"'),
        ('# mine\ntheme = "x#y"   # why # so\nbell = false\n', '# mine\ntheme = "a\\"#b"   # why # so\nbell = false\n'),
        ('bell = false\r\ntheme = """\r\nx""" # why\r\n', 'bell = false\r\ntheme = "a\\"#b" # why\r\n'),
        ("bell = false\r\n", 'bell = false\r\ntheme = "a\\"#b"\r\n'),
        (
            'bell = false\n\n# keys\n[keys]\ntheme = "t"\n',
            'bell = false\ntheme = "a\\"#b"\n\n# keys\n[keys]\ntheme = "t"\n',
        ),
        ('# keys\n[keys]\ntheme = "t"\n', 'theme = "a\\"#b"\n\n# keys\n[keys]\ntheme = "t"\n'),
        ('# the default:\n# theme = "auto"\nbell = true\n', '# the default:\ntheme = "a\\"#b"\nbell = true\n'),
        ('# theme = "nord" at night\n', '# theme = "nord" at night\ntheme = "a\\"#b"\n'),
        ("# nothing yet\n\n", '# nothing yet\ntheme = "a\\"#b"\n\n'),
        ("levels = 5000 # too many\n", 'levels = 5000 # too many\ntheme = "a\\"#b"\n'),
    ],
)
def test_saving_a_setting_changes_its_line_and_nothing_else(path: Path, before: str, after: str) -> None:
    path.write_bytes(before.encode())
    save_setting(path, "theme", 'a"#b')
    assert path.read_bytes() == after.encode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bell", False),
        ("levels", 64),
        ("smoothing", 0.97),
        ("on_end", "echo \x7f\t\\ “😀” 'it'"),
        ("x_axis", "steps"),
    ],
)
def test_what_is_saved_is_read_again(path: Path, name: str, value: object) -> None:
    save_setting(path, name, value)
    assert load_settings(path) == structs.replace(Settings(), **{name: value})
    save_setting(path, name, FIELDS[name].default)
    assert load_settings(path) == Settings()


def test_a_new_file_says_what_can_be_set_and_is_for_the_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "config" / "facegender-tui" / "settings.toml"
    save_setting(path, "levels", 64)
    assert path.read_text() == template().replace("# levels = 32", "levels = 64")
    assert all(field.help in path.read_text() for field in FIELDS.values())
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    make_settings(path)
    assert load_settings(path).levels == 64


def test_the_comments_of_a_new_file_are_the_defaults() -> None:
    assignments = [line[2:] for line in template().splitlines() if re.match(r"# (\w+ =|\[)", line)]
    assert msgspec.convert(tomllib.loads("\n".join(assignments)), Settings) == Settings()
    assert len(assignments) == len(FIELDS)


def test_a_linked_file_stays_a_link(tmp_path: Path, path: Path) -> None:
    kept = tmp_path / "dotfiles.toml"
    kept.write_text("bell = false\n")
    path.symlink_to(kept)
    save_setting(path, "levels", 64)
    assert path.is_symlink()
    assert kept.read_text() == "bell = false\nlevels = 64\n"


def test_programs_that_save_at_once_lose_nothing(path: Path) -> None:
    expected = {"bell": False, "levels": 64, "smoothing": 0.5, "x_axis": "steps", "keys.view": "V", "keys.runs": "f5"}
    for _ in range(3):
        with ThreadPoolExecutor(len(expected)) as threads:
            list(threads.map(lambda item: save_setting(path, *item), expected.items()))
        keys = {"view": "V", "runs": "f5"}
        assert load_settings(path) == Settings(bell=False, levels=64, smoothing=0.5, x_axis="steps", keys=keys)
        path.unlink()


def test_what_cannot_be_saved_is_said_and_changes_nothing(tmp_path: Path, path: Path) -> None:
    path.write_text("theme = \n")
    with pytest.raises(UserError, match="line 1: not TOML"):
        save_setting(path, "levels", 64)
    assert path.read_text() == "theme = \n"
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        save_setting(tmp_path / "file" / "settings.toml", "levels", 64)


def test_the_documentation_lists_every_setting() -> None:
    rows = [
        f"| `{field.name}` | `{json.dumps(field.default)}` | {field.hint or field.expected} | {field.help} |"
        for field in FIELDS.values()
    ]
    table = "\n".join(["| setting | default | values | what it does |", "|---|---|---|---|", *rows])
    assert table in (Path(__file__).parents[2] / "docs" / "settings.md").read_text(), f"the table should be:\n{table}"


@pytest.mark.parametrize(
    ("before", "keys", "after"),
    [
        ("bell = false\n", "V", 'bell = false\n\n[keys]\nview = "V"\n'),
        ("[keys]\nruns = 'r' # R\n\n", "V", "[keys]\nruns = 'r' # R\nview = \"V\"\n\n"),
        ("[keys]\nview = 'v' # V\nruns = 'r'", "V", "[keys]\nview = \"V\" # V\nruns = 'r'"),
        ("[keys]\r\n# mine\r\nview = 'v'\r\nruns = 'r'\r\n", None, "[keys]\r\n# mine\r\nruns = 'r'\r\n"),
        ("bell = false\n", None, "bell = false\n"),
    ],
)
def test_saving_the_keys_of_a_command_changes_their_line(path: Path, before: str, keys: str | None, after: str) -> None:
    path.write_bytes(before.encode())
    save_setting(path, "keys.view", keys)
    assert path.read_bytes() == after.encode()


def test_a_new_file_has_its_first_key_where_the_comment_was(path: Path) -> None:
    save_setting(path, "keys.view", "V")
    assert path.read_text() == template().replace("# [keys]", '[keys]\nview = "V"')
    save_setting(path, "keys.view", None)
    assert load_settings(path) == Settings()


@pytest.mark.parametrize("text", ["keys = { view = 'v', runs = 'r' }\n", "keys.view = 'v'\n", "keys = 3\n"])
def test_a_table_that_is_written_otherwise_is_left_to_an_editor(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(UserError, match=r"line of keys\.view cannot be changed here"):
        save_setting(path, "keys.view", "V")
    assert path.read_text() == text
