"""The command line without torch: help, lists, and everything that is refused before a run begins."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
import recorded

from facegender.__main__ import run
from facegender.data.demo.faces import demo_photographs
from facegender.runs.config import TrainConfig
from facegender.runs.events import EpochFinished, RequestDone, RunFinished
from facegender.runs.folder import Manifest, RunFolder, create_run
from facegender.runs.journal import JournalWriter
from facegender.runs.lock import Process
from facegender.runs.requests import SetRequest, take_requests

Capture = pytest.CaptureFixture[str]


def finished(epoch: int, accuracy: float) -> EpochFinished:
    return EpochFinished(
        time=time.time(), epoch=epoch, step=1, train_loss=1, train_accuracy=1, validation_loss=1,
        validation_accuracy=accuracy, classes=["female", "male"], precision=[], recall=[], f1=[], macro_f1=0,
        confusion=[], learning_rate=1, images_per_second=1, seconds=1, best=False,
    )  # fmt: skip


def make_run(root: Path, name: str, *, live: bool) -> RunFolder:
    folder = create_run(root, name)
    config = TrainConfig(epochs=4)
    folder.write_manifest(
        Manifest(run=name, config=config, process=Process.this(), created=time.time() - 120, program="x")
    )
    with closing(JournalWriter(folder.journal_path)) as journal:
        journal.write(finished(0, 0.5), finished(1, 0.75), finished(1, 0.7))
        if not live:
            journal.write(RunFinished(time=time.time(), status="completed"))
    return folder


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["train", "--epochs=ten"], "--epochs must be a whole number"),
        (["train", "--epochs=0"], "--epochs must be between 1"),
        (["train", "--learning-rate=nan"], "--learning-rate must be above 0"),
        (["train", "--widths=1,2"], "--widths must be"),
        (["train", "--recipe=magic"], "--recipe must be one of reference"),
        (["train", "--demo", "--data=x"], "exclude each other"),
        (["train", "--cache=tape"], "--cache must be one of auto, disk, memory, gpu"),
        (["train", "--cache=gpu", "--workers=2"], "--workers loads from the disk"),
        (["train", "--config=none.toml"], "--config none.toml"),
        (["train", "--root=none"], "--root none is not a folder"),
        (["train", "--run=../x"], "run name"),
        (["train", "--resume=x", "--run=y"], "exclude each other"),
        (["train", "--resume=x"], "no run x"),
        (["train", "--bogus"], "--bogus; see `facegender train --help`"),
        (["train", "extra"], "extra"),
        (["find-lr", "--demo", "--data=x"], "exclude each other"),
        (["find-lr", "--data=none"], "--data none: no such folder"),
        (["find-lr", "--batches=1"], "--batches"),
        (["find-lr", "--learning-rate=1"], "--learning-rate"),
        (["find-lr", "--recipe=magic"], "--recipe must be one of reference"),
        (["find-lr", "--root=none"], "--root none is not a folder"),
        (["predict", "--json", "--csv"], "exclude each other"),
        (["stop", "x"], "no run x"),
        (["stop", "\x1b[2Jx"], "use 1 to 64 letters"),
        (["stop"], "RUN"),
        (["export", "x", "--root=none"], "--root none"),
        (["train", "--root=~nobody-of-that-name/x"], "--root ~nobody-of-that-name/x is not a folder"),
        (["runs", "--root=~nobody-of-that-name"], "is not a folder"),
        (["train", "--config=~nobody-of-that-name/x"], "--config ~nobody-of-that-name/x"),
        (["bogus"], "'bogus'; see `facegender --help`"),
        (["train", "--demo", "--data="], "--data must not be empty"),
        (["train", "--data", " "], "--data must not be empty"),
        (["train", "--run="], "'--run': must not be empty"),
        (["train", "--resume="], "'--resume': must not be empty"),
        (["train", "--root="], "'--root': must not be empty"),
        (["train", "--config="], "'--config': must not be empty"),
        (["train", "--strategy="], "--strategy must be auto or ddp, not ''"),
        (["train", "--demo", "--strategy=fsdp"], "--strategy must be auto or ddp, not 'fsdp'"),
        (
            ["train", "--demo", "--strategy=deepspeed_stage_2"],
            "--strategy must be auto or ddp, not 'deepspeed_stage_2'",
        ),
        (["train", "--devices="], "--devices must be auto or a number of devices, not ''"),
        (["train", "--devices=" + "9" * 5000], "--devices must be auto or a number of devices, not '999"),
        (["train", "--accelerator=\x1b[2J\n"], "--accelerator must be one of auto, cpu, gpu, cuda, mps"),
        (["train", "--learning-rate=1e999"], "--learning-rate must be"),
        (["train", "--val-split=nan"], "--val-split must be between 0 and 1"),
        (["train", "--run=\u202ea\nb"], "run name"),
        (["predict", "none.png"], "none.png: no such file; name a photograph or a folder of them"),
        (["predict", "\u202enone.png"], "none.png: no such file"),
        (["export", "x", "--format=gif"], "--format gif: must be one of pth, safetensors, onnx"),
        (["export", "x", "--output=."], ". is a folder: name a file with --output"),
        (["predict", ""], "must not be empty"),
        (["predict", "x.png", ""], "must not be empty"),
        (["predict", "x.png", "--checkpoint="], "'--checkpoint': must not be empty"),
        (["predict", "x.png", "--heatmap="], "'--heatmap': must not be empty"),
        (["export", ""], "must not be empty"),
        (["export", "x", "--output="], "'--output': must not be empty"),
        (["demo-data", ""], "must not be empty"),
        (["demo-data", "x", "--seed=" + "9" * 400], "--seed"),
        (["stop", ""], "must not be empty"),
        (["set", "x", "epochs", "0"], "epochs must be between 1"),
        (["set", "x", "learning-rate", "fast"], "learning-rate must be a number"),
        (["set", "x", "momentum", "1"], "value for 'SETTING': 'momentum' is not one of 'learning-rate', 'epochs'; see"),
        (["set", "x", "epochs", "2"], "no run x"),
        (["suspects", "x", "--part=some"], "'--part': 'some' is not one of 'train', 'validation', 'all'; see"),
        (["suspects", "x", "--first=0"], "'--first': must be at least 1, not 0; see"),
        (["show", "x", "--epoch=first"], "'--epoch': must be a whole number, not first; see"),
        (["show", "x", "--epoch=" + "9" * 5000], "'--epoch': must be a whole number, not 999"),
        (["demo-data", "x", "--faces=100001"], "'--faces': must be at most 100000, not 100001; see"),
        (["stop", "x", "--wait=long"], "'--wait': must be a number, not long; see"),
        (["stop", "x", "--wait=nan"], "'--wait': must be at least 0, not nan; see"),
        (["stop", "x", "--wait=1e999"], "--wait must be a number of seconds"),
        (["runs", "--root="], "'--root': must not be empty"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("facegender: ")
    assert problem in line
    assert "\x1b" not in line
    assert list(tmp_path.iterdir()) == []


def test_each_of_several_files_that_are_not_there_is_named(capsys: Capture, tmp_path: Path) -> None:
    assert run(["predict", "a.png", "b.png", "--root", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == ["a.png", "b.png"]


def test_a_pipe_or_a_device_is_not_replaced_by_an_export_even_with_force(tmp_path: Path, capsys: Capture) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    link = tmp_path / "link"
    link.symlink_to(pipe)
    for path in (pipe, link):
        assert run(["export", "x", f"--output={path}", "--force"]) == 2
        assert f"{path} is not a regular file: name another file with --output" in capsys.readouterr().err
    assert pipe.is_fifo()


@pytest.mark.parametrize("option", [[], ["--output=y.pth"]])
def test_a_file_that_is_there_is_not_exported_over(
    option: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x.pth", "y.pth"):
        (tmp_path / name).write_text("precious")
    assert run(["export", "x", "--format=pth", *option]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "exists already: name another file with --output, or overwrite it with --force" in line
    assert {path.read_text() for path in tmp_path.iterdir()} == {"precious"}


def test_help_and_version_are_exit_code_0(capsys: Capture) -> None:
    for arguments in (["--help"], ["train", "--help"], ["find-lr", "--help"], ["--version"]):
        assert run(arguments) == 0
    assert "facegender-tui 0." in capsys.readouterr().out


def test_the_help_of_a_setting_names_its_choices_and_its_default_with_each_recipe(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["train", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    help_of = {words[1]: line for line in lines if len(words := line.split()) > 1}
    assert "(default: 10; tuned: 80)" in help_of["--epochs"]
    assert "(auto, disk, memory, gpu; default: auto)" in help_of["--cache"]
    assert "default" not in help_of["--demo"]


def test_runs_are_listed_newest_first_with_their_best_epoch_counted_from_1(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path, "alpha", live=False)
    make_run(tmp_path, "beta", live=True)
    assert run(["runs", "--root", str(tmp_path)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][:6] == ["run", "state", "epochs", "best", "at", "epoch"]
    assert lines[1][:5] == ["beta", "training", "2/4", "0.700", "2"]
    assert lines[2][:2] == ["alpha", "completed"]


def test_an_epoch_that_was_trained_again_counts_as_in_the_interface(tmp_path: Path, capsys: Capture) -> None:
    folder = make_run(tmp_path, "a", live=True)
    with closing(JournalWriter(folder.journal_path)) as journal:
        journal.write(recorded.run_started(start_epoch=1, resumed=True), finished(1, float("nan")))
    assert run(["runs", "--json", "--root", str(tmp_path)]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["epochs_done"], row["best_validation_accuracy"], row["best_epoch"]) == (2, 0.5, 0)


def test_the_list_tells_demo_faces_from_photographs(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/a/long/way/to/the/photographs/of/somebody/else/" * 2 + "faces"
    recorded.write_run(tmp_path, "demo", config=TrainConfig(demo=True), data="demo faces")
    recorded.write_run(tmp_path, "a-long-name-of-a-run", config=TrainConfig(data=path), data=path)
    assert run(["runs", "--root", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("demo ") and line.endswith("demo faces") for line in lines)
    assert any(line.endswith(path) for line in lines)
    monkeypatch.setenv("COLUMNS", "180")
    assert run(["runs", "--root", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 180
    assert any("…" in line and line.endswith("/else/faces") for line in lines)
    assert run(["runs", "--json", "--root", str(tmp_path)]) == 0
    assert path in capsys.readouterr().out


def test_all_about_one_run_is_printed_safe_for_a_terminal(tmp_path: Path, capsys: Capture) -> None:
    folder = recorded.write_run(tmp_path, end="stopped", program="evil\x1b[2J")
    assert run(["runs", "otter-3", "--root", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert f"facegender train --resume=otter-3 --root={tmp_path}" in out
    assert str(folder.journal_path) in out
    assert run(["runs", "otter-3", "--json", "--root", str(tmp_path)]) == 0
    details = json.loads(capsys.readouterr().out)
    assert (details["run"], details["state"], details["sections"][0]["title"]) == ("otter-3", "stopped", "Run")


def test_a_run_is_not_shown_and_listed_at_once(tmp_path: Path, capsys: Capture) -> None:
    recorded.write_run(tmp_path)
    assert run(["runs", "otter-3", "--sort", "best", "--root", str(tmp_path)]) == 2
    assert "leave out RUN" in capsys.readouterr().err
    assert run(["runs", "nothing", "--root", str(tmp_path)]) == 2
    assert "known runs: otter-3" in capsys.readouterr().err


def test_runs_are_sorted_and_filtered(tmp_path: Path, capsys: Capture) -> None:
    for name, epochs_done in (("a", 1), ("b", 3), ("c", 2)):
        recorded.write_run(tmp_path, name, epochs_done=epochs_done, end="stopped", created=ord(name))

    def listed(*options: str) -> list[str]:
        assert run(["runs", "--root", str(tmp_path), "--json", *options]) == 0
        return [json.loads(line)["run"] for line in capsys.readouterr().out.splitlines()]

    assert listed() == ["c", "b", "a"]
    assert listed("--sort", "best") == ["a", "c", "b"]
    assert listed("--sort", "-best") == listed("--sort=-best") == ["b", "c", "a"]
    assert listed("--filter", "epochs>1 -run:b") == ["c"]
    assert listed("--filter", "nothing") == []
    assert run(["runs", "--root", str(tmp_path), "--filter", "nothing"]) == 0
    assert capsys.readouterr().out == "none of the 3 runs matches the filter\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sort=speed"], "there is no column 'speed': the columns are run, state"),
        (["--filter=lr<x"], "filter 'lr<x': needs a number"),
    ],
)
def test_a_bad_column_or_filter_is_bad_input(options: list[str], message: str, tmp_path: Path, capsys: Capture) -> None:
    assert run(["runs", "--root", str(tmp_path), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_note_is_written_shown_and_removed(tmp_path: Path, capsys: Capture) -> None:
    folder = recorded.write_run(tmp_path, "a", end="stopped")
    root = ["--root", str(tmp_path)]
    assert run(["note", "a", "  the first\x1b one,\n我的 ", *root]) == 0
    assert folder.read_note() == "the first\ufffd one, 我的"
    assert run(["runs", *root]) == 0
    assert "the first\ufffd one, 我的" in capsys.readouterr().out
    assert run(["note", "a", "", *root]) == 0
    assert (folder.read_note(), folder.note_path.exists()) == ("", False)
    assert run(["note", "a", "x" * 501, *root]) == 2
    assert "run a: a note has at most 500 characters, this one has 501" in capsys.readouterr().err
    assert run(["note", "b", "x", *root]) == 2
    assert "no run b" in capsys.readouterr().err


def test_runs_are_compared_by_what_differs(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seed, rate in (("a", 1, 0.1), ("b", 2, 0.1), ("c", 1, 0.01)):
        config = TrainConfig(seed=seed, learning_rate=rate)
        recorded.write_run(tmp_path, name, config=config, epochs_done=1 + seed, end="stopped")
    arguments = ["compare", "a", "b", "c", "--root", str(tmp_path)]
    assert run(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run", "a", "b", "c"]
    assert [line.split() for line in lines if line.startswith(("best  ", "seed", "learning"))] == [
        ["best", "0.610", "0.620", "0.610"],
        ["learning", "rate", "0.1", "0.1", "0.01"],
        ["seed", "1", "2", "1"],
    ]
    assert not any(line.startswith(("batch", "note", "data")) for line in lines)
    assert lines[-2:] == ["only the seed differs: a, b", "best accuracy 0.615 ± 0.007 (standard deviation)"]
    monkeypatch.setenv("COLUMNS", "30")
    assert run(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if line.startswith("run")] == [["run", "a"], ["run", "b"], ["run", "c"]]
    assert run([*arguments, "--json"]) == 0
    compared = json.loads(capsys.readouterr().out)
    assert compared["differences"] == {"learning_rate": [0.1, 0.1, 0.01], "seed": [1, 2, 1]}
    assert compared["seed_groups"] == [["a", "b"]]
    assert [row["best_epoch"] for row in compared["runs"]] == [1, 2, 1]


def test_a_run_is_not_compared_with_itself(tmp_path: Path, capsys: Capture) -> None:
    recorded.write_run(tmp_path, "a", end="stopped")
    assert run(["compare", "a", "a", "--root", str(tmp_path)]) == 2
    assert "compare needs two different runs or more" in capsys.readouterr().err


def test_no_runs_names_the_command_that_starts_one(tmp_path: Path, capsys: Capture) -> None:
    assert run(["runs", "--root", str(tmp_path)]) == 0
    assert f"facegender train --demo --root={tmp_path}" in capsys.readouterr().out


def test_json_of_the_runs_is_ascii_whatever_a_manifest_says(tmp_path: Path, capsys: Capture) -> None:
    hostile = "a\x9bb\u202ec\u2028d\x7fe\x1bf"
    recorded.write_run(tmp_path, "j", data=hostile)
    assert run(["runs", "--json", "--root", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.rstrip("\n").isprintable()
    assert set(json.loads(out)["data"]) >= set("abcdef")


def test_stop_writes_a_request_and_waits_as_long_as_it_is_told(tmp_path: Path, capsys: Capture) -> None:
    folder = make_run(tmp_path, "a", live=True)
    assert run(["stop", "a", "--root", str(tmp_path)]) == 0
    assert folder.stop_requested()
    out = capsys.readouterr().out
    assert "stop requested" in out
    assert shlex.split(out.splitlines()[-1].removeprefix("resume with: ")) == [
        "facegender", "train", "--resume", "a", f"--root={tmp_path}"
    ]  # fmt: skip
    assert run(["stop", "a", "--wait", "0.1", "--root", str(tmp_path)]) == 1
    assert "has not ended" in capsys.readouterr().err


def answer_requests(folder: RunFolder, *, done: bool) -> threading.Thread:
    """Answer the first request as a trainer would."""

    def answer() -> None:
        until = time.monotonic() + 20
        while not (taken := take_requests(folder)) and time.monotonic() < until:
            time.sleep(0.01)
        (request,) = taken
        assert not isinstance(request, str)
        kind, rate = str(request.__struct_config__.tag), getattr(request, "learning_rate", None)
        recorded.append(
            folder,
            RequestDone(time=1, request="set", done=True, outcome="that of another", id="other"),
            RequestDone(
                time=1, request=kind, done=done, outcome=f"{kind}\x1b[2J", id=request.id, step=7, learning_rate=rate
            ),
        )

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [(["set", "a", "learning-rate", "1e-4"], "set"), (["checkpoint", "a"], "checkpoint"), (["frame", "a"], "frame")],
)
def test_a_request_to_a_live_run_prints_the_answer_to_it(
    tmp_path: Path, capsys: Capture, arguments: list[str], kind: str
) -> None:
    folder = make_run(tmp_path, "a", live=True)
    for options, code in (([], 0), (["--json"], 0), ([], 1)):
        thread = answer_requests(folder, done=code == 0)
        assert run([*arguments, *options, "--root", str(tmp_path)]) == code
        thread.join()
        captured = capsys.readouterr()
        if options:
            answer = json.loads(captured.out)
            assert (answer["run"], answer["request"], answer["done"], answer["step"]) == ("a", kind, True, 7)
            assert answer["learning_rate"] == (1e-4 if kind == "set" else None)
        else:
            shown = captured.err.removeprefix("facegender: ") if code else captured.out
            assert shown == f"run a: {kind}\ufffd[2J\n"


def test_a_run_that_ends_before_it_takes_a_request_is_said_to_have_ended(tmp_path: Path, capsys: Capture) -> None:
    folder = make_run(tmp_path, "a", live=True)

    def end() -> None:
        until = time.monotonic() + 20
        while not take_requests(folder) and time.monotonic() < until:
            time.sleep(0.01)
        recorded.append(folder, RunFinished(time=time.time(), status="stopped"))

    thread = threading.Thread(target=end)
    thread.start()
    assert run(["set", "a", "epochs", "20", "--root", str(tmp_path)]) == 1
    thread.join()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("facegender: run a has stopped before it took the request: resume it with: facegender")


def test_a_request_that_is_not_answered_in_time_waits_in_the_folder(tmp_path: Path, capsys: Capture) -> None:
    folder = make_run(tmp_path, "a", live=True)
    assert run(["set", "a", "epochs", "20", "--wait", "0.1", "--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("run a: no answer within 0.1 s; the request waits")
    (request,) = take_requests(folder)
    assert isinstance(request, SetRequest)
    assert request.epochs == 20


@pytest.mark.parametrize(
    ("setting", "value", "epochs"),
    [("epochs", "20", 20), ("learning-rate", "1e-4", 8)],  # a run that is complete is resumed only with more epochs
)
def test_a_run_that_is_not_training_takes_no_requests(
    tmp_path: Path, capsys: Capture, setting: str, value: str, epochs: int
) -> None:
    make_run(tmp_path, "a", live=False)
    assert run(["set", "a", setting, value, "--root", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "run a has completed, and takes requests only while it trains" in error
    assert shlex.split(error.partition("resume it with: ")[2]) == [
        "facegender", "train", "--resume=a", f"--epochs={epochs}", f"--root={tmp_path}"
    ]  # fmt: skip


def test_a_run_of_somebodys_own_script_is_stopped_without_promises(tmp_path: Path, capsys: Capture) -> None:
    folder = make_run(tmp_path, "a", live=True)
    folder.write_manifest(recorded.manifest(folder, script="train.py", data="script train.py"))
    assert run(["stop", "a", "--root", str(tmp_path)]) == 0
    assert folder.stop_requested()
    assert capsys.readouterr().out == "run a: stop requested; its script ends the training after this batch\n"
    assert run(["runs", "--root", str(tmp_path)]) == 0
    assert "script train.py" in capsys.readouterr().out


def test_an_unexpected_error_is_one_line_too(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(root: Path) -> None:
        raise RuntimeError("never\nmind")

    monkeypatch.setattr("facegender.cli.runs.list_runs", broken)
    assert run(["runs"]) == 1
    assert capsys.readouterr().err.startswith("facegender: RuntimeError: never mind")


def test_the_commands_that_answer_at_once_import_nothing_heavy() -> None:
    code = (
        "import sys; from facegender.__main__ import run; run(['runs']); import facegender.training.run;"
        "assert run(['find-lr', '--data=none']) == 2; assert run(['predict', 'none.png', 'none.jpg']) == 2;"
        "assert run(['export', 'x', '--format=gif']) == 2;"
        "heavy = {'torch', 'pytorch_lightning'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True)


def test_the_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from facegender.__main__ import run; assert run(['train', '--help']) == 0;"
        "heavy = {'torch', 'pytorch_lightning', 'PIL', 'numpy'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True)


def test_the_cache_is_listed_and_cleared_and_nothing_else_in_its_folder(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("FACEGENDER_CACHE", str(cache))
    assert run(["cache"]) == 0
    assert "no decoded photographs in" in capsys.readouterr().out
    assert not cache.exists()

    demo_photographs(5, 32, 1)
    (cache / "0a.photographs").write_bytes(b"of a build that was killed at once")
    (cache / "facegender-tui-error.log").write_text("somebody's")
    assert run(["cache"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = sorted(line.split() for line in lines[1:-1])
    assert [*rows[0][:2], *rows[0][3:]] == ["10", "32", "KiB", "just", "now", "demo", "faces"]
    assert rows[1][0] == "?"
    assert "2 sets, " in lines[-1]

    assert run(["cache", "--clear"]) == 0
    assert "removed 2 sets" in capsys.readouterr().out
    assert [path.name for path in cache.iterdir()] == ["facegender-tui-error.log"]


def test_a_set_that_cannot_be_removed_is_named(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEGENDER_CACHE", str(tmp_path))
    demo_photographs(5, 32, 1)
    monkeypatch.setattr(Path, "unlink", refuse)
    assert run(["cache", "--clear"]) == 1
    captured = capsys.readouterr()
    assert "removed 0 sets" in captured.out
    assert captured.err.startswith(f"facegender: {tmp_path}")
    assert captured.err.endswith("Permission denied\n")


def refuse(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("command", "code"), [("-m facegender runs", 0), ("-m tui", 2)])
def test_closed_standard_streams_are_no_error(tmp_path: Path, command: str, code: int, closed: str) -> None:
    line = f"{shlex.quote(sys.executable)} {command} --root {shlex.quote(str(tmp_path))} {closed}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
