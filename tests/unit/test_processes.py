"""Starting trainers and talking to the classify process, with small scripts in the place of the real programs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import psutil
import pytest
import recorded
import typer
from piloting import until

from facegender.cli.app import app as command_line
from facegender.runs.config import FIELDS, TrainConfig, parse
from facegender.runs.folder import RunFolder, list_runs
from facegender.runs.presets import configure, train_arguments
from facegender.support.errors import UserError
from tui.host.processes import (
    ClassifierProcess,
    CommandOutput,
    Trainers,
    commands_ended,
    output_lines,
    run_command,
    run_with_terminal,
)

Script = Callable[[str], None]


@pytest.fixture
def script(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Lets a Python script run in the place of every ``python -m …`` that the interface starts."""
    folder = tmp_path_factory.mktemp("script")
    python = sys.executable

    def use(source: str) -> None:
        (folder / "script.py").write_text(source)
        (folder / "python").write_text(f'#!/bin/sh\nexec "{python}" -S -u "{folder}/script.py" "$@"\n')
        (folder / "python").chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(folder / "python"))

    return use


# Arguments

CHANGED: dict[str, object] = {
    "data": "/photos/of faces",
    "demo": True,
    "demo_faces": 30,
    "epochs": 3,
    "batch_size": 8,
    "learning_rate": 0.00025,
    "step_size": 4,
    "gamma": 0.5,
    "image_size": 64,
    "widths": (4, 8, 16),
    "val_split": 0.25,
    "seed": 7,
    "network": "resnet18",
    "class_weights": "auto",
    "patience": 5,
    "on_nan": "skip",
    "precision": "bf16",
    "accelerator": "cpu",
    "devices": "2",
    "num_nodes": 2,
    "strategy": "ddp",
    "cache": "disk",
    "workers": 3,
    "visualize_every": 2,
    "probes": 6,
}


def test_the_reference_recipe_needs_no_argument() -> None:
    assert train_arguments(TrainConfig()) == []


def test_every_field_that_differs_becomes_an_option_that_means_it() -> None:
    assert set(CHANGED) == set(FIELDS) - {"recipe"}
    for field, value in CHANGED.items():
        (argument,) = train_arguments(TrainConfig(**{field: value}))
        option, _, text = argument.partition("=")
        assert option == f"--{field.replace('_', '-')}"
        assert (True if value is True else parse(field, text)) == value


def test_what_another_recipe_would_set_otherwise_is_said_and_what_it_does_not_use_is_not() -> None:
    tuned = configure({"recipe": "tuned"})
    assert train_arguments(tuned) == ["--recipe=tuned"]
    full = msgspec.structs.replace(tuned, image_size=512, step_size=3)
    assert train_arguments(full) == ["--image-size=512", "--recipe=tuned"]


def test_a_value_that_begins_with_a_dash_or_has_spaces_stays_one_argument() -> None:
    assert train_arguments(TrainConfig(data="-- my photos")) == ["--data=-- my photos"]


def test_the_command_line_has_every_option_that_the_interface_uses() -> None:
    train = typer.main.get_command(command_line).commands["train"]
    known = {option for parameter in train.params for option in parameter.opts}
    used = {f"--{name.replace('_', '-')}" for name in FIELDS} | {"--run", "--root", "--resume"}
    assert used <= known


# Trainers


def test_a_trainer_is_started_with_its_options_in_a_session_of_its_own(root: Path, script: Script) -> None:
    script("import os, sys\nprint(*sys.argv[1:])\nprint('leads its session:', os.getsid(0) == os.getpid())\n")
    trainers = Trainers()
    folder = trainers.start(root, TrainConfig(demo=True, epochs=2), "otter-3")
    wait_for(lambda: "leads" in folder.log_path.read_text())
    assert folder.log_path.read_text().splitlines() == [
        f"-m facegender train --root={root} --demo --epochs=2 --run=otter-3",
        "leads its session: True",
    ]
    assert folder.visuals.is_dir()


def test_what_a_trainer_writes_on_either_stream_is_kept_in_its_log(root: Path, script: Script) -> None:
    script("import sys\nprint('out')\nprint('err', file=sys.stderr)\nprint(sys.stdin.read() == '')\n")
    folder = Trainers().start(root, TrainConfig())
    wait_for(lambda: folder.log_path.read_text().count("\n") == 3)
    assert sorted(folder.log_path.read_text().split()) == ["True", "err", "out"]


def test_a_name_that_is_taken_starts_nothing(root: Path, script: Script) -> None:
    script("raise SystemExit('started')")
    folder = recorded.write_run(root, "otter-3")
    with pytest.raises(UserError, match="exists already"):
        Trainers().start(root, TrainConfig(), "otter-3")
    assert folder.log_path.read_text() == ""


def test_a_stopped_run_is_resumed_by_its_name_and_its_log_goes_on(root: Path, script: Script) -> None:
    script("import sys\nprint(*sys.argv[1:])\n")
    folder = recorded.write_run(root, end="stopped")
    folder.last_checkpoint.touch()
    folder.log_path.write_text("earlier\n")
    Trainers().resume(folder)
    wait_for(lambda: folder.log_path.read_text().count("\n") == 2)
    assert folder.log_path.read_text().splitlines() == [
        "earlier",
        f"-m facegender train --root={root} --resume=otter-3",
    ]


def test_a_run_of_somebodys_own_script_is_not_resumed(root: Path, script: Script) -> None:
    script("raise SystemExit('started')")
    folder = recorded.write_run(root, end="stopped")
    folder.write_manifest(recorded.manifest(folder, script="train.py"))
    with pytest.raises(UserError, match=r"otter-3 was trained by its own script \(train\.py\): resume it there"):
        Trainers().resume(folder)


def test_a_live_run_is_not_resumed(root: Path, script: Script) -> None:
    folder = recorded.write_run(root)
    folder.last_checkpoint.touch()
    with pytest.raises(UserError, match="run otter-3 is training already"):
        Trainers().resume(folder)


def test_a_trainer_that_cannot_be_started_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(root / "no-python"))
    with pytest.raises(UserError, match=r"cannot start the trainer \(No such file or directory\)"):
        Trainers().start(root, TrainConfig())


def test_a_trainer_that_cannot_be_started_leaves_no_run_behind(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(root / "no-python"))
    with pytest.raises(UserError):
        Trainers().start(root, TrainConfig(), "otter-3")
    assert list_runs(root) == []
    assert not RunFolder(root, "otter-3").path.exists()


def test_a_run_is_resumed_once_however_many_threads_ask(root: Path, script: Script) -> None:
    script("import time\ntime.sleep(0.5)")
    folder = recorded.write_run(root, end="stopped")
    trainers = Trainers()
    with ThreadPoolExecutor(4) as threads:
        requests = [threads.submit(trainers.resume, folder) for _ in range(4)]
    errors = [request.exception() for request in requests]
    assert errors.count(None) == 1
    assert all("is training already" in str(error) for error in errors if error)
    wait_for(trainers.reap)


def test_trainers_that_ended_are_collected_and_leave_no_zombie(root: Path, script: Script) -> None:
    script("pass")
    trainers = Trainers()
    me = psutil.Process()
    others = set(me.children())  # multiprocessing keeps one
    trainers.start(root, TrainConfig())
    assert set(me.children()) > others

    def collected() -> bool:
        trainers.reap()
        return set(me.children()) <= others

    wait_for(collected)


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.01)


# Commands whose output is shown


async def test_the_output_lines_a_command_arrive_one_by_one_and_safe(script: Script) -> None:
    script("import sys\nprint('asking', sys.argv[2:])\nprint()\nprint('\\x1b[31mdone\\r\\n')\n")
    assert [line async for line in output_lines("download")] == ["asking ['facegender', 'download']", "\ufffd[31mdone"]


async def test_a_progress_bar_arrives_as_it_moves(script: Script) -> None:
    script("import sys, time\nsys.stdout.write('\\r10 %')\nsys.stdout.write('\\r20 %\\r')\ntime.sleep(60)\n")
    lines = output_lines("download")
    assert [await anext(lines), await anext(lines)] == ["10 %", "20 %"]
    await lines.aclose()


async def test_output_without_any_newline_is_no_error_however_long_it_is(script: Script) -> None:
    script("import sys\nsys.stdout.write('x' * 200_000 + '\\r' * 100_000 + 'last line')\n")
    assert [line async for line in output_lines("download")][-1] == "last line"


async def test_a_command_that_fails_is_told_by_its_last_line(script: Script) -> None:
    script("import sys\nprint('asking')\nsys.exit('facegender: no network')\n")
    with pytest.raises(UserError, match=r"^no network$"):
        [line async for line in output_lines("download")]


async def test_a_command_that_fails_in_silence_is_told_too(script: Script) -> None:
    script("raise SystemExit(3)")
    with pytest.raises(UserError, match="the command failed"):
        [line async for line in output_lines("download")]


async def test_a_command_returns_its_output_with_its_columns_and_reports_its_progress(script: Script) -> None:
    script(
        "import sys\nprint('female   1\\t2 ')\nprint('\\x1b[2Jmale')\n"
        "print('facegender: classifying photographs: 3 of 9', file=sys.stderr)\n"
    )
    told: list[str] = []
    output = await run_command("evaluate", report=told.append)
    assert output == CommandOutput(("female   1      2", "\ufffd[2Jmale"), "")
    assert told == ["classifying photographs: 3 of 9"]


async def test_a_command_that_fails_returns_its_last_line_and_what_it_had_printed(script: Script) -> None:
    script("import sys\nprint('{}')\nprint('first', file=sys.stderr)\nsys.exit('facegender: no such folder')\n")
    assert await run_command("find-lr", report=str) == CommandOutput(("{}",), "no such folder")


async def test_a_long_line_of_json_arrives_whole(script: Script) -> None:
    script("print('[' + '1, ' * 300_000 + '1]')\n")
    (line,) = (await run_command("find-lr", report=str)).lines
    assert len(msgspec.json.decode(line)) == 300_001


async def test_a_command_ends_when_its_caller_is_cancelled(script: Script, tmp_path: Path) -> None:
    script(f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)\n")
    task = asyncio.create_task(run_command("evaluate", report=str))
    await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    process = psutil.Process(int((tmp_path / "pid").read_text()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


async def test_a_command_that_is_being_ended_is_waited_for_also_if_its_caller_is_not(
    script: Script, tmp_path: Path
) -> None:
    script(f"""
import signal, sys, time
def end(*_):
    time.sleep(0.2)
    sys.exit()
signal.signal(signal.SIGTERM, end)
open({str(tmp_path / "started")!r}, "w")
time.sleep(60)
""")
    task = asyncio.create_task(run_command("evaluate", report=str))
    await until((tmp_path / "started").exists)
    (process,) = (one for one in psutil.Process().children() if "evaluate" in one.cmdline())
    task.cancel()
    while process.is_running() and not task.done():
        task.cancel()  # as the end of the event loop does
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    await commands_ended()
    assert not process.is_running()


# Classifying

WORKER = """
import json, os, sys, time
print("a library that prints")
for line in sys.stdin:
    request = json.loads(line)
    name = os.path.basename(request["path"])
    if name == "die.jpg":
        print("Traceback (most recent call last):\\nMemoryError: no memory\\x07", file=sys.stderr)
        sys.exit(3)
    if name == "slow.jpg":
        time.sleep(0.3)
    if name == "hang.jpg":
        time.sleep(60)
    if name == "bad.jpg":
        print(json.dumps({"id": request["id"], "ok": False, "error": "bad.jpg:\\n no \\x1b[31mimage"}))
        continue
    print(json.dumps({"id": request["id"], "path": request["path"], "run": request["run"], "label": "female",
                      "confidence": 0.9, "checkpoint": str(os.getpid())}))
"""


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return tmp_path / "ann.jpg"


async def test_a_file_is_classified_and_the_process_stays_warm(root: Path, photo: Path, script: Script) -> None:
    script(WORKER)
    classifier = ClassifierProcess(root)
    assert not classifier.is_warm
    first = await classifier.classify(photo, run="otter-3")
    second = await classifier.classify(photo, run="heron-7")
    assert (first.label, first.path, first.run, second.run) == ("female", str(photo), "otter-3", "heron-7")
    assert first.checkpoint == second.checkpoint
    assert classifier.is_warm
    await classifier.close()
    assert not classifier.is_warm
    assert not psutil.pid_exists(int(first.checkpoint))


async def test_a_file_that_cannot_be_classified_is_told_in_one_safe_line(root: Path, script: Script) -> None:
    script(WORKER)
    classifier = ClassifierProcess(root)
    with pytest.raises(UserError, match=r"^bad\.jpg: no \ufffd\[31mimage$"):
        await classifier.classify(root / "bad.jpg", run="otter-3")
    assert (await classifier.classify(root / "ann.jpg", run="otter-3")).ok
    await classifier.close()


async def test_a_process_that_died_is_told_with_its_reason_and_started_again(root: Path, script: Script) -> None:
    script(WORKER)
    classifier = ClassifierProcess(root)
    first = await classifier.classify(root / "ann.jpg", run="otter-3")
    with pytest.raises(UserError, match="the classify process ended: MemoryError: no memory\ufffd; try again"):
        await classifier.classify(root / "die.jpg", run="otter-3")
    again = await classifier.classify(root / "ann.jpg", run="otter-3")
    assert again.checkpoint != first.checkpoint
    await classifier.close()


async def test_a_process_that_was_killed_in_between_is_started_again_unseen(root: Path, script: Script) -> None:
    script(WORKER)
    classifier = ClassifierProcess(root)
    first = await classifier.classify(root / "ann.jpg", run="otter-3")
    os.kill(int(first.checkpoint), 9)
    await until(lambda: not classifier.is_warm)
    assert (await classifier.classify(root / "ann.jpg", run="otter-3")).ok
    await classifier.close()


async def test_the_answer_to_a_question_that_was_given_up_is_not_taken_for_the_next(root: Path, script: Script) -> None:
    script(WORKER)
    classifier = ClassifierProcess(root)
    await classifier.classify(root / "ann.jpg", run="otter-3")
    given_up = asyncio.create_task(classifier.classify(root / "slow.jpg", run="otter-3"))
    await asyncio.sleep(0)
    given_up.cancel()
    answer = await classifier.classify(root / "bert.jpg", run="otter-3")
    assert answer.path.endswith("bert.jpg")
    await classifier.close()


async def test_a_process_that_does_not_end_with_its_input_is_killed(root: Path, script: Script) -> None:
    script(WORKER + "\nimport signal\nsignal.pause()\n")
    classifier = ClassifierProcess(root)
    answer = await classifier.classify(root / "ann.jpg", run="otter-3")
    await classifier.close()
    await until(lambda: not classifier.is_warm)
    assert not psutil.pid_exists(int(answer.checkpoint))


async def test_a_process_that_does_not_answer_is_ended_and_started_again(
    root: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(WORKER)
    monkeypatch.setattr("tui.host.processes.ANSWER_LIMIT_S", 0.2)
    classifier = ClassifierProcess(root)
    first = await classifier.classify(root / "ann.jpg", run="otter-3")
    with pytest.raises(UserError, match=r"did not answer within 0 s and was ended; try again"):
        await classifier.classify(root / "hang.jpg", run="otter-3")
    again = await classifier.classify(root / "ann.jpg", run="otter-3")
    assert again.checkpoint != first.checkpoint
    await until(lambda: not psutil.pid_exists(int(first.checkpoint)))
    await classifier.close()


async def test_the_first_answer_has_a_time_limit_too(
    root: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    script("import time\ntime.sleep(60)")
    monkeypatch.setattr("tui.host.processes.COLD_ANSWER_LIMIT_S", 0.2)
    with pytest.raises(UserError, match="did not answer"):
        await ClassifierProcess(root).classify(root / "ann.jpg", run="otter-3")


async def test_closing_what_was_never_started_does_nothing(root: Path) -> None:
    await ClassifierProcess(root).close()


def test_a_run_folder_is_made_before_its_trainer_says_anything(root: Path, script: Script) -> None:
    script("import time\ntime.sleep(0)")
    folder = Trainers().start(root, TrainConfig(), "otter-3")
    assert folder.state() == "starting"
    assert RunFolder(root, "otter-3").log_path.exists()


def test_a_command_with_the_terminal_has_ctrl_c_for_itself(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    ended = tmp_path / "ended"
    assert not run_with_terminal(["sh", "-c", f"kill -INT {os.getpid()}; echo done > {ended}; kill -INT $$; sleep 60"])
    assert ended.exists()
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_command_that_is_missing_is_named() -> None:
    assert run_with_terminal(["no-such-editor", "file"]) == (
        "no-such-editor: No such file or directory; set EDITOR to the command of your editor"
    )
