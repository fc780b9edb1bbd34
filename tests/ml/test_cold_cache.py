"""A run that decodes its photographs first is in every respect the run that a full cache gives."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from PIL import Image

from facegender.data.cache.eviction import entries
from facegender.data.cache.file import PhotoFile, Result
from facegender.data.demo.faces import write_demo_faces
from facegender.runs.config import TrainConfig
from facegender.runs.events import Notice, RunStarted
from facegender.runs.folder import RunFolder
from facegender.training.run import train
from facegender.training.session import ConsoleSession
from tests.ml.conftest import events_of, losses_of, tiny


@pytest.fixture
def faces(tmp_path: Path) -> TrainConfig:
    """20 + 20 photographs, two of which are damaged in their middle."""
    write_demo_faces(tmp_path / "faces", 20, 32, 1)
    for number in (3, 8):
        jpeg = tmp_path / "faces" / "male" / f"demo_{number:05d}.jpg"
        spoiled = jpeg.with_suffix(".png")
        Image.open(jpeg).save(spoiled)
        jpeg.unlink()
        data = bytearray(spoiled.read_bytes())
        at = data.index(b"IDAT") + 6
        data[at : at + 8] = bytes(8)
        spoiled.write_bytes(data)
    return tiny(demo=False, data=str(tmp_path / "faces"), visualize_every=0, class_weights="auto")


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Empties the cache."""
    number = iter(range(9))

    def empty() -> None:
        monkeypatch.setenv("FACEGENDER_CACHE", str(tmp_path / f"cache{next(number)}"))

    empty()
    return empty


def weights(root: Path, run: str) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(RunFolder(root, run).last_checkpoint, weights_only=True)["state_dict"]
    return state


def assert_same(root: Path, run: str, other: str) -> None:
    assert losses_of(events_of(root, run)) == losses_of(events_of(root, other))
    first, second = weights(root, run), weights(root, other)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_is_the_same_whether_the_cache_is_cold_or_warm(tmp_path: Path, faces: TrainConfig) -> None:
    for run in ("cold", "warm"):
        assert train(faces, tmp_path, run, show=False) == "completed"
    assert_same(tmp_path, "cold", "warm")
    for run in ("cold", "warm"):
        (started,) = [event for event in events_of(tmp_path, run) if isinstance(event, RunStarted)]
        assert started.train_images["male"] + started.validation_images["male"] == 18
        assert started.skipped_files == 2
        manifest = RunFolder(tmp_path, run).read_manifest()
        assert manifest is not None
        assert [file.reason for file in manifest.skipped] == ["damaged image"] * 2
        notices = [event.text for event in events_of(tmp_path, run) if isinstance(event, Notice)]
        assert any(text.startswith("skipped ") and "e.g. male/demo_0000" in text for text in notices)
        assert any("photographs are held in memory" in text for text in notices)


def test_a_run_that_is_stopped_while_its_photographs_are_decoded_is_resumed_as_if_nothing_had_happened(
    tmp_path: Path, faces: TrainConfig, fresh: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(faces, tmp_path, "whole", show=False) == "completed"
    fresh()

    def stop(session: ConsoleSession, stage: str, done: int, count: int) -> None:
        if done:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        # Each photograph is reported by itself, so that the first report comes before all of these few are done.
        patch.setattr("facegender.data.cache.decoder._SEND_EVERY_S", 0)
        patch.setattr(ConsoleSession, "preparing", stop)
        assert train(faces, tmp_path, "parts", show=False) == "stopped"
    assert [len(entry.photos.missing_rows) > 0 for entry in entries() if entry.photos] == [True]
    assert train(faces, tmp_path, resume="parts", show=False) == "completed"
    assert_same(tmp_path, "parts", "whole")


def test_a_disk_that_fills_up_costs_a_run_a_notice(
    tmp_path: Path, faces: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = PhotoFile.record

    def refuse_on_disk(file: PhotoFile, results: Iterable[Result]) -> None:
        if file.path != Path():
            raise OSError(28, "No space left on device")
        record(file, results)

    with monkeypatch.context() as patch:
        patch.setattr(PhotoFile, "record", refuse_on_disk)
        assert train(faces, tmp_path, "full", show=False) == "completed"
    notices = [event.text for event in events_of(tmp_path, "full") if isinstance(event, Notice)]
    assert any("kept in memory only" in text and "No space left" in text for text in notices)
    assert train(faces, tmp_path, "empty", show=False) == "completed"
    assert_same(tmp_path, "full", "empty")


def test_the_journal_says_how_far_decoding_is_and_how_long_it_will_take(
    tmp_path: Path, faces: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facegender.support.progress.SENTENCE_EVERY_S", 0)
    monkeypatch.setattr("facegender.data.cache.decoder._SEND_EVERY_S", 0)
    assert train(faces, tmp_path, "run", show=False) == "completed"
    notices = [event.text for event in events_of(tmp_path, "run") if isinstance(event, Notice)]
    assert any(re.fullmatch(r"decoding photographs: \d+ of 40, 0 s left", text) for text in notices)
