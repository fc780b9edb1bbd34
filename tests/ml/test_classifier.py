from __future__ import annotations

import os
import pickle
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec import structs
from PIL import Image

from facegender.classifier import Classifier, load_classifier
from facegender.data.image import UnreadableImage, open_image
from facegender.runs.calibration import Calibration, write_calibration
from facegender.runs.folder import RunFolder
from facegender.runs.frames import open_frame
from facegender.support.errors import UserError


@pytest.fixture(scope="module")
def classifier(trained: Path) -> Classifier:
    return load_classifier(RunFolder(trained, "done").best_checkpoint)


def test_a_classifier_answers_as_the_network_did_while_training(trained: Path) -> None:
    folder = RunFolder(trained, "done")
    classifier = load_classifier(folder.last_checkpoint)
    assert (classifier.epoch, classifier.checkpoint) == (2, folder.last_checkpoint)
    with open_frame(folder.frame_path(2)) as frame:
        for probe, expected in enumerate(frame.tensor("probe/probabilities")):
            prediction = classifier.classify(Image.fromarray(frame.probe_image(probe)))
            assert prediction.probabilities == pytest.approx(tuple(expected), abs=1e-5)
            assert prediction.label == ("female", "male")[int(np.argmax(expected))]
            assert prediction.confidence == max(prediction.probabilities)


def test_the_three_lines_are_exactly_those_promised(classifier: Classifier) -> None:
    prediction = classifier.prediction(torch.log(torch.tensor([[0.8734, 0.1266]])))
    assert prediction.lines() == [
        "Predicted: female",
        "Confidence: 87.34%",
        "Probabilities: Female: 87.34%, Male: 12.66%",
    ]


def test_any_size_of_photograph_is_classified(classifier: Classifier, tmp_path: Path) -> None:
    Image.new("RGB", (300, 20), "teal").save(tmp_path / "wide.png")
    assert classifier.classify(open_image(tmp_path / "wide.png")).label in ("female", "male")


def test_the_heatmap_has_the_size_of_the_network_input(classifier: Classifier) -> None:
    heat = classifier.heatmap(np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8), "female")
    assert heat.shape == (32, 32)
    assert heat.dtype == np.uint8
    assert heat.max() in (0, 255)


class Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("/nonexistent/evil"),))


def _other_widths(checkpoint: dict[str, Any]) -> None:
    checkpoint["hyper_parameters"]["widths"] = [4, 8, 9]


def _no_weights(checkpoint: dict[str, Any]) -> None:
    checkpoint["state_dict"].popitem()


def _absurd_size(checkpoint: dict[str, Any]) -> None:
    checkpoint["hyper_parameters"]["image_size"] = 10**9


@pytest.mark.parametrize(
    "spoil", [_other_widths, _no_weights, _absurd_size, lambda checkpoint: checkpoint.pop("epoch")]
)
def test_a_checkpoint_of_another_network_is_refused(trained: Path, tmp_path: Path, spoil: Any) -> None:
    checkpoint = torch.load(RunFolder(trained, "done").best_checkpoint, weights_only=True)
    spoil(checkpoint)
    torch.save(checkpoint, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match=r"x\.ckpt: not a checkpoint of this network; give"):
        load_classifier(tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", pickle.dumps(Evil()), pickle.dumps({"state_dict": {}}), b"PK\x03\x04" + b"\0" * 100],
)
def test_files_that_are_not_checkpoints_are_refused_without_running_code(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.ckpt: .*; give a run, or a \.ckpt file"):
        load_classifier(tmp_path / "x.ckpt")


def test_a_truncated_checkpoint_a_folder_and_a_foreign_tensor_are_refused(trained: Path, tmp_path: Path) -> None:
    whole = RunFolder(trained, "done").last_checkpoint.read_bytes()
    (tmp_path / "half.ckpt").write_bytes(whole[: len(whole) // 2])
    torch.save(torch.zeros(3), tmp_path / "tensor.ckpt")
    for path in (tmp_path / "half.ckpt", tmp_path, tmp_path / "tensor.ckpt", tmp_path / "none.ckpt"):
        with pytest.raises(UserError):
            load_classifier(path)


def test_a_network_that_diverged_says_so_instead_of_guessing(classifier: Classifier) -> None:
    with pytest.raises(UserError, match="diverged"):
        classifier.prediction(torch.tensor([[float("nan"), 0.0]]))


def photographs_in(folder: Path, count: int) -> list[Path]:
    """Write different photographs, every seventh of them damaged."""
    random = np.random.default_rng(0)
    paths = [folder / f"{number:02d}.png" for number in range(count)]
    for number, path in enumerate(paths):
        Image.fromarray(random.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
        if number % 7 == 3:
            path.write_bytes(b"nothing")
    return paths


@pytest.mark.parametrize("processors", [1, 2])
def test_many_photographs_are_answered_as_single_ones_in_their_order(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processors: int
) -> None:
    monkeypatch.setattr("facegender.classifier.available_processors", lambda: processors)
    paths = photographs_in(tmp_path, 40)
    answers = list(classifier.logits(paths, open_image))
    for path, answer in zip(paths, answers, strict=True):
        if isinstance(answer, UnreadableImage):
            with pytest.raises(UnreadableImage, match=str(answer)):
                open_image(path)
        else:
            expected = classifier.classify(open_image(path)).probabilities
            assert isinstance(answer, np.ndarray)  # a tensor would cross the processes as a file descriptor
            assert classifier.prediction(answer[None]).probabilities == pytest.approx(expected, abs=1e-5)
    assert sum(isinstance(answer, UnreadableImage) for answer in answers) == 6
    assert list(classifier.logits([], open_image)) == []


def test_the_processes_print_nothing(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("facegender.classifier.available_processors", lambda: 2)

    def read(path: Path) -> Image.Image:
        os.write(2, b"Traceback\n")  # as after the parent was killed
        return open_image(path)

    assert len(list(classifier.logits(photographs_in(tmp_path, 40), read))) == 40
    assert "Traceback" not in capfd.readouterr().err


def test_a_process_that_is_killed_is_one_line(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facegender.classifier.available_processors", lambda: 2)

    def read(path: Path) -> Image.Image:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    with pytest.raises(UserError, match="a process that classifies photographs was killed"):
        list(classifier.logits(photographs_in(tmp_path, 40), read))


def test_a_calibration_counts_for_the_checkpoint_that_it_was_fitted_for(trained: Path, tmp_path: Path) -> None:
    checkpoint = shutil.copy(RunFolder(trained, "done").best_checkpoint, tmp_path / "best.ckpt")
    plain, image = load_classifier(checkpoint), Image.effect_noise((40, 50), 60).convert("RGB")
    fitted = Calibration(temperature=2.0, epoch=plain.epoch, step=plain.step, photographs=4)
    write_calibration(checkpoint, fitted)
    calibrated = load_classifier(checkpoint)
    odds = [np.subtract(*np.log(one.classify(image).probabilities)) for one in (plain, calibrated)]
    assert odds[1] == pytest.approx(odds[0] / 2, abs=1e-5)
    write_calibration(checkpoint, structs.replace(fitted, step=plain.step + 1))
    assert load_classifier(checkpoint).temperature == 1.0
    (tmp_path / "calibration.json").write_text('{"temperature": -1}')
    assert load_classifier(checkpoint).temperature == 1.0
