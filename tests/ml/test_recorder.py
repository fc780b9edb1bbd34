"""What a run leaves in its folder while it trains, and that reporting it never holds training up."""

from __future__ import annotations

import math
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import recorded
import torch
from torch.overrides import TorchFunctionMode

from facegender.network.module import FaceGenderModule
from facegender.runs.events import (
    CheckpointSaved,
    EpochFinished,
    EpochStarted,
    Event,
    FrameSaved,
    Notice,
    PredictionsSaved,
    RequestDone,
    RunFinished,
    RunStarted,
    Steps,
    System,
    decode,
    encode,
)
from facegender.runs.folder import INITIAL, RunFolder
from facegender.runs.frames import open_frame
from facegender.runs.journal import JournalWriter
from facegender.runs.photographs import read_photographs
from facegender.runs.predictions import read_predictions
from facegender.runs.requests import FrameRequest, send_request
from facegender.training.callbacks import epoch_sums, recorder
from facegender.training.run import train
from facegender.training.stop import StopSwitch
from facegender.training.threads import frames as framing
from facegender.training.threads.journal import EpochSteps, JournalThread, StepDone
from facegender.training.threads.system_metrics import sample_system
from tests.ml.conftest import STEPS_PER_EPOCH, NoWaiting, events_of, kinds, losses_of, tiny


def test_the_journal_tells_the_run_from_start_to_end(trained: Path) -> None:
    events = events_of(trained, "done")
    # Reported by other threads.
    elsewhere = ("system", "notice", "heartbeat", "frame_saved", "predictions_saved", "checkpoint_saved")
    telling = [kind for kind in kinds(events) if kind not in elsewhere]
    assert telling[0] == "run_started"
    assert telling[-1] == kinds(events)[-1] == "run_finished"
    compact = [kind for index, kind in enumerate(telling) if kind != telling[index - 1] or kind != "steps"]
    epoch = ["epoch_started", "steps", "layer_health", "epoch_finished"]
    assert compact == ["run_started", *epoch * 3, "run_finished"]
    started = next(event for event in events if isinstance(event, RunStarted))
    assert (started.epochs, started.steps_per_epoch, started.start_epoch, started.start_step) == (
        3,
        STEPS_PER_EPOCH,
        0,
        0,
    )
    assert (started.device, started.device_name, started.precision, started.demo) == ("cpu", "CPU", "32", True)
    assert started.train_images == {"female": 8, "male": 8}
    assert [(layer.name, layer.channels, layer.size, layer.kernel) for layer in started.layers] == [
        ("conv1", 4, (16, 16), (3, 7, 7)),
        ("conv2", 8, (8, 8), (4, 5, 5)),
        ("conv3", 8, (4, 4), (8, 3, 3)),
    ]


def test_steps_are_numbered_without_a_gap_and_average_to_the_epochs_loss(trained: Path) -> None:
    events = events_of(trained, "done")
    columns = [event for event in events if isinstance(event, Steps)]
    assert [step for event in columns for step in event.step] == list(range(1, 3 * STEPS_PER_EPOCH + 1))
    for finished in (event for event in events if isinstance(event, EpochFinished)):
        own = [event for event in columns if event.epoch == finished.epoch]
        assert [batch for event in own for batch in event.batch] == [1, 2, 3, 4]
        losses = [loss for event in own for loss in event.loss]
        accuracies = [accuracy for event in own for accuracy in event.accuracy]
        assert finished.train_loss == pytest.approx(np.mean(losses), rel=1e-5)
        assert finished.train_accuracy == pytest.approx(np.mean(accuracies))
        assert finished.step == (finished.epoch + 1) * STEPS_PER_EPOCH
        confusion = np.array(finished.confusion)
        assert confusion.sum() == 4
        assert finished.validation_accuracy == pytest.approx(np.trace(confusion) / confusion.sum())


def test_an_epochs_means_do_not_depend_on_how_many_steps_are_added_up_at_once(
    tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch_sums, "SUM_EVERY", 3)
    assert train(tiny(), tmp_path, "a", show=False) == "completed"
    means = [
        [(event.train_loss, event.train_accuracy) for event in events_of(root, run) if isinstance(event, EpochFinished)]
        for root, run in ((tmp_path, "a"), (trained, "done"))
    ]
    assert np.allclose(*means)


def test_best_marks_exactly_the_epochs_that_raised_the_validation_accuracy(trained: Path) -> None:
    best = -1.0
    for event in (event for event in events_of(trained, "done") if isinstance(event, EpochFinished)):
        assert event.best == (event.validation_accuracy > best)
        best = max(best, event.validation_accuracy)
    checkpoint = torch.load(RunFolder(trained, "done").best_checkpoint, weights_only=True)
    assert checkpoint["validation_accuracy"] == pytest.approx(best)
    assert "optimizer_states" not in checkpoint


def test_the_run_folder_holds_what_the_design_names_and_nothing_else(trained: Path) -> None:
    folder = RunFolder(trained, "done")
    names = {path.name for path in folder.path.iterdir()}
    assert names == {"run.json", "events.jsonl", "train.log", "last.ckpt", "best.ckpt", "lock", "photographs.json"}
    frames = {
        f"{name}{end}"
        for name in ("initial", "epoch_0", "epoch_1", "epoch_2")
        for end in (".safetensors", ".png", "_filters.png")
    }
    predictions = {f"epoch_{epoch}_predictions.safetensors" for epoch in range(3)}
    assert {path.name for path in folder.visuals.iterdir()} == frames | predictions
    assert {path.name for path in trained.iterdir()} == {"checkpoints", "visuals"}
    manifest = folder.read_manifest()
    assert manifest is not None
    assert manifest.data == "demo faces"
    assert manifest.layers == ["conv1", "conv2", "conv3"]
    assert manifest.parameters > 0


def test_the_photographs_of_a_run_are_listed(trained: Path) -> None:
    photographs = read_photographs(RunFolder(trained, "done"))
    assert photographs is not None
    assert (len(photographs.validation), len(photographs.train)) == (4, 16)
    assert all(re.fullmatch(r"(female|male)/demo_\d{5}\.jpg", name) for name in photographs.validation)
    with open_frame(RunFolder(trained, "done").frame_path(0)) as frame:
        assert set(frame.info.probe_names) <= set(photographs.validation)


def test_a_frame_holds_the_probes_as_the_network_saw_them_after_the_epoch(trained: Path) -> None:
    folder = RunFolder(trained, "done")
    with open_frame(folder.frame_path(2)) as frame:
        assert (frame.info.epoch, frame.info.global_step) == (2, 3 * STEPS_PER_EPOCH)
        assert frame.info.layers == ["conv1", "conv2", "conv3"]
        assert frame.info.maps_of["conv2"] == "conv2, bn2, relu2"
        assert frame.probe_image(1).shape == (32, 32, 3)
        assert frame.tensor("probe/probabilities").sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
        maps, low, high = frame.maps("conv1", 1)
        assert maps.shape == (4, 16, 16)
        assert (low >= 0).all()
        weights = torch.load(folder.last_checkpoint, weights_only=True)["state_dict"]["network.conv3.weight"]
        assert np.array_equal(frame.tensor("filters/conv3"), weights.numpy())
        stats = frame.tensor("stats/conv1", 1)
        assert stats[:, 3] == pytest.approx(high, abs=1e-5)


def test_a_file_exists_before_it_is_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path, "a")
    announced: list[str] = []
    original = JournalWriter.write

    def write(self: JournalWriter, *events: Event) -> None:
        for event in events:
            if isinstance(event, FrameSaved):
                names = [event.file, *event.pictures]
                assert all((folder.visuals / name).stat().st_size for name in names)
                announced.extend(names)
            if isinstance(event, PredictionsSaved):
                assert read_predictions(folder.visuals / event.file).epoch == event.epoch
                announced.append(event.file)
            if isinstance(event, CheckpointSaved):
                checkpoint = torch.load(folder.path / event.file, weights_only=True)
                assert checkpoint["global_step"] >= event.step
                announced.append(event.file)
        original(self, *events)

    monkeypatch.setattr(JournalWriter, "write", write)
    assert train(tiny(epochs=2), tmp_path, "a", show=False) == "completed"
    names = {"epoch_0.safetensors", "epoch_1_filters.png", "last.ckpt", "best.ckpt", "epoch_1_predictions.safetensors"}
    assert names <= set(announced)
    assert announced.count("last.ckpt") == 2


@pytest.mark.parametrize(("every", "epochs"), [(0, []), (2, [INITIAL, 0, 2, 3]), (3, [INITIAL, 0, 3])])
def test_frames_are_saved_every_so_many_epochs_and_at_the_last(tmp_path: Path, every: int, epochs: list[int]) -> None:
    train(tiny(epochs=4, visualize_every=every), tmp_path, "a", show=False)
    assert RunFolder(tmp_path, "a").frame_epochs() == epochs


def test_a_loss_that_is_not_a_number_arrives_as_such_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = FaceGenderModule.training_step

    def training_step(self: FaceGenderModule, batch: Any, batch_idx: int) -> dict[str, Any]:
        output = original(self, batch, batch_idx)
        scale = torch.tensor(math.nan if self.global_step >= 5 else 1.0)
        return {**output, **{name: output[name] * scale for name in ("loss", "loss_sum_and_correct")}}

    monkeypatch.setattr(FaceGenderModule, "training_step", training_step)
    assert train(tiny(on_nan="continue", epochs=2), tmp_path, "a", show=False) == "completed"
    events = events_of(tmp_path, "a")
    losses = losses_of(events)
    assert math.isfinite(losses[5])
    assert math.isnan(losses[6])
    finished = [event for event in events if isinstance(event, EpochFinished)]
    assert math.isnan(finished[1].train_loss)
    assert math.isnan(finished[1].validation_loss)
    assert RunFolder(tmp_path, "a").frame_epochs() == [INITIAL, 0, 1]


def test_training_does_not_wait_for_a_journal_that_cannot_be_written_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_all, waited = threading.Event(), []
    original = JournalWriter.write

    def write(self: JournalWriter, *events: Event) -> None:
        if threading.current_thread().name == "journal":
            waited.append(trained_all.wait(60))
        original(self, *events)

    monkeypatch.setattr(JournalWriter, "write", write)
    monkeypatch.setattr(recorder.RunRecorder, "on_train_end", lambda *_: trained_all.set())
    assert train(tiny(), tmp_path, "a", show=False) == "completed"
    assert all(waited)
    events = events_of(tmp_path, "a")
    assert sorted(losses_of(events)) == list(range(1, 3 * STEPS_PER_EPOCH + 1))
    # What had piled up went into few lines.
    assert sum(isinstance(event, Steps) for event in events) <= 6


_inside: list[str] = []
_opened: list[str] = []


def _audit(name: str, arguments: tuple[object, ...]) -> None:
    if name == "open" and _inside and threading.current_thread() is threading.main_thread():
        _opened.append(f"{_inside[-1]}: {arguments[0]}")


def test_the_recorder_opens_no_file_and_waits_for_no_number_on_the_training_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sys.addaudithook(_audit)  # it cannot be taken off again, but is idle outside of this test
    hooks = (
        "on_train_batch_end",
        "on_validation_start",
        "on_validation_end",
        "on_train_epoch_end",
    )
    called = []
    for name in hooks:
        original = getattr(recorder.RunRecorder, name)

        def guarded(self: Any, *arguments: Any, name: str = name, original: Callable[..., None] = original) -> None:
            called.append(name)
            _inside.append(name)
            try:
                with NoWaiting():
                    original(self, *arguments)
            finally:
                _inside.pop()

        monkeypatch.setattr(recorder.RunRecorder, name, guarded)
    training_step = FaceGenderModule.training_step

    def guarded_step(self: FaceGenderModule, batch: Any, batch_idx: int) -> Any:
        with NoWaiting():
            return training_step(self, batch, batch_idx)

    monkeypatch.setattr(FaceGenderModule, "training_step", guarded_step)
    assert train(tiny(), tmp_path, "a", show=False) == "completed"
    assert set(called) == set(hooks)
    assert _opened == []


class Noting(TorchFunctionMode):
    """Takes down what torch is asked to do."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.__name__)
        return func(*args, **(kwargs or {}))


def test_the_thread_that_writes_frames_computes_nothing_with_torch_which_would_start_threads_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noting, submit = Noting(), framing.FrameThread.submit

    def noted(self: framing.FrameThread, epoch: int, make_frame: Callable[[], Any], **options: bool) -> None:
        def make_noted() -> Any:
            with noting:
                return make_frame()

        submit(self, epoch, make_noted, **options)

    monkeypatch.setattr(framing.FrameThread, "submit", noted)
    assert train(tiny(), tmp_path, "run", show=False) == "completed"
    assert noting.names <= {"detach", "float", "cpu", "numpy"}
    assert "numpy" in noting.names


def test_a_full_disk_stops_neither_training_nor_what_is_written_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    original, refusals = JournalWriter.write, [0]

    def write(self: JournalWriter, *events: Event) -> None:
        if refusals[0] < 10 and any(isinstance(event, EpochStarted | Steps) for event in events):
            refusals[0] += 1
            raise OSError(28, "No space left on device")
        original(self, *events)

    monkeypatch.setattr(JournalWriter, "write", write)
    monkeypatch.setattr("facegender.training.threads.journal.RETRY_EVERY_S", 0.0)
    assert train(tiny(), tmp_path, "a", show=False) == "completed"
    assert sorted(losses_of(events_of(tmp_path, "a"))) == list(range(1, 3 * STEPS_PER_EPOCH + 1))
    complaints = [line for line in capfd.readouterr().err.splitlines() if "cannot be written" in line]
    assert len(complaints) == 1
    assert "No space left" in complaints[0]


def test_durations_are_not_taken_from_a_clock_that_somebody_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(2_000_000_000, 0, -3600))
    monkeypatch.setattr("facegender.training.callbacks.recorder.time.time", lambda: float(next(clock)))
    assert train(tiny(epochs=1), tmp_path, "a", show=False) == "completed"
    events = events_of(tmp_path, "a")
    (finished,) = [event for event in events if isinstance(event, EpochFinished)]
    assert 0 < finished.seconds < 600
    assert finished.images_per_second > 0
    assert all(event.images_per_second > 0 for event in events if isinstance(event, Steps))


class NvidiaLibrary:
    """NVIDIA's library on a machine with some GPUs, which it finds by UUID."""

    NVMLError = type("NVMLError", (Exception,), {})
    utilisations = {"MIG-cc": None, "GPU-cc": 90, "GPU-aa": 10, "GPU-bb": 50}

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid not in self.utilisations:
            raise self.NVMLError("Not Found")
        return uuid

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:
        return SimpleNamespace(used=11, total=40 if "MIG" in handle else 139)

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> SimpleNamespace:
        if self.utilisations[handle] is None:
            raise self.NVMLError("Not Supported")
        return SimpleNamespace(gpu=self.utilisations[handle])


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three GPUs as torch numbers them: one instance of a divided GPU, a whole one, and one without a driver."""
    properties = [SimpleNamespace(name="NVIDIA H200", uuid=uuid) for uuid in ("cc", "bb", "dd")]
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties.__getitem__)
    monkeypatch.setitem(sys.modules, "pynvml", NvidiaLibrary())


def test_a_gpu_that_does_not_tell_its_utilisation_still_tells_its_memory(gpus: None) -> None:
    line = decode(encode(sample_system([0])))
    assert isinstance(line, System)
    (gpu,) = line.gpus
    assert (gpu.name, gpu.memory_used_bytes, gpu.memory_total_bytes) == ("NVIDIA H200", 11, 40)
    assert math.isnan(gpu.utilisation_percent)


def test_the_gpus_shown_are_those_that_the_run_uses(gpus: None) -> None:
    assert sample_system().gpus == []
    (gpu,) = sample_system([1, 2]).gpus
    assert (gpu.index, gpu.memory_total_bytes, gpu.utilisation_percent) == (1, 139, 50)


def test_frames_that_cannot_be_saved_are_a_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def write_frame(path: Path, frame: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(framing, "write_frame", write_frame)
    assert train(tiny(), tmp_path, "a", show=False) == "completed"
    events = events_of(tmp_path, "a")
    errors = [event.text for event in events if isinstance(event, Notice) and event.level == "error"]
    weights = ["the initial weights", "epoch 1", "epoch 2", "epoch 3"]
    assert [text.split(" could")[0] for text in errors] == [f"feature maps of {name}" for name in weights]
    assert capfd.readouterr().err.count("No space left") == 1
    assert not any(isinstance(event, FrameSaved) for event in events)


def test_pictures_are_recorded_on_request_while_a_run_trains(
    tmp_path: Path, at_step: Callable[[int, Callable[[], None]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facegender.training.threads.journal.POLL_EVERY_S", 0.02)
    folder = RunFolder(tmp_path, "a")

    def ask() -> None:
        send_request(folder, FrameRequest())
        (folder.requests_path / "odd.json").write_text('{"type": "dance"}')
        until = time.monotonic() + 20
        while list(folder.requests_path.iterdir()) and time.monotonic() < until:
            time.sleep(0.01)

    at_step(5, ask)
    assert train(tiny(), tmp_path, "a", show=False) == "completed"
    events = events_of(tmp_path, "a")
    answers = {event.request: (event.done, event.outcome) for event in events if isinstance(event, RequestDone)}
    assert answers["frame"] == (True, "feature maps of epoch 2 after step 6 are recorded")
    assert answers[""] == (
        False,
        "odd.json is no request that this version knows (Invalid value 'dance' - at `$.type`)",
    )
    frames = [(event.epoch, event.step) for event in events if isinstance(event, FrameSaved)]
    assert frames == [(INITIAL, 0), (0, 4), (1, 6), (1, 8), (2, 12)]


def test_newer_frames_are_skipped_with_a_notice_when_the_disk_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_all = threading.Event()
    original = framing.write_frame

    def write_frame(path: Path, frame: Any) -> None:
        assert trained_all.wait(60)
        original(path, frame)

    monkeypatch.setattr(framing, "write_frame", write_frame)
    monkeypatch.setattr(recorder.RunRecorder, "on_train_end", lambda *_: trained_all.set())
    assert train(tiny(epochs=7), tmp_path, "a", show=False) == "completed"
    events = events_of(tmp_path, "a")
    assert RunFolder(tmp_path, "a").frame_epochs() == [INITIAL, 0, 1, 2, 6]
    notices = [event.text for event in events if isinstance(event, Notice) and "left out" in event.text]
    assert [text.split(" are")[0] for text in notices] == [f"feature maps of epoch {epoch}" for epoch in (4, 5, 6)]
    assert isinstance(events[-1], RunFinished)


def test_a_quiet_trainer_still_gives_a_sign_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from facegender.training.stop import StopSwitch

    monkeypatch.setattr("facegender.training.threads.journal.HEARTBEAT_S", 0.05)
    monkeypatch.setattr("facegender.training.threads.journal.POLL_EVERY_S", 0.02)
    monkeypatch.setattr("facegender.training.threads.journal.SYSTEM_EVERY_S", 0.3)
    seen: list[Event] = []
    folder = RunFolder(tmp_path, "a")
    folder.path.mkdir(parents=True)
    folder.write_manifest(recorded.manifest(folder))
    journal = JournalThread(folder, StopSwitch(), seen.append)
    journal.start()
    until = time.monotonic() + 10
    while not {"heartbeat", "system"} <= set(kinds(list(seen))) and time.monotonic() < until:  # type: ignore[arg-type]
        time.sleep(0.01)
    journal.close()
    assert {"heartbeat", "system"} <= set(kinds(seen))  # type: ignore[arg-type]  # a list of the base class
    system = next(event for event in seen if isinstance(event, System))
    assert 0 < system.process_memory_bytes < system.memory_total_bytes


def test_steps_that_were_dropped_because_the_disk_was_too_slow_are_counted_in_the_journal(tmp_path: Path) -> None:
    folder = recorded.write_run(tmp_path, "a", epochs_done=0)
    journal = JournalThread(folder, StopSwitch())
    steps = EpochSteps(epoch=0, steps_before=0, began=time.perf_counter(), devices=1, done=deque())
    journal.start()
    journal.put(steps)
    for batch in (3, 9):
        steps.done.append(StepDone(batch, 4, torch.tensor([1.0, 2.0]), time.perf_counter()))
        while steps.done:
            time.sleep(0.01)
    journal.close()
    notices = [event.text for event in events_of(tmp_path, "a") if isinstance(event, Notice)]
    assert "the journal lost 5 steps: the disk was too slow" in notices
