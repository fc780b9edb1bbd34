from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from facegender.classifier import load_classifier
from facegender.classify_server import KEPT_FRAMES, ClassifyServer, serve
from facegender.data.image import open_image
from facegender.runs.calibration import Calibration, write_calibration
from facegender.runs.folder import RunFolder
from facegender.runs.frames import open_frame
from facegender.runs.photographs import read_photographs
from facegender.runs.protocol import Answer, PhotographRequest, Request


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "root")
    Image.effect_noise((40, 60), 80).convert("RGB").save(tmp_path / "root" / "face.png")
    return tmp_path / "root"


@pytest.fixture
def server(root: Path, tmp_path: Path) -> ClassifyServer:
    return ClassifyServer(root, tmp_path / "frames")


def test_an_answer_has_the_prediction_and_a_frame_of_the_file(server: ClassifyServer, root: Path) -> None:
    answer = server.answer(Request(id=7, path="face.png", run="done"))
    assert answer.ok, answer.error
    best = load_classifier(RunFolder(root, "done").best_checkpoint)
    assert (answer.id, answer.run, answer.checkpoint) == (7, "done", "best.ckpt")
    assert answer.epoch == best.epoch
    assert answer.source.startswith(f"run done, best.ckpt, epoch {best.epoch + 1} of 3")
    assert answer.image_size == (40, 60)
    assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert answer.confidence == max(answer.probabilities.values()) == answer.probabilities[answer.label]
    with open_frame(Path(answer.frame)) as frame:
        assert frame.info.layers == ["conv1", "conv2", "conv3"]
        assert frame.info.probe_names == ["face.png"]
        assert frame.tensor("probe/labels").tolist() == [-1]
        assert frame.probe_image(0).shape == (32, 32, 3)
        assert frame.maps("conv3", 0)[0].shape == (8, 4, 4)
        heatmap = frame.tensor("probe/heatmap")
        assert heatmap is not None
        assert (heatmap.shape, heatmap.dtype) == ((1, 32, 32), np.uint8)


def test_a_checkpoint_that_was_replaced_is_loaded_again(server: ClassifyServer, root: Path) -> None:
    folder = RunFolder(root, "done")
    first = server.answer(Request(id=1, path="face.png", run="done", checkpoint="last"))
    shutil.copy(folder.best_checkpoint, folder.path / "new").replace(folder.last_checkpoint)
    second = server.answer(Request(id=2, path="face.png", run="done", checkpoint="last"))
    best = load_classifier(folder.best_checkpoint)
    assert (first.epoch, second.epoch) == (2, best.epoch)
    expected = best.classify(open_image(root / "face.png"))
    assert tuple(second.probabilities.values()) == pytest.approx(expected.probabilities)


def test_a_checkpoint_that_is_calibrated_meanwhile_answers_calibrated_and_says_so(
    server: ClassifyServer, root: Path
) -> None:
    checkpoint = RunFolder(root, "done").best_checkpoint
    first = server.answer(Request(id=1, path="face.png", run="done"))
    plain = load_classifier(checkpoint)
    write_calibration(checkpoint, Calibration(temperature=3, epoch=plain.epoch, step=plain.step, photographs=4))
    second = server.answer(Request(id=2, path="face.png", run="done"))
    assert "calibrated" not in first.source
    assert "calibrated (temperature 3)" in second.source
    odds = [np.subtract(*np.log(list(answer.probabilities.values()))) for answer in (first, second)]
    assert odds[1] == pytest.approx(odds[0] / 3, abs=1e-4)
    with open_frame(Path(second.frame)) as frame:
        assert frame.tensor("probe/probabilities")[0] == pytest.approx(list(second.probabilities.values()))


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (Request(id=1, path="none.png", run="done"), "none.png: no such file"),
        (Request(id=1, path="\x1b[31mred", run="done"), "\ufffd[31mred: no such file"),
        (Request(id=1, path="face.png", run="other"), "no run other"),
        (Request(id=1, path="face.png", run="../up"), "run name"),
    ],
)
def test_what_cannot_be_answered_is_one_line(server: ClassifyServer, request_: Request, problem: str) -> None:
    answer = server.answer(request_)
    assert not answer.ok
    assert problem in answer.error
    assert "\n" not in answer.error


def test_a_run_without_a_checkpoint_yet_says_when_there_will_be_one(server: ClassifyServer, root: Path) -> None:
    folder = RunFolder(root, "young")
    folder.path.mkdir()
    folder.log_path.touch()
    assert "at the end of its first epoch" in server.answer(Request(id=1, path="face.png", run="young")).error


def test_only_the_newest_frames_are_kept(server: ClassifyServer, tmp_path: Path) -> None:
    frames = [server.answer(Request(id=n, path="face.png", run="done")).frame for n in range(KEPT_FRAMES + 3)]
    assert {str(path) for path in (tmp_path / "frames").iterdir()} == set(frames), "another interface may show them"
    for frame in frames:
        os.utime(frame, (0, 0))
    frames.append(server.answer(Request(id=99, path="face.png", run="done")).frame)
    assert {str(path) for path in (tmp_path / "frames").iterdir()} == set(frames[-KEPT_FRAMES:])


def test_lines_that_are_not_requests_do_not_end_the_process(server: ClassifyServer) -> None:
    lines = [b"garbage\n", b"\n", b'{"id": 4, "path": "face.png", "run": "done"}\n', b"\xff\xfe\n"]
    out = io.BytesIO()
    serve(server, io.BytesIO(b"".join(lines)), out)
    answers = [msgspec.json.decode(line, type=Answer) for line in out.getvalue().splitlines()]
    assert [(answer.id, answer.ok) for answer in answers] == [
        (-1, False),
        (4, True),
        (-1, False),
    ]


def test_a_frames_folder_that_was_removed_is_made_again_for_the_user_alone(
    server: ClassifyServer, tmp_path: Path
) -> None:
    request = Request(id=1, path="face.png", run="done")
    assert server.answer(request).ok
    shutil.rmtree(tmp_path / "frames")
    (tmp_path / "frames").mkdir(mode=0o755)  # as an earlier version did
    assert server.answer(request).ok
    assert stat.filemode((tmp_path / "frames").stat().st_mode) == "drwx------"
    assert {stat.filemode(path.stat().st_mode) for path in (tmp_path / "frames").iterdir()} == {"-rw-------"}


def test_as_a_process_it_answers_on_a_clean_output_and_ends_with_its_input(root: Path, tmp_path: Path) -> None:
    request = msgspec.json.encode(Request(id=1, path="face.png", run="done")) + b"\n"
    done = subprocess.run(
        [sys.executable, "-m", "facegender.classify_server", "--root", str(root)],
        input=request,
        capture_output=True,
        timeout=120,
        env=os.environ | {"FACEGENDER_CACHE": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr.decode()
    (answer,) = (msgspec.json.decode(line, type=Answer) for line in done.stdout.splitlines())
    assert answer.ok
    assert Path(answer.frame).parent == tmp_path / "classify"
    assert stat.filemode(Path(answer.frame).parent.stat().st_mode) == "drwx------"
    assert stat.filemode(Path(answer.frame).stat().st_mode) == "-rw-------"


def test_a_photograph_of_the_run_is_explained_for_each_class_by_the_checkpoint_of_its_epoch(
    server: ClassifyServer, root: Path
) -> None:
    run = RunFolder(root, "done")
    photographs = read_photographs(run)
    assert photographs is not None
    best = load_classifier(run.best_checkpoint)
    wanted = PhotographRequest(name=photographs.validation[0], epoch=best.epoch, classes=["male", "female", "nobody"])
    answer = server.answer(Request(id=4, run="done", photograph=wanted))
    assert answer.ok, answer.error
    assert (answer.id, answer.checkpoint, answer.epoch) == (4, "best.ckpt", best.epoch)
    with open_frame(Path(answer.frame)) as frame:
        assert frame.probe_image(0).shape == (32, 32, 3)
        for name in ("male", "female"):
            heat, high = frame.cam(name, 0)
            assert heat.shape == (32, 32)
            assert 0 <= high <= 1
        assert "cam/nobody" not in frame


def test_a_photograph_that_is_no_part_of_the_run_is_one_line(server: ClassifyServer) -> None:
    wanted = PhotographRequest(name="female/nobody.jpg", epoch=0, classes=["male"])
    answer = server.answer(Request(id=4, run="done", photograph=wanted))
    assert not answer.ok
    assert "no demo face is named female/nobody.jpg" in answer.error
