"""Runs on two devices: two processes on the processor, which talk as GPUs would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from facegender.data.datamodule import FaceDataModule
from facegender.data.demo.faces import write_demo_faces
from facegender.data.loader import ordered_batches
from facegender.interpret.layers import trace
from facegender.interpret.top_patches import ChannelTracker
from facegender.network.module import FaceGenderModule
from facegender.runs.events import EpochFinished, RequestDone, RunStarted
from facegender.runs.folder import RunFolder, list_runs
from facegender.runs.frames import open_frame
from facegender.runs.requests import CheckpointRequest, SetRequest, send_request
from facegender.training.run import train
from tests.ml.conftest import events_of, losses_of, predictions_of, tiny

pytestmark = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) < 2,
    reason="needs two processors",
)

OPTIONS = [
    "--image-size=32",
    "--widths=4,8,8",
    "--batch-size=4",
    "--probes=2",
    "--accelerator=cpu",
    "--precision=32",
    "--epochs=1",
]


def started(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", *command]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, env=environment, stdin=subprocess.DEVNULL)


def run(*command: str, root: Path) -> None:
    done = started(*command, *OPTIONS, f"--root={root}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """23 + 20 faces: 5 + 4 of them validate, which two devices cannot share evenly, in one and in two batches."""
    folder = tmp_path_factory.mktemp("faces")
    write_demo_faces(folder / "faces", 23, 32, 1)
    for path in sorted((folder / "faces" / "male").iterdir())[:3]:
        path.unlink()
    return folder / "faces"


def test_an_epochs_numbers_are_those_of_all_devices(tmp_path: Path, faces: Path) -> None:
    run("facegender", "train", "--data", str(faces), "--devices=2", "--strategy=ddp", "--run=a", root=tmp_path)
    events = events_of(tmp_path, "a")
    (finished,) = [event for event in events if isinstance(event, EpochFinished)]

    # Of the 34 photographs each device has trained 17, and the journal's steps are the first device's.
    own = sum(loss * images for loss, images in zip(losses_of(events).values(), [4, 4, 4, 4, 1], strict=True)) / 17
    assert finished.train_loss != pytest.approx(own, rel=1e-3)
    assert (finished.train_accuracy * 34) % 1 == pytest.approx(0, abs=1e-6)

    # The same weights in one process tell the same of the same photographs.
    config = tiny(demo=False, data=str(faces))
    data = FaceDataModule(config, tmp_path)
    data.prepare()
    module = FaceGenderModule(config, finished.classes)
    checkpoint = torch.load(RunFolder(tmp_path, "a").last_checkpoint, weights_only=True)
    module.load_state_dict(checkpoint["state_dict"])
    module.eval()
    tracker = ChannelTracker(trace(module.network, torch.rand(1, 3, 32, 32)))
    with torch.inference_mode(), tracker.watch():
        for index, batch in enumerate(data.val_dataloader()):
            module.validation_step(batch, index)
            tracker.add(4 * index + torch.arange(len(batch[1])))
    module.on_validation_epoch_end()
    alone = module.validation_results
    (predictions,) = predictions_of(tmp_path, "a")
    with torch.inference_mode():
        logits = torch.cat([module(images) for images, _ in data.val_dataloader()])
    assert np.allclose(predictions.logits, logits.numpy(), atol=1e-5)
    assert [finished.classes[label] for label in predictions.labels] == [
        name.partition("/")[0] for name in data.photographs.validation
    ]
    assert np.isfinite(predictions.margins).sum() == 34
    assert [finished.classes[label] for label in predictions.train_labels] == [
        name.partition("/")[0] for name in data.photographs.train
    ]
    assert sum(map(sum, finished.confusion)) == 9
    assert finished.confusion == alone["confusion"].tolist()
    assert finished.validation_loss == pytest.approx(float(alone["loss"]), rel=1e-5)
    assert finished.f1 == pytest.approx(alone["f1"].tolist())
    with open_frame(RunFolder(tmp_path, "a").frame_path(0)) as frame:
        for name, expected in tracker.result().items():
            units, top = expected.arrays()
            assert np.allclose(frame.tensor(f"units/{name}"), units, atol=1e-5)
            assert np.allclose(frame.tensor(f"top/{name}/value"), top.value, atol=1e-5)
            assert np.array_equal(frame.tensor(f"top/{name}/image"), top.image)


def test_averaged_weights_are_the_same_on_all_devices_and_a_run_of_two_goes_on_alone(
    tmp_path: Path, faces: Path
) -> None:
    command = ["facegender", "train", "--data", str(faces), "--recipe=tuned", "--devices=2", "--strategy=ddp"]
    run(*command, "--run=a", root=tmp_path)
    (finished,) = [event for event in events_of(tmp_path, "a") if isinstance(event, EpochFinished)]
    assert sum(map(sum, finished.confusion)) == 9
    checkpoint = torch.load(RunFolder(tmp_path, "a").last_checkpoint, weights_only=True)
    assert checkpoint["averaged_steps"] == checkpoint["global_step"] == 5
    changes = {"epochs": 2, "devices": "1", "strategy": "auto"}
    assert train(tiny(), tmp_path, resume="a", changes=changes, show=False) == "completed"
    # Two epochs of nine steps, as if one device had trained both: the schedule has come to its end.
    checkpoint = torch.load(RunFolder(tmp_path, "a").last_checkpoint, weights_only=True)
    assert checkpoint["lr_schedulers"][0]["last_epoch"] == 18


def test_a_request_changes_all_processes_at_the_same_batch(tmp_path: Path, faces: Path) -> None:
    """If the second process kept its learning rate, its weights would differ, and so would its predictions."""
    folder = RunFolder(tmp_path, "a")
    folder.path.mkdir(parents=True)
    send_request(folder, SetRequest(learning_rate=2e-2, epochs=2))
    send_request(folder, CheckpointRequest())
    run("facegender", "train", "--data", str(faces), "--devices=2", "--strategy=ddp", "--run=a", root=tmp_path)
    events = events_of(tmp_path, "a")
    changed, saved = [event for event in events if isinstance(event, RequestDone)]
    assert (changed.done, changed.step, changed.learning_rate, changed.epochs) == (True, 1, 2e-2, 2)
    assert (saved.done, saved.outcome) == (True, "last.ckpt of epoch 1 after step 1 is saved")
    finished = [event for event in events if isinstance(event, EpochFinished)]
    assert [event.epoch for event in finished] == [0, 1]

    config = tiny(demo=False, data=str(faces))
    data = FaceDataModule(config, tmp_path)
    data.prepare()
    module = FaceGenderModule(config, finished[0].classes)
    module.load_state_dict(torch.load(folder.last_checkpoint, weights_only=True)["state_dict"])
    module.eval()
    with torch.inference_mode():
        logits = torch.cat([module(images) for images, _ in data.val_dataloader()])
    assert np.allclose(predictions_of(tmp_path, "a")[-1].logits, logits.numpy(), atol=1e-5)


def test_the_rest_of_an_epoch_is_not_divided_among_other_devices(
    tmp_path: Path, at_step: Callable[[int, Callable[[], None]], None]
) -> None:
    at_step(1, lambda: signal.raise_signal(signal.SIGTERM))
    assert train(tiny(), tmp_path, "a", show=False) == "stopped"
    done = started("facegender", "train", "--resume=a", "--devices=2", "--strategy=ddp", f"--root={tmp_path}")
    assert done.returncode == 2
    assert "in the middle of an epoch on 1 device, and there are 2 now" in done.stderr
    assert RunFolder(tmp_path, "a").state() == "stopped"
    assert train(tiny(), tmp_path, resume="a", show=False) == "completed"


def test_each_device_drops_neurons_of_its_own(tmp_path: Path, faces: Path) -> None:
    config = tiny(demo=False, data=str(faces))
    drawn = []
    for rank in (0, 1):
        module = FaceGenderModule(config, ["female", "male"])
        module.trainer = SimpleNamespace(world_size=2, current_epoch=3, global_rank=rank)  # type: ignore[assignment]
        torch.manual_seed(1)
        module.on_train_batch_start(None, 2)
        drawn.append(torch.rand(4))
    assert not torch.equal(*drawn)


def test_torchrun_trains_one_run_on_as_many_devices_as_it_started_processes(tmp_path: Path) -> None:
    run(
        "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m",
        "facegender", "train", "--demo", "--demo-faces=10", root=tmp_path,
    )  # fmt: skip
    (folder,) = list_runs(tmp_path)
    assert folder.state() == "completed"
    (started,) = [event for event in events_of(tmp_path, folder.name) if isinstance(event, RunStarted)]
    assert started.steps_per_epoch == 2  # of 16 photographs, 4 a step on each of two devices
    assert [path.name for path in (tmp_path / "visuals").iterdir()] == [folder.name]


@pytest.mark.parametrize(("count", "batch_size", "world"), [(9, 4, 2), (1, 4, 2), (3, 1, 2), (5, 2, 8)])
def test_every_rank_validates_equally_many_batches_and_all_of_them_each_photograph_once(
    count: int, batch_size: int, world: int
) -> None:
    indices = torch.arange(count).numpy()
    ranks = [ordered_batches(indices, batch_size, rank=rank, world=world) for rank in range(world)]
    assert len({len(batches) for batches in ranks}) == 1
    assert sorted(index for batches in ranks for batch in batches for index in batch) == list(range(count))


def test_an_empty_batch_counts_for_nothing() -> None:
    config = tiny()
    module = FaceGenderModule(config, ["female", "male"]).eval()
    module.validation_step((torch.zeros(0, 3, 32, 32, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64)), 0)
    module.validation_step((torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.ones(1, dtype=torch.int64)), 1)
    module.on_validation_epoch_end()
    assert int(module.validation_results["confusion"].sum()) == 1
    assert torch.isfinite(module.validation_results["loss"])
