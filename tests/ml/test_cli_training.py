"""The commands that need torch, called in this process."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from facegender.__main__ import run
from facegender.runs.events import RunFinished
from facegender.runs.folder import RunFolder, list_runs
from facegender.support.errors import UserError
from tests.ml.conftest import events_of
from tests.terminal import in_terminal

Capture = pytest.CaptureFixture[str]
TINY = ["--demo", "--demo-faces=10", "--image-size=32", "--widths=4,8,8", "--batch-size=4", "--accelerator=cpu"]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    (folder / "below").mkdir(parents=True)
    for name in ("a.png", "below/b.jpg"):
        Image.effect_noise((40, 50), 60).convert("RGB").save(folder / name)
    return folder


def test_a_run_is_trained_and_resumed(tmp_path: Path, capsys: Capture) -> None:
    root = ["--root", str(tmp_path)]
    assert run(["train", *TINY, "--epochs=1", "--visualize-every=0", *root]) == 0
    (folder,) = list_runs(tmp_path)
    assert run(["train", "--resume", folder.name, "--epochs=2", *root]) == 0
    assert folder.state() == "completed"
    capsys.readouterr()
    assert run(["runs", "--json", *root]) == 0
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (row["run"], row["state"], row["epochs_done"], row["epochs"]) == (folder.name, "completed", 2, 2)
    assert run(["stop", folder.name, *root]) == 0
    assert "nothing to stop" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("flock") is None, reason="needs the command flock")
@pytest.mark.parametrize(("options", "code", "status"), [([], 0, "completed"), (["--on-nan=stop"], 1, "failed")])
def test_a_command_runs_at_the_end_of_a_run_when_it_can_be_resumed_already(
    tmp_path: Path, options: list[str], code: int, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if code:
        monkeypatch.setattr("facegender.network.module.FaceGenderModule.training_step", None)
    command = 'flock -n "$FACEGENDER_FOLDER/lock" echo "$FACEGENDER_RUN $FACEGENDER_STATUS" > "$FACEGENDER_FOLDER/told"'
    arguments = [*TINY, "--epochs=1", "--visualize-every=0", "--run=a", *options, f"--on-end={command}"]
    assert run(["train", *arguments, "--root", str(tmp_path)]) == code
    assert (RunFolder(tmp_path, "a").path / "told").read_text() == f"a {status}\n"


def test_settings_come_from_a_file_and_options_overrule_them(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('data = "nowhere"\nepochs = 1\nimage-size = 32\nwidths = [4, 8, 8]\nseed = 5\n')
    options = ["--config", str(tmp_path / "run.toml"), "--demo", "--demo-faces=10", "--seed=6", "--accelerator=cpu"]
    assert run(["train", *options, "--run=a", "--root", str(tmp_path)]) == 0
    manifest = RunFolder(tmp_path, "a").read_manifest()
    assert manifest is not None
    assert (manifest.config.seed, manifest.config.epochs, manifest.config.demo) == (6, 1, True)


def test_the_settings_of_a_run_may_be_given_again_when_it_is_resumed(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.toml").write_text("image-size = 32\nepochs = 1\n")
    options = ["--demo", "--demo-faces=10", "--widths=4,8,8", "--accelerator=cpu", "--config", "run.toml"]
    monkeypatch.chdir(tmp_path)
    assert run(["train", *options, "--run=a"]) == 0
    assert run(["train", *options, "--resume=a", "--epochs=2"]) == 0
    assert run(["train", *options, "--resume=a", "--epochs=3", "--seed=7"]) == 2
    assert "--seed cannot change" in capsys.readouterr().err


def test_missing_data_is_one_line_and_exit_code_2(tmp_path: Path, capsys: Capture) -> None:
    assert run(["train", "--data", str(tmp_path / "none"), "--root", str(tmp_path), "--run=a"]) == 2
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1
    assert "no such folder" in captured.err
    assert list(tmp_path.iterdir()) == []


def test_data_of_a_user_who_does_not_exist_is_one_line_and_exit_code_2(tmp_path: Path, capsys: Capture) -> None:
    assert run(["train", "--data", "~nobody-of-that-name/x", "--root", str(tmp_path), "--run=a"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no such folder" in line
    assert not RunFolder(tmp_path, "a").path.exists()


def test_a_failed_run_is_exit_code_1(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("facegender.network.module.FaceGenderModule.training_step", fail)
    assert run(["train", *TINY, "--run=a", "--root", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "facegender: run a failed: RuntimeError: broken\n"
    assert isinstance(events_of(tmp_path, "a")[-1], RunFinished)


def test_a_run_that_finds_no_room_once_it_trains_has_failed(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise UserError("10 photographs need 1 GiB: make room")

    monkeypatch.setattr("facegender.network.module.FaceGenderModule.training_step", fail)
    assert run(["train", *TINY, "--run=a", "--root", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "facegender: run a failed: 10 photographs need 1 GiB: make room\n"
    assert RunFolder(tmp_path, "a").state() == "failed"


ANSWERED = r"facegender: run done, best\.ckpt, epoch [1-3] of 3, trained on demo faces"


def test_one_photograph_is_exactly_three_lines(trained: Path, photographs: Path, capsys: Capture) -> None:
    assert run(["predict", str(photographs / "a.png"), "--root", str(trained)]) == 0
    assert re.fullmatch(
        r"Predicted: (female|male)\n"
        r"Confidence: \d{2,3}\.\d\d%\n"
        r"Probabilities: Female: \d{1,3}\.\d\d%, Male: \d{1,3}\.\d\d%\n",
        capsys.readouterr().out,
    )


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]])
def test_run_checkpoint_and_epoch_are_named_once_on_stderr_in_every_format(
    trained: Path, photographs: Path, capsys: Capture, form: list[str]
) -> None:
    assert run(["predict", str(photographs), "--root", str(trained), *form]) == 0
    assert re.fullmatch(ANSWERED + "\n", capsys.readouterr().err)


def test_at_a_terminal_several_photographs_are_counted_at_the_end(
    trained: Path, photographs: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    (photographs / "broken.png").write_bytes(b"nothing")
    assert run(["predict", str(photographs), "--root", str(trained)]) == 2
    captured = capsys.readouterr()
    counts = re.fullmatch(
        r"facegender: 2 photographs: (\d) female, (\d) male; 1 could not be read", captured.err.splitlines()[-1]
    )
    assert counts is not None
    assert [int(count) for count in counts.groups()] == [
        captured.out.count("Predicted: female"),
        captured.out.count("Predicted: male"),
    ]


def test_a_folder_is_classified_with_all_below_and_unreadable_files_are_named_at_the_end_by_exit_code_2(
    trained: Path, photographs: Path, capsys: Capture
) -> None:
    (photographs / "broken\x1b[2J.png").write_bytes(b"nothing")
    (photographs / ".hidden").write_bytes(b"nothing")
    assert run(["predict", str(photographs), "--root", str(trained)]) == 2
    captured = capsys.readouterr()
    blocks = [block.splitlines() for block in captured.out.split("\n\n")]
    assert [block[0] for block in blocks] == [str(photographs / "a.png"), str(photographs / "below" / "b.jpg")]
    assert all(len(block) == 4 for block in blocks)
    answered, line = captured.err.splitlines()
    assert re.fullmatch(ANSWERED, answered)
    assert line.startswith("facegender: ")
    assert "\x1b" not in line


def test_files_in_a_folder_with_other_extensions_are_skipped_and_counted(
    trained: Path, photographs: Path, capsys: Capture
) -> None:
    for name in ("labels.csv", "README.MD", "below/notes.txt"):
        (photographs / name).write_text("nothing")
    assert run(["predict", str(photographs), "--root", str(trained)]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("Predicted: ") == 2
    _, line = captured.err.splitlines()
    assert line.endswith("skipped 3 files whose extension is not a picture's")
    assert run(["predict", str(photographs / "labels.csv"), "--root", str(trained)]) == 2
    assert "labels.csv" in capsys.readouterr().err
    shutil.rmtree(photographs)
    photographs.mkdir()
    (photographs / "labels.csv").write_text("nothing")
    assert run(["predict", str(photographs), "--root", str(trained)]) == 2
    assert "no photographs in this folder" in capsys.readouterr().err


def test_a_folder_without_photographs_does_not_keep_the_other_paths_from_an_answer(
    trained: Path, photographs: Path, tmp_path: Path, capsys: Capture
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run(["predict", str(empty), str(photographs), "--root", str(trained)]) == 2
    captured = capsys.readouterr()
    assert captured.out.count("Predicted: ") == 2
    assert "no photographs in this folder" in captured.err


def test_a_bar_in_the_terminal_leaves_the_answers_in_their_order(trained: Path, photographs: Path) -> None:
    (photographs / "below" / "a.png").write_bytes(b"nothing")
    code, seen = in_terminal("predict", str(photographs), "--root", str(trained))
    assert code == 2
    text = seen.decode()
    assert "classifying" in text
    order = [text.index(f"{photographs}/{name}") for name in ("a.png", "below/a.png", "below/b.jpg")]
    assert order == sorted(order)
    assert len(re.findall(r"^Predicted: (?:fe)?male\r$", text, re.MULTILINE)) == 2
    assert "1 could not be read" in text


def test_json_and_csv_carry_the_same_numbers(trained: Path, photographs: Path, capsys: Capture) -> None:
    arguments = ["predict", str(photographs), "--root", str(trained)]
    assert run([*arguments, "--json"]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert run([*arguments, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["file"] for row in rows] == [item["file"] for item in objects]
    for row, item in zip(rows, objects, strict=True):
        assert row["label"] == item["label"]
        assert (row["checkpoint"], row["epoch"]) == (item["checkpoint"], str(item["epoch"]))
        assert float(row["female"]) == pytest.approx(item["probabilities"]["female"], abs=1e-6)
    assert run([*arguments, "--csv", "--json"]) == 2


def test_heatmaps_are_saved_without_overwriting_each_other(trained: Path, photographs: Path, capsys: Capture) -> None:
    (photographs / "below" / "a.png").write_bytes((photographs / "a.png").read_bytes())
    target = photographs.parent / "heat"
    assert run(["predict", str(photographs), "--root", str(trained), "--heatmap", str(target)]) == 0
    assert {path.name for path in target.iterdir()} == {"a.png.png", "a.png.2.png", "b.jpg.png"}
    assert Image.open(target / "b.jpg.png").size == (40, 50)


def test_a_long_name_has_a_heatmap_too(trained: Path, photographs: Path, capsys: Capture) -> None:
    (photographs / "a.png").rename(photographs / ("n" * 251 + ".png"))
    target = photographs.parent / "heat"
    assert run(["predict", str(photographs), "--root", str(trained), "--heatmap", str(target)]) == 0
    assert {len(path.name) for path in target.iterdir()} == {len("b.jpg.png"), 204}


def test_json_and_csv_say_which_heatmap_is_of_which_photograph(
    trained: Path, photographs: Path, capsys: Capture
) -> None:
    (photographs / "below" / "a.png").write_bytes((photographs / "a.png").read_bytes())
    arguments = ["predict", str(photographs), "--root", str(trained), "--heatmap", str(photographs.parent / "heat")]
    assert run([*arguments, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(row["heatmap"]).name for row in rows] == ["a.png.png", "a.png.2.png", "b.jpg.png"]
    assert run([*arguments, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [Path(row["heatmap"]).name for row in rows] == ["a.png.3.png", "a.png.4.png", "b.jpg.2.png"]


def test_without_a_path_names_are_read_until_an_empty_line(
    trained: Path, photographs: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = f'"{photographs / "a.png"}"\n{photographs}/none.png\n{photographs}/below/b.jpg\n\nnever.png\n'
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert run(["predict", "--root", str(trained)]) == 2
    captured = capsys.readouterr()
    assert captured.out.count("Predicted: ") == 2
    assert len(captured.err.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["none.png"], "none.png: no such file"),
        (["--checkpoint", "other"], "no run other"),
        (["--checkpoint", "other.ckpt"], "no such file"),
        (["--checkpoint", "/dev/null"], "no such file"),
    ],
)
def test_bad_input_to_predict_is_one_line_and_exit_code_2(
    trained: Path, photographs: Path, capsys: Capture, arguments: list[str], problem: str
) -> None:
    paths = [] if arguments[0] == "none.png" else [str(photographs)]
    assert run(["predict", *arguments, *paths, "--root", str(trained)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert problem in captured.err


@pytest.mark.parametrize(("graphics", "sign"), [("halfblock", "▀".encode()), ("kitty", b"\x1b_Ga=p")])
def test_the_photograph_and_its_heatmap_are_drawn_in_the_terminal_and_stdout_keeps_its_three_lines(
    trained: Path, photographs: Path, tmp_path: Path, graphics: str, sign: bytes
) -> None:
    photograph, answer = str(photographs / "a.png"), tmp_path / "answer.txt"
    arguments = ("predict", photograph, "--show", "--graphics", graphics, "--root", str(trained))
    code, seen = in_terminal(*arguments, output=answer)
    assert code == 0, seen
    assert [line.partition(":")[0] for line in answer.read_text().splitlines()] == [
        "Predicted", "Confidence", "Probabilities",
    ]  # fmt: skip
    assert sign in seen
    assert "brighter = more influence on the prediction" in seen.decode()


def test_nothing_is_drawn_where_there_is_no_terminal(trained: Path, photographs: Path, capsys: Capture) -> None:
    assert run(["predict", str(photographs), "--show", "--root", str(trained)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "facegender: standard error is not a terminal: leave out --show, or save pictures with --heatmap DIR"
    )


def test_an_exported_network_has_the_checkpoints_weights(trained: Path, tmp_path: Path, capsys: Capture) -> None:
    best = torch.load(RunFolder(trained, "done").best_checkpoint, weights_only=True)["state_dict"]
    for form in ("pth", "safetensors"):
        target = tmp_path / f"out.{form}"
        assert run(["export", "done", "--format", form, "--output", str(target), "--root", str(trained)]) == 0
        if form == "pth":
            weights = torch.load(target, weights_only=True)
        else:
            with safe_open(target, "pt") as file:
                about = file.metadata()
                assert about.pop("input").endswith("(x - mean) / std")
                assert about == {
                    "recipe": "reference", "network": "recipe", "image_size": "32", "widths": "4,8,8",
                    "classes": "female,male", "mean": "0.5", "std": "0.5",
                }  # fmt: skip
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no container
        assert {f"network.{name}" for name in weights} == set(best)
        assert all(torch.equal(value, best[f"network.{name}"]) for name, value in weights.items())
    target.write_text("precious")
    assert run(["export", "done", "--output", str(target), "--force", "--root", str(trained)]) == 0
    assert target.read_bytes() != b"precious"
    capsys.readouterr()
    assert run(["export", "done", "--output", "/proc/none", "--root", str(trained)]) == 2
    assert run(["export", "done", "--format", "gif", "--root", str(trained)]) == 2
    assert run(["export", "nosuch.ckpt", "--root", str(trained)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("facegender: ") for line in lines)
    assert lines[-1].startswith("facegender: nosuch.ckpt: no such file")
    assert "--checkpoint" not in lines[-1]


def test_onnx_without_its_packages_names_them(trained: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(["export", "done", "--format", "onnx", "--root", str(trained)]) == 2
    assert "pip install onnx onnxscript" in capsys.readouterr().err


def test_demo_data_can_be_trained_on(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "faces"
    assert run(["demo-data", str(folder), "--faces", "10", "--image-size", "48"]) == 0
    options = ["--data", str(folder), "--image-size=32", "--widths=4,8,8", "--epochs=1", "--accelerator=cpu"]
    assert run(["train", *options, "--run=a", "--root", str(tmp_path)]) == 0
    shutil.rmtree(folder)
    capsys.readouterr()
    assert run(["train", "--resume=a", "--epochs=2", "--root", str(tmp_path)]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert RunFolder(tmp_path, "a").state() == "completed"


def test_doctor_names_what_it_finds(capsys: Capture) -> None:
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "standard output is not a terminal" in out
    assert all(name in out for name in ("facegender-tui", "torch", "python", "cache", "root"))
    (photographs,) = [line for line in out.splitlines() if line.startswith("photographs ")]
    assert "at most" in photographs
