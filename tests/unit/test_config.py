"""The configuration of a run: its limits, and how each refusal is worded."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from facegender.runs.config import FIELDS, TrainConfig, check_run_name, parse, read_toml, validate
from facegender.support.errors import UserError


def test_the_defaults_are_the_reference_recipe() -> None:
    config = TrainConfig()
    assert config.recipe == "reference"
    assert (config.epochs, config.batch_size, config.image_size) == (10, 32, 512)
    assert (config.learning_rate, config.step_size, config.gamma) == (1e-3, 10, 0.1)
    assert (config.widths, config.val_split, config.visualize_every) == ((32, 64, 128), 0.2, 1)
    assert validate(config) is config


@pytest.mark.parametrize(
    ("field", "lowest", "highest"),
    [
        ("demo_faces", 10, 100_000),
        ("epochs", 1, 100_000),
        ("batch_size", 1, 65_536),
        ("step_size", 1, 100_000),
        ("image_size", 16, 4096),
        ("seed", 0, 2**32 - 1),
        ("patience", 0, 100_000),
        ("num_nodes", 1, 4096),
        ("workers", 0, 256),
        ("visualize_every", 0, 100_000),
        ("probes", 1, 64),
    ],
)
def test_whole_numbers_are_accepted_up_to_their_limits_and_no_further(field: str, lowest: int, highest: int) -> None:
    assert not FIELDS[field].check(lowest)
    assert not FIELDS[field].check(highest)
    for wrong in (lowest - 1, highest + 1):
        assert FIELDS[field].check(wrong) == f"must be between {lowest} and {highest}, not {wrong}"


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", -1.0),
        ("learning_rate", 10.1),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("gamma", 0.0),
        ("gamma", 1.01),
        ("gamma", float("nan")),
        ("val_split", 0.0),
        ("val_split", 1.0),
        ("val_split", float("nan")),
        ("widths", (32, 0, 128)),
        ("widths", (32, 64, 4097)),
        ("devices", "0"),
        ("devices", "-1"),
        ("devices", "two"),
    ],
)
def test_a_value_outside_its_limits_is_refused_with_a_clause(field: str, wrong: object) -> None:
    assert FIELDS[field].check(wrong).startswith("must be ")


@pytest.mark.parametrize(
    ("field", "right"),
    [
        ("learning_rate", 10.0),
        ("learning_rate", 1e-9),
        ("gamma", 1.0),
        ("val_split", 0.5),
        ("widths", (1, 1, 1)),
        ("devices", "auto"),
        ("devices", "8"),
    ],
)
def test_a_value_within_its_limits_is_accepted(field: str, right: object) -> None:
    assert FIELDS[field].check(right) == ""


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("epochs", "12", 12),
        ("epochs", "  12 ", 12),
        ("learning_rate", "1e-4", 1e-4),
        ("learning_rate", "0.01", 0.01),
        ("learning_rate", "1", 1.0),
        ("widths", "8,16,32", (8, 16, 32)),
        ("widths", "8, 16, 32", (8, 16, 32)),
        ("precision", "bf16", "bf16"),
        ("precision", "32", "32"),
        ("devices", "2", "2"),
        ("data", "photos/ann", "photos/ann"),
    ],
)
def test_a_typed_text_becomes_a_value_of_the_fields_type(field: str, text: str, value: object) -> None:
    parsed = parse(field, text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("field", "text", "clause"),
    [
        ("epochs", "", "must be a whole number"),
        ("epochs", "many", "must be a whole number"),
        ("epochs", "1.5", "must be a whole number"),
        ("epochs", "0", "must be between 1 and 100000, not 0"),
        ("learning_rate", "fast", "must be a number"),
        ("learning_rate", "nan", "must be above 0 and at most 10, not nan"),
        ("learning_rate", "inf", "must be above 0 and at most 10, not inf"),
        ("widths", "1,2", "must be three numbers such as 32,64,128"),
        ("widths", "a,b,c", "must be three numbers such as 32,64,128"),
        ("precision", "8", "must be one of auto, 32, bf16, 16"),
        ("recipe", "cake", "must be one of reference, tuned"),
        ("class_weights", "some", "must be one of none, auto"),
        ("cache", "tape", "must be one of auto, disk, memory, gpu"),
        ("accelerator", "abacus", "must be one of auto, cpu, gpu, cuda, mps"),
        ("patience", "-1", "must be between 0 and 100000, not -1"),
    ],
)
def test_a_typed_text_that_is_no_value_is_refused_with_a_clause(field: str, text: str, clause: str) -> None:
    with pytest.raises(UserError) as refusal:
        parse(field, text)
    assert str(refusal.value) == clause


def test_every_default_is_within_its_own_limits_and_survives_being_typed() -> None:
    for name, field in FIELDS.items():
        if isinstance(field.default, bool) or field.default is None:
            continue
        typed = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else str(field.default)
        assert parse(name, typed) == field.default


def test_a_configuration_out_of_limits_is_refused_by_the_name_of_its_option() -> None:
    with pytest.raises(UserError, match=r"^--batch-size must be between 1 and 65536, not 0$"):
        validate(TrainConfig(batch_size=0))


def test_demo_faces_and_a_folder_exclude_each_other() -> None:
    with pytest.raises(UserError, match="--demo and --data exclude each other"):
        validate(TrainConfig(demo=True, data="photos"))


# Run names


@pytest.mark.parametrize("name", ["otter-3", "a", "7", "A.b_c-d", "x" * 64])
def test_plain_names_are_run_names(name: str) -> None:
    assert check_run_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a\\b",
        "/etc",
        ".hidden",
        "-rf",
        "_x",
        "a b",
        "a\nb",
        "otter\n",
        "a\x1b[31m",
        "a\x00",
        "ötter",
        "a\u202eb",
        "[red]",
        "x" * 65,
        "con:",
    ],
)
def test_names_that_could_leave_the_folder_or_disturb_a_screen_are_refused(name: str) -> None:
    with pytest.raises(UserError) as refusal:
        check_run_name(name)
    assert str(refusal.value).isprintable()


# TOML


def test_a_toml_file_sets_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        'epochs = 5\nlearning_rate = 1\nbatch-size = 8\nwidths = [4, 8, 16]\nprecision = "bf16"\ndemo = true\n'
    )
    values = read_toml(path)
    assert values == {
        "epochs": 5,
        "learning_rate": 1.0,
        "batch_size": 8,
        "widths": (4, 8, 16),
        "precision": "bf16",
        "demo": True,
    }
    assert isinstance(values["learning_rate"], float)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"epoch = 5\n", "unknown setting 'epoch'; did you mean 'epochs'?"),
        (b"wings = 5\n", "the settings are data, "),
        (b'epochs = "many"\n', "epochs must be a whole number"),
        (b"demo = 3.5\n", "demo must be true or false"),
        (b"data = [1]\n", "data must be text"),
        (b"widths = [1, 2]\n", "widths"),
        (b"epochs = \n", "not a TOML table"),
        (b"\xff\xfe\x00", "not a TOML table"),
        (b"epochs = " + b"9" * 6000, "not a TOML table"),
        (b"epochs = " + b"[" * 5000 + b"]" * 5000, "not a TOML table"),
    ],
)
def test_a_toml_file_that_cannot_be_used_is_named_with_what_is_wrong(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(UserError) as refusal:
        read_toml(path)
    assert str(refusal.value).startswith(f"--config {path}: ")
    assert said in str(refusal.value)


def test_a_missing_toml_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No such file or directory; give a readable TOML file"):
        read_toml(tmp_path / "nothing.toml")


@pytest.mark.parametrize("path", [Path("/dev/zero"), Path()])
def test_only_a_regular_file_is_read_as_toml(path: Path) -> None:
    with pytest.raises(UserError, match="is no regular file; give a readable TOML file"):
        read_toml(path.absolute())


def test_a_field_that_a_newer_version_wrote_is_skipped() -> None:
    assert msgspec.json.decode(b'{"epochs": 3, "wings": 2}', type=TrainConfig) == TrainConfig(epochs=3)


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_has_a_help_that_is_a_sentence_and_a_label(name: str) -> None:
    assert FIELDS[name].help[0].isalnum()
    assert FIELDS[name].help.endswith(".")
    assert FIELDS[name].label
