"""`RunRecorder` in the scripts of others: any LightningModule, any data loader, and training is never disturbed."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.profilers import PassThroughProfiler, SimpleProfiler
from pytorch_lightning.tuner import Tuner
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from facegender import RunRecorder
from facegender.evaluation.suspects import rank_suspects
from facegender.runs.checkpoints import find_checkpoint
from facegender.runs.config import TrainConfig
from facegender.runs.events import (
    AnyEvent,
    EpochFinished,
    EpochStarted,
    HealthMeasured,
    Notice,
    RequestDone,
    RunFinished,
    RunStarted,
    Steps,
)
from facegender.runs.folder import INITIAL, RunFolder
from facegender.runs.frames import open_frame
from facegender.runs.requests import CheckpointRequest, FrameRequest, SetRequest, StopRequest, send_request
from facegender.support.errors import UserError
from facegender.training.run import train
from facegender.training.threads import watchdog
from tests.ml.conftest import NoWaiting, events_of, kinds, losses_of, predictions_of

CLASSES = ["cat", "dog", "fox"]


def small_network(channels: int = 3, classes: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(0.2), nn.Linear(4, classes),
    )  # fmt: skip


class Module(LightningModule):
    """What people write: a network, a loss, some logged numbers."""

    def __init__(self, network: nn.Module | None = None) -> None:
        super().__init__()
        self.model = network or small_network()
        self.losses: list[float] = []

    def forward(self, images: Tensor) -> Any:
        return self.model(images)

    def logits(self, images: Tensor) -> Tensor:
        output: Tensor = self(images)
        return output

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = F.cross_entropy(self.logits(batch[0]), batch[1])
        self.losses.append(loss.item())
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        logits = self.logits(batch[0])
        self.log("val_loss", F.cross_entropy(logits, batch[1]))
        self.log("val_accuracy", (logits.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.05)


def loader(count: int = 12, shape: tuple[int, ...] = (3, 12, 12), batch_size: int = 4) -> DataLoader[Any]:
    labels = torch.arange(count) % len(CLASSES)
    images = torch.randn(count, *shape, generator=torch.Generator().manual_seed(1)) + labels.reshape(-1, 1, 1, 1)
    return DataLoader(TensorDataset(images, labels), batch_size)


def fit(root: Path, module: LightningModule, *loaders: Any, name: str = "mine", **options: Any) -> Trainer:
    """Train with a recorder, as a script would."""
    recorder = {key: options.pop(key) for key in ("probes", "visualize_every", "mean", "std") if key in options}
    callbacks = [*options.pop("callbacks", []), RunRecorder(name, classes=CLASSES, root=root, **recorder)]
    ckpt_path = options.pop("ckpt_path", None)
    trainer = make_trainer(callbacks=callbacks, **options)
    trainer.fit(module, *(loaders or (loader(), loader())), ckpt_path=ckpt_path)
    return trainer


def make_trainer(**options: Any) -> Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "max_epochs": 1,
    }
    return Trainer(**(quiet | options))


def of_kind(events: list[AnyEvent], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def notices(root: Path, run: str = "mine") -> list[str]:
    return [event.text for event in of_kind(events_of(root, run), Notice)]


@pytest.fixture(autouse=True)
def _leaves_nothing_running() -> Iterator[None]:
    yield
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"journal", "frames"}


def test_a_script_records_curves_predictions_and_frames(tmp_path: Path) -> None:
    module = Module()
    fit(tmp_path, module, max_epochs=2)
    folder = RunFolder(tmp_path, "mine")
    events = events_of(tmp_path, "mine")
    elsewhere = ("system", "frame_saved", "predictions_saved", "notice", "heartbeat")  # reported by other threads
    telling = [kind for kind in kinds(events) if kind not in elsewhere]
    compact = [kind for index, kind in enumerate(telling) if kind != telling[index - 1] or kind != "steps"]
    epoch = ["epoch_started", "steps", "layer_health", "epoch_finished"]
    assert compact == ["run_started", *epoch * 2, "run_finished"]
    assert notices(tmp_path) == []
    (started,) = of_kind(events, RunStarted)
    assert (started.epochs, started.steps_per_epoch, started.batch_size, started.image_size) == (2, 3, 4, 12)
    assert (started.classes, started.network) == (CLASSES, "Module")
    assert [layer.name for layer in started.layers] == ["model.0"]
    assert list(losses_of(events).values()) == pytest.approx(module.losses, rel=1e-5)
    for finished in of_kind(events, EpochFinished):
        assert finished.classes == CLASSES
        assert finished.metrics["val_loss"] == pytest.approx(finished.validation_loss)
        assert finished.metrics["val_accuracy"] == pytest.approx(finished.validation_accuracy)
        assert np.sum(finished.confusion) == 12
        assert np.trace(finished.confusion) / 12 == pytest.approx(finished.validation_accuracy)
    assert folder.state() == "completed"
    assert folder.frame_epochs() == [INITIAL, 0, 1]
    with open_frame(folder.frame_path(1)) as frame:
        assert frame.info.classes == CLASSES
        assert set(frame.tensor("probe/labels").tolist()) == {0, 1, 2}
        assert np.array_equal(frame.tensor("filters/model.0"), module.model[0].weight.detach().numpy())  # type: ignore[index]


def test_what_the_module_logs_at_the_end_of_an_epoch_belongs_to_that_epoch(tmp_path: Path) -> None:
    class Late(Module):
        def on_train_epoch_end(self) -> None:
            self.log("late", float(self.current_epoch))

    fit(tmp_path, Late(), max_epochs=3)
    assert [event.metrics["late"] for event in of_kind(events_of(tmp_path, "mine"), EpochFinished)] == [0, 1, 2]


def test_training_is_the_same_to_the_last_bit_with_and_without_a_recorder(tmp_path: Path) -> None:
    weights = []
    for callbacks in ([], [RunRecorder("mine", classes=CLASSES, root=tmp_path)]):
        torch.manual_seed(7)
        module = Module()
        shuffled = DataLoader(loader().dataset, 4, shuffle=True)
        module.model[0].weight.requires_grad = False  # type: ignore[index]
        make_trainer(callbacks=callbacks, max_epochs=3).fit(module, shuffled, loader())
        weights.append([*module.state_dict().values(), torch.rand(3)])
        assert not module.model[0].weight.requires_grad  # type: ignore[index]
        assert not any(part._forward_hooks for part in module.modules())
    assert all(torch.equal(*pair) for pair in zip(*weights, strict=True))


@pytest.mark.parametrize("kind", ["dictionary", "tuple", "calls the inner network"])
def test_logits_are_found_in_whatever_the_network_returns(tmp_path: Path, kind: str) -> None:
    class Wrapped(Module):
        def forward(self, images: Tensor) -> Any:
            logits = self.model(images)
            return {"features": images, "logits": logits} if kind == "dictionary" else (logits, images)

        def logits(self, images: Tensor) -> Tensor:
            if kind == "calls the inner network":
                return self.model(images)  # type: ignore[no-any-return]
            return self(images)["logits" if kind == "dictionary" else 0]  # type: ignore[no-any-return]

    fit(tmp_path, Wrapped())
    (finished,) = of_kind(events_of(tmp_path, "mine"), EpochFinished)
    assert finished.validation_accuracy == pytest.approx(finished.metrics["val_accuracy"])
    assert 0 <= finished.train_accuracy <= 1
    assert notices(tmp_path) == []
    assert RunFolder(tmp_path, "mine").frame_epochs() == [INITIAL, 0]


@pytest.mark.parametrize(("images", "labels"), [("pixel_values", "labels"), ("image", "target"), ("x", "y")])
def test_batches_may_be_dictionaries(tmp_path: Path, images: str, labels: str) -> None:
    def collate(items: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        columns = [torch.stack(column) for column in zip(*items, strict=True)]
        return {labels: columns[1], "weight": torch.ones(len(items)), images: columns[0]}

    class FromDictionary(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return {"loss": super().training_step((batch[images], batch[labels]), batch_idx)}

        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            super().validation_step((batch[images], batch[labels]), batch_idx)

    module = FromDictionary()
    data = DataLoader(loader().dataset, 4, collate_fn=collate)  # type: ignore[arg-type]
    fit(tmp_path, module, data, data)
    events = events_of(tmp_path, "mine")
    assert list(losses_of(events).values()) == pytest.approx(module.losses, rel=1e-5)
    (finished,) = of_kind(events, EpochFinished)
    assert finished.validation_accuracy == pytest.approx(finished.metrics["val_accuracy"])
    assert notices(tmp_path) == []


def test_grouped_and_dilated_convolutions_are_shown(tmp_path: Path) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=2, dilation=2), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=6),
        nn.Conv2d(6, 8, 1, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip
    fit(tmp_path, Module(network))
    (started,) = of_kind(events_of(tmp_path, "mine"), RunStarted)
    assert [(layer.channels, layer.size, layer.kernel) for layer in started.layers] == [
        (6, (12, 12), (3, 3, 3)),
        (6, (10, 10), (1, 3, 3)),
        (8, (10, 10), (3, 1, 1)),
    ]
    assert RunFolder(tmp_path, "mine").frame_epochs() == [INITIAL, 0]


@pytest.mark.parametrize(("channels", "said"), [(1, []), (2, ["mean"]), (5, ["first three"])])
def test_images_may_have_any_number_of_channels(tmp_path: Path, channels: int, said: list[str]) -> None:
    data = loader(shape=(channels, 10, 14))
    fit(tmp_path, Module(small_network(channels)), data, data, mean=0.5, std=0.5)
    with open_frame(RunFolder(tmp_path, "mine").frame_path(0)) as frame:
        assert frame.probe_image(0).shape == (10, 14, 3)
    assert all(word in text for word, text in zip(said, notices(tmp_path), strict=True))


def test_accumulated_gradients_do_not_divide_the_recorded_loss(tmp_path: Path) -> None:
    module = Module()
    fit(tmp_path, module, accumulate_grad_batches=2, max_epochs=2)
    events = events_of(tmp_path, "mine")
    assert losses_of(events) == pytest.approx(dict(enumerate(module.losses, 1)), rel=1e-5)
    (first, _) = of_kind(events, EpochFinished)
    assert first.train_loss == pytest.approx(np.mean(module.losses[:3]), rel=1e-5)


def test_with_manual_optimisation_the_logged_loss_is_recorded(tmp_path: Path) -> None:
    class Manual(Module):
        automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:
            optimizer: Any = self.optimizers()
            loss = super().training_step(batch, batch_idx)
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()

    module = Manual()
    fit(tmp_path, module)
    assert list(losses_of(events_of(tmp_path, "mine")).values()) == pytest.approx(module.losses, rel=1e-5)


def test_a_loss_that_nobody_tells_is_missing_with_one_notice(tmp_path: Path) -> None:
    class Silent(Module):
        automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:
            pass

    fit(tmp_path, Silent())
    assert all(map(math.isnan, losses_of(events_of(tmp_path, "mine")).values()))
    (loss, accuracy) = sorted(notices(tmp_path), reverse=True)
    assert "training loss is not known" in loss
    assert "training accuracy is not known" in accuracy


def test_of_several_validation_loaders_the_first_is_recorded(tmp_path: Path) -> None:
    fit(tmp_path, Module(), loader(), [loader(9), loader(24)])
    (finished,) = of_kind(events_of(tmp_path, "mine"), EpochFinished)
    assert np.sum(finished.confusion) == 9
    assert finished.validation_accuracy == pytest.approx(finished.metrics["val_accuracy/dataloader_idx_0"])
    assert finished.validation_loss == pytest.approx(finished.metrics["val_loss/dataloader_idx_0"])
    assert notices(tmp_path) == ["validation loaders after the first cannot be recorded: only the first one is shown"]


def test_limited_validation_counts_what_was_validated_and_the_sanity_check_counts_for_nothing(tmp_path: Path) -> None:
    fit(tmp_path, Module(), limit_val_batches=2, num_sanity_val_steps=2)
    events = events_of(tmp_path, "mine")
    (finished,) = of_kind(events, EpochFinished)
    assert np.sum(finished.confusion) == 8
    assert kinds(events).count("epoch_finished") == 1


def test_without_validation_there_are_curves_and_frames_but_no_figures(tmp_path: Path) -> None:
    fit(tmp_path, Module(), loader())
    (finished,) = of_kind(events_of(tmp_path, "mine"), EpochFinished)
    assert math.isnan(finished.validation_loss)
    assert math.isnan(finished.validation_accuracy)
    assert math.isnan(finished.macro_f1)
    assert (finished.confusion, finished.f1, finished.best) == ([], [], False)
    assert math.isfinite(finished.train_loss)
    assert finished.images_per_second > 0
    assert RunFolder(tmp_path, "mine").frame_epochs() == [INITIAL, 0]


def test_an_epoch_without_validation_does_not_repeat_the_figures_of_another(tmp_path: Path) -> None:
    fit(tmp_path, Module(), max_epochs=3, check_val_every_n_epoch=2)
    known = [
        (math.isfinite(event.validation_loss), math.isfinite(event.validation_accuracy), "val_loss" in event.metrics)
        for event in of_kind(events_of(tmp_path, "mine"), EpochFinished)
    ]
    assert known == [(False,) * 3, (True,) * 3, (False,) * 3]


def test_several_validations_in_an_epoch_give_one_frame(tmp_path: Path) -> None:
    fit(tmp_path, Module(), loader(24), loader(), val_check_interval=2)
    assert kinds(events_of(tmp_path, "mine")).count("frame_saved") == 2  # of the initial weights, and of the epoch


def test_a_fast_dev_run_is_recorded(tmp_path: Path) -> None:
    fit(tmp_path, Module(), fast_dev_run=True)
    assert RunFolder(tmp_path, "mine").state() == "completed"
    assert [len(event.step) for event in of_kind(events_of(tmp_path, "mine"), Steps)] == [1]


def test_an_error_in_validation_ends_the_run_as_failed_and_reaches_the_script(tmp_path: Path) -> None:
    class Broken(Module):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            if not self.trainer.sanity_checking:
                raise ValueError("no such\nthing")

    module = Broken()
    with pytest.raises(ValueError, match="no such"):
        fit(tmp_path, module)
    folder = RunFolder(tmp_path, "mine")
    assert folder.state() == "failed"
    assert events_of(tmp_path, "mine")[-1].error == "ValueError: no such thing"  # type: ignore[union-attr]
    assert not folder.lock.is_held_by_other()
    assert not any(part._forward_hooks for part in module.modules())


def test_an_interrupted_script_has_stopped(tmp_path: Path) -> None:
    class Interrupted(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(SystemExit):
        fit(tmp_path, Interrupted())
    assert RunFolder(tmp_path, "mine").state() == "stopped"


def test_a_network_without_convolutions_has_curves_only_and_one_notice(tmp_path: Path) -> None:
    fit(tmp_path, Module(nn.Sequential(nn.Flatten(), nn.Linear(432, 3))))
    (started,) = of_kind(events_of(tmp_path, "mine"), RunStarted)
    assert (started.layers, started.visualize_every) == ([], 0)
    (finished,) = of_kind(events_of(tmp_path, "mine"), EpochFinished)
    assert finished.validation_accuracy == pytest.approx(finished.metrics["val_accuracy"])
    assert notices(tmp_path) == ["feature maps cannot be recorded: the network has no convolutions (torch.nn.Conv2d)"]
    assert RunFolder(tmp_path, "mine").frame_epochs() == []


def test_a_script_that_continues_from_its_checkpoint_continues_counting(tmp_path: Path) -> None:
    trainer = fit(tmp_path, Module(), max_epochs=2)
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    fit(tmp_path, Module(), max_epochs=3, ckpt_path=tmp_path / "own.ckpt")
    events = events_of(tmp_path, "mine-2")
    (started,) = of_kind(events, RunStarted)
    assert (started.start_epoch, started.start_step, started.resumed) == (2, 6, True)
    assert sorted(losses_of(events)) == [7, 8, 9]
    assert RunFolder(tmp_path, "mine-2").frame_epochs() == [2]


def test_a_recorder_that_is_used_twice_records_two_runs(tmp_path: Path) -> None:
    recorder = RunRecorder("mine", classes=CLASSES, root=tmp_path)
    for _ in range(2):
        make_trainer(callbacks=[recorder]).fit(Module(), loader(), loader())
    for run in ("mine", "mine-2"):
        assert RunFolder(tmp_path, run).state() == "completed"
        assert len(of_kind(events_of(tmp_path, run), EpochFinished)) == 1


def test_a_recorder_that_is_listed_twice_records_one_run(tmp_path: Path) -> None:
    recorder = RunRecorder("mine", classes=CLASSES, root=tmp_path)
    trainer = make_trainer(callbacks=[recorder, recorder])
    trainer.fit(Module(), loader(), loader())
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["mine"]
    assert list(losses_of(events_of(tmp_path, "mine"))) == [1, 2, 3]
    assert notices(tmp_path) == []


def test_a_fit_that_trains_nothing_leaves_no_run(tmp_path: Path) -> None:
    trainer = fit(tmp_path, Module())
    trainer.fit(Module(), loader(), loader())
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["mine"]
    assert [path.name for path in (tmp_path / "visuals").iterdir()] == ["mine"]


def test_validating_and_testing_record_nothing(tmp_path: Path) -> None:
    trainer = make_trainer(callbacks=[RunRecorder("mine", classes=CLASSES, root=tmp_path)])
    trainer.validate(Module(), loader(), verbose=False)
    assert not (tmp_path / "checkpoints").exists()


class AtStep(Callback):
    """Lets something happen after a step, and waits until a condition holds."""

    def __init__(self, step: int, action: Callable[[], None], holds: Callable[[], bool] = lambda: True) -> None:
        self.step, self.action, self.holds = step, action, holds

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.step:
            self.action()
            until = time.monotonic() + 20
            while not self.holds() and time.monotonic() < until:
                time.sleep(0.01)


@pytest.mark.parametrize("how", ["file", "request"])
def test_a_stop_request_ends_the_training_after_the_batch(tmp_path: Path, how: str) -> None:
    folder = RunFolder(tmp_path, "mine")
    recorder = RunRecorder("mine", classes=CLASSES, root=tmp_path)

    def ask() -> None:
        if how == "file":
            folder.request_stop()
        else:
            send_request(folder, StopRequest())

    def noticed() -> bool:
        sink: Any = recorder._source.sink
        return bool(sink.stop.requested)

    trainer = make_trainer(callbacks=[AtStep(4, ask, noticed), recorder], max_epochs=50)
    trainer.fit(Module(), loader(), loader())
    assert trainer.global_step == 4
    assert folder.state() == "stopped"
    assert "stop requested: training ends after this batch" in notices(tmp_path)
    assert not folder.stop_requested()
    answers = [event.request for event in of_kind(events_of(tmp_path, "mine"), RequestDone)]
    assert answers == ([] if how == "file" else ["stop"])


def test_pictures_are_recorded_on_request_after_the_next_batch(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "mine")
    recorder = RunRecorder("mine", classes=CLASSES, root=tmp_path, visualize_every=100)

    def waits() -> bool:
        sink: Any = recorder._source.sink
        return bool(sink.requests)

    ask = AtStep(4, lambda: send_request(folder, FrameRequest()), waits)
    make_trainer(callbacks=[ask, recorder], max_epochs=3).fit(Module(), loader(), loader())
    events = events_of(tmp_path, "mine")
    (answer,) = of_kind(events, RequestDone)
    assert (answer.request, answer.done) == ("frame", True)
    assert answer.outcome == "feature maps of epoch 2 after step 4 are recorded"
    saved = [(event.epoch, event.step) for event in events if kinds([event]) == ["frame_saved"]]  # type: ignore[union-attr]
    assert saved == [(INITIAL, 0), (0, 3), (1, 4), (2, 9)]


@pytest.mark.parametrize(("step", "why"), [(2, "visualize_every is 0"), (3, "the run has ended")])
def test_a_request_that_cannot_be_served_is_refused_in_a_sentence(tmp_path: Path, step: int, why: str) -> None:
    folder = RunFolder(tmp_path, "mine")
    recorder = RunRecorder("mine", classes=CLASSES, root=tmp_path, visualize_every=0)

    def waits() -> bool:
        sink: Any = recorder._source.sink
        return bool(sink.requests)

    ask = AtStep(step, lambda: send_request(folder, FrameRequest()), waits)
    callbacks = [ask, recorder] if step == 2 else [recorder, ask]
    make_trainer(callbacks=callbacks).fit(Module(), loader(), loader())
    (answer,) = of_kind(events_of(tmp_path, "mine"), RequestDone)
    assert not answer.done
    assert why in answer.outcome


class Scheduled(Module):
    """With a schedule, of which `SequentialLR` is one that sets its own rates."""

    def __init__(self, schedule: Callable[[torch.optim.Optimizer], Any], optimisers: int = 1) -> None:
        super().__init__()
        self.automatic_optimization = optimisers == 1
        self._schedule, self._optimisers = schedule, optimisers

    def configure_optimizers(self) -> Any:
        optimisers = [torch.optim.SGD(self.parameters(), 0.08) for _ in range(self._optimisers)]
        return optimisers, [self._schedule(optimiser) for optimiser in optimisers]


def answers_to(root: Path, module: LightningModule, *requests: Any, step: int = 4) -> list[RequestDone]:
    """Train two epochs of three steps, and send requests during a step."""
    folder, recorder = RunFolder(root, "mine"), RunRecorder("mine", classes=CLASSES, root=root)

    def send() -> None:
        for request in requests:
            send_request(folder, request)

    def waits() -> bool:
        sink: Any = recorder._source.sink
        return len(sink.requests) == len(requests)

    make_trainer(callbacks=[AtStep(step, send, waits), recorder], max_epochs=2).fit(module, loader(), loader())
    return of_kind(events_of(root, "mine"), RequestDone)


def test_a_script_takes_another_learning_rate_and_its_schedule_goes_on_from_it(tmp_path: Path) -> None:
    module = Scheduled(lambda optimiser: torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.5))
    (answer,) = answers_to(tmp_path, module, SetRequest(learning_rate=0.01), step=2)
    assert answer.outcome == "the learning rate is 0.01 instead of 0.08 from step 3 on"
    rates = [event.learning_rate for event in of_kind(events_of(tmp_path, "mine"), EpochStarted)]
    assert rates == [0.08, pytest.approx(0.005)]


def test_a_schedule_that_may_set_another_rate_is_named(tmp_path: Path) -> None:
    parts = torch.optim.lr_scheduler

    def schedule(optimiser: torch.optim.Optimizer) -> Any:
        return parts.SequentialLR(optimiser, [parts.ConstantLR(optimiser), parts.StepLR(optimiser, 1)], [1])

    (answer,) = answers_to(tmp_path, Scheduled(schedule), SetRequest(learning_rate=0.01))
    assert answer.done
    assert answer.outcome.endswith("from step 5 on, until its schedule (SequentialLR) sets another one")


def test_what_a_script_decides_is_refused_and_its_checkpoint_has_a_name_of_its_own(tmp_path: Path) -> None:
    epochs, saved = answers_to(tmp_path, Module(), SetRequest(epochs=9), CheckpointRequest())
    assert (epochs.done, saved.done) == (False, True)
    assert (
        epochs.outcome == "the number of epochs of this run is decided by its script: change max_epochs of its Trainer"
    )
    assert saved.outcome.startswith("requested.ckpt after step 4 is saved")
    path = RunFolder(tmp_path, "mine").path / "requested.ckpt"
    assert torch.load(path, weights_only=True)["global_step"] == 4
    trainer = make_trainer(max_epochs=2)
    trainer.fit(Module(), loader(), loader(), ckpt_path=path)
    assert trainer.global_step == 6


class SlowImages(TensorDataset):
    """As from a disk that takes longer for an image than a step."""

    def __getitem__(self, index: Any) -> Any:
        time.sleep(0.01)
        return super().__getitem__(index)


def test_a_training_that_waits_for_its_data_is_told_so_and_its_profiler_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "WAITS_OF", 4)
    monkeypatch.setattr(watchdog, "MIN_WAITS_S", 0.0)
    monkeypatch.setattr(watchdog, "STALLED", 0.4)
    images = SlowImages(*cast(TensorDataset, loader().dataset).tensors)
    trainer = fit(tmp_path, Module(), DataLoader(images, 4), loader(), max_epochs=3)
    (told,) = [text for text in notices(tmp_path) if text.startswith("waiting for data takes")]
    assert told.endswith("of a step: raise num_workers of its DataLoader")
    assert type(trainer.profiler) is PassThroughProfiler
    own = SimpleProfiler()
    assert fit(tmp_path, Module(), profiler=own).profiler is own


def test_the_learning_rate_of_several_optimisers_is_left_alone(tmp_path: Path) -> None:
    class Two(Scheduled):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            for optimiser in self.optimizers():  # type: ignore[union-attr]
                optimiser.zero_grad()
                loss = F.cross_entropy(self.logits(batch[0]), batch[1])
                self.manual_backward(loss)
                optimiser.step()
            return loss

    module = Two(lambda optimiser: torch.optim.lr_scheduler.StepLR(optimiser, 9), optimisers=2)
    (answer,) = answers_to(tmp_path, module, SetRequest(learning_rate=0.01), step=2)
    assert not answer.done
    assert answer.outcome == "the module has 2 optimisers: only the learning rate of a single one can be set"


def test_an_error_of_the_recorder_is_one_notice_and_no_error_of_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record_frame(*_: object, **__: object) -> bool:
        raise RuntimeError("maps are broken")

    monkeypatch.setattr(RunRecorder, "record_frame", record_frame)
    fit(tmp_path, Module(), max_epochs=3)
    assert notices(tmp_path) == ["feature maps cannot be recorded: RuntimeError: maps are broken"]
    assert len(of_kind(events_of(tmp_path, "mine"), EpochFinished)) == 3
    assert RunFolder(tmp_path, "mine").state() == "completed"


def test_batches_that_are_not_understood_leave_the_loss_curve(tmp_path: Path) -> None:
    class Odd(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch["pair"], batch_idx)

        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            super().validation_step(batch["pair"], batch_idx)

    data = DataLoader(loader().dataset, 4, collate_fn=lambda items: {"pair": torch.utils.data.default_collate(items)})
    module = Odd()
    fit(tmp_path, module, data, data)
    events = events_of(tmp_path, "mine")
    assert list(losses_of(events).values()) == pytest.approx(module.losses, rel=1e-5)
    (finished,) = of_kind(events, EpochFinished)
    assert finished.validation_loss == pytest.approx(finished.metrics["val_loss"])
    assert any("not (images, labels)" in text for text in notices(tmp_path))
    assert RunFolder(tmp_path, "mine").state() == "completed"


def test_a_root_that_cannot_be_written_is_one_line_and_training_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    trainer = fit(tmp_path / "file", Module())
    assert trainer.global_step == 3
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "recorded" in line]
    assert "run mine is not recorded, training continues: " in line


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": "../a"},
        {"classes": "cat"},
        {"classes": ["a", "a"]},
        {"probes": 0},
        {"visualize_every": -1},
        {"mean": 0.5},
    ],
)
def test_arguments_that_cannot_be_used_are_refused_at_once(arguments: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        RunRecorder(**({"name": "mine", "classes": CLASSES} | arguments))


def test_the_program_says_that_a_run_has_its_own_script(tmp_path: Path) -> None:
    fit(tmp_path, Module())
    with pytest.raises(UserError, match=r"run mine was trained by its own script \(.*\): resume it there"):
        train(TrainConfig(), tmp_path, resume="mine", show=False)
    with pytest.raises(UserError, match="run mine was trained by its own script"):
        find_checkpoint(tmp_path, "mine")


def draw_pictures(folder: Path, count: int) -> None:
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            picture = Image.new("RGB", (40, 32), (60 * label, 90, 40 * number))
            ImageDraw.Draw(picture).ellipse((5, 5, 15 + 5 * label, 25), "white")
            picture.save(folder / name / f"{number}.png")


def test_resnet_on_a_folder_of_pictures(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    draw_pictures(tmp_path / "pictures", 6)
    normalise = torchvision.transforms.Normalize((0.5,) * 3, (0.25,) * 3)
    transform = torchvision.transforms.Compose([torchvision.transforms.ToTensor(), normalise])
    data = torchvision.datasets.ImageFolder(tmp_path / "pictures", transform)
    module = Module(torchvision.models.resnet18(num_classes=3))
    fit(tmp_path, module, DataLoader(data, 6, shuffle=True), DataLoader(data, 6), mean=(0.5,) * 3, std=(0.25,) * 3)
    (started,) = of_kind(events_of(tmp_path, "mine"), RunStarted)
    assert len(started.layers) == 20
    assert started.train_images == dict.fromkeys(CLASSES, 6)
    folder = RunFolder(tmp_path, "mine")
    assert folder.frame_path(0).stat().st_size < 16 * 2**20
    with open_frame(folder.frame_path(0)) as frame:
        label = int(frame.tensor("probe/labels", 0))
        red, green, _ = frame.probe_image(0)[0, 0]
        assert (red, green) == (60 * label, 90)


SCRIPT = """
import sys, torch
sys.path.insert(0, sys.argv[2])
from tests.ml.test_public_recorder import Module, fit, loader
from pathlib import Path
torch.set_num_threads(1)
fit(Path(sys.argv[1]), Module(), loader(24), loader(13), accelerator="cpu", devices=2, strategy="ddp", max_epochs=2)
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two processors")
def test_two_processes_record_one_run_with_the_figures_of_both(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    project = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(project)}
    line = [sys.executable, str(script), str(tmp_path), str(project)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, env=environment, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["mine"]
    events = events_of(tmp_path, "mine")
    assert isinstance(events[-1], RunFinished)
    assert events[-1].status == "completed"
    (started,) = of_kind(events, RunStarted)
    assert started.steps_per_epoch == 3
    first, _ = of_kind(events, EpochFinished)
    assert np.sum(first.confusion) == 13, "the sampler gives one image to both, so that they have equally many"
    assert (first.train_accuracy * 24) % 1 == pytest.approx(0, abs=1e-6)
    assert RunFolder(tmp_path, "mine").frame_epochs() == [INITIAL, 0, 1]
    for one in predictions_of(tmp_path, "mine"):
        assert one.labels.tolist() == [index % 3 for index in range(13)]
        assert np.isfinite(one.logits).all()
    assert notices(tmp_path) == []


def test_the_public_names_are_imported_lazily() -> None:
    code = (
        "import sys, facegender; assert not {'torch', 'numpy', 'pytorch_lightning'} & set(sys.modules); "
        "from facegender import load_classifier, Classifier; assert 'pytorch_lightning' not in sys.modules; "
        "from facegender import RunRecorder; assert RunRecorder.__name__ == 'RunRecorder'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("network", ["mobilenet_v3_small", "squeezenet1_1"])  # whose last layer is a convolution
def test_the_example_trains_any_network_on_a_folder_of_pictures(tmp_path: Path, network: str) -> None:
    pytest.importorskip("torchvision")
    draw_pictures(tmp_path / "pictures", 5)
    example = Path(__file__).resolve().parents[2] / "examples" / "any_network.py"
    options = [f"--network={network}", "--random-weights", "--epochs=1", "--image-size=32", "--workers=0"]
    line = [sys.executable, str(example), str(tmp_path / "pictures"), *options, f"--root={tmp_path}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, env=environment, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    (started,) = of_kind(events_of(tmp_path, "any-network"), RunStarted)
    assert started.classes == CLASSES
    folder = RunFolder(tmp_path, "any-network")
    assert folder.state() == "completed"
    assert {one.file for one in rank_suspects(folder)} == {f"{name}/{n}.png" for name in CLASSES for n in range(5)}
    assert notices(tmp_path, "any-network") == []


def test_labels_that_the_network_has_no_output_for_are_left_out(tmp_path: Path) -> None:
    class OwnLoss(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.logits(batch[0]).square().mean()

        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            self.logits(batch[0])

    images, labels = loader().dataset.tensors  # type: ignore[attr-defined]
    odd = labels.clone()
    odd[:4] = torch.tensor([-100, -1, 3, 99])
    data = DataLoader(TensorDataset(images, odd), 4)
    fit(tmp_path, OwnLoss(), data, data)
    (finished,) = of_kind(events_of(tmp_path, "mine"), EpochFinished)
    assert np.sum(finished.confusion) == 8
    assert math.isfinite(finished.validation_loss)
    assert notices(tmp_path) == []


def test_labels_that_are_all_no_classes_leave_the_results_unknown_with_one_notice(tmp_path: Path) -> None:
    class OwnLoss(Module):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            self.logits(batch[0])

    images = torch.randn(8, 3, 12, 12)
    odd = DataLoader(TensorDataset(images, torch.arange(8) + 7), 4)
    fit(tmp_path, OwnLoss(), loader(), odd, max_epochs=2)
    for finished in of_kind(events_of(tmp_path, "mine"), EpochFinished):
        assert math.isnan(finished.validation_accuracy)
    assert notices(tmp_path) == ["no label of the validation is a class, one of 0 to 2"]


def test_a_network_that_gets_more_outputs_while_it_trains_is_one_notice_for_each_part(tmp_path: Path) -> None:
    class Growing(Module):
        def on_train_epoch_start(self) -> None:
            if self.current_epoch == 1:
                self.model = small_network(classes=5)

    fit(tmp_path, Growing(), max_epochs=3)
    folder = RunFolder(tmp_path, "mine")
    assert folder.state() == "completed"
    assert folder.frame_epochs() == [INITIAL, 0]
    assert sum("gives 5 values for each image" in notice for notice in notices(tmp_path)) == 2


def test_layers_that_take_single_images_do_not_disturb_the_validation(tmp_path: Path) -> None:
    class OneByOne(Module):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            convolution: nn.Module = self.model[0]  # type: ignore[index,assignment]
            self.log("val_mean", torch.stack([convolution(image).mean() for image in batch[0]]).mean())

    trainer = fit(tmp_path, OneByOne())
    assert "val_mean" in trainer.callback_metrics
    (health,) = of_kind(events_of(tmp_path, "mine"), HealthMeasured)
    assert health.first_not_finite == ""
    with open_frame(RunFolder(tmp_path, "mine").frame_path(0)) as frame:
        assert "units/model.0" not in frame


def test_a_layer_that_returns_something_else_later_does_not_disturb_the_training(tmp_path: Path) -> None:
    class Changing(nn.Conv2d):
        returns_more = False

        def forward(self, images: Tensor) -> Any:
            maps = super().forward(images)
            return (maps, maps) if self.returns_more else maps

    class Pooling(nn.Module):
        def forward(self, maps: Any) -> Tensor:
            pooled: Tensor = (maps[0] if isinstance(maps, tuple) else maps).mean((2, 3))
            return pooled

    changing = Changing(3, 4, 3)

    class Later(Module):
        def on_train_epoch_start(self) -> None:
            changing.returns_more = self.current_epoch == 1

    fit(tmp_path, Later(nn.Sequential(changing, Pooling(), nn.Linear(4, 3))), max_epochs=3)
    assert RunFolder(tmp_path, "mine").state() == "completed"


def test_an_empty_batch_counts_for_nothing(tmp_path: Path) -> None:
    full, empty = next(iter(loader())), (torch.zeros(0, 3, 12, 12), torch.zeros(0, dtype=torch.int64))
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    module = Module(network)
    fit(tmp_path, module, DataLoader([full, empty], None), DataLoader([full, empty], None))  # type: ignore[arg-type]
    events = events_of(tmp_path, "mine")
    assert [math.isnan(loss) for loss in losses_of(events).values()] == [False, True]
    (finished,) = of_kind(events, EpochFinished)
    assert finished.train_loss == pytest.approx(module.losses[0], rel=1e-5)
    assert notices(tmp_path) == []


def test_a_network_with_one_output_has_curves_without_predictions(tmp_path: Path) -> None:
    class Binary(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return F.binary_cross_entropy_with_logits(self(batch[0])[:, 0], (batch[1] > 0).float())

        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            self.log("val_loss", self.training_step(batch, batch_idx))

    fit(tmp_path, Binary(small_network(classes=1)))
    (finished,) = of_kind(events_of(tmp_path, "mine"), EpochFinished)
    assert math.isnan(finished.train_accuracy)
    assert math.isnan(finished.validation_accuracy)
    assert finished.validation_loss == pytest.approx(finished.metrics["val_loss"])
    (notice,) = notices(tmp_path)
    assert "one value for each image" in notice


def test_a_skipped_step_is_a_gap_in_the_curve_and_does_not_count_for_the_epoch(tmp_path: Path) -> None:
    class Skipping(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return None if batch_idx == 1 else super().training_step(batch, batch_idx)

    module = Skipping()
    fit(tmp_path, module)
    events = events_of(tmp_path, "mine")
    assert [math.isnan(loss) for loss in losses_of(events).values()] == [False, True, False]
    (finished,) = of_kind(events, EpochFinished)
    assert finished.train_loss == pytest.approx(np.mean(module.losses), rel=1e-5)
    assert math.isfinite(finished.train_accuracy)
    assert notices(tmp_path) == []


def test_compiled_networks_are_shown_as_they_were_written(tmp_path: Path) -> None:
    fit(tmp_path, Module(torch.compile(small_network(), backend="eager")))  # type: ignore[arg-type]
    (finished,) = of_kind(events_of(tmp_path, "mine"), EpochFinished)
    assert finished.validation_accuracy == pytest.approx(finished.metrics["val_accuracy"])
    assert RunFolder(tmp_path, "mine").frame_epochs() == [INITIAL, 0]
    assert notices(tmp_path) == []


def test_the_search_for_a_learning_rate_is_no_run(tmp_path: Path) -> None:
    class WithRate(Module):
        lr = 0.01

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), self.lr)

    recorder = RunRecorder("mine", classes=CLASSES, root=tmp_path)
    trainer, module = make_trainer(callbacks=[recorder], default_root_dir=tmp_path), WithRate()
    Tuner(trainer).lr_find(module, loader(), loader(), num_training=5)
    assert not (tmp_path / "checkpoints").exists()
    trainer.fit(module, loader(), loader())
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["mine"]


def test_a_script_goes_on_when_its_run_folder_is_removed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    recorder = RunRecorder("mine", classes=CLASSES, root=tmp_path)

    def noticed() -> bool:
        sink: Any = recorder._source.sink
        return bool(sink.stop.error)

    def remove() -> None:
        while not (tmp_path / "visuals" / "mine" / "initial_filters.png").exists():
            time.sleep(0.01)
        for name in ("checkpoints", "visuals"):
            shutil.rmtree(tmp_path / name)

    trainer = make_trainer(callbacks=[AtStep(2, remove, noticed), recorder], max_epochs=2)
    trainer.fit(Module(), loader(), loader())
    assert trainer.global_step == 6
    assert list(tmp_path.iterdir()) == []
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "recorded" in line]
    assert line == "facegender: run mine is recorded no longer, training continues: the run folder is gone"


def test_no_step_of_a_script_waits_for_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = set()
    for name in ("on_train_batch_end", "on_validation_batch_start", "on_validation_batch_end", "on_train_epoch_end"):
        original = getattr(RunRecorder, name)

        def guarded(self: Any, trainer: Trainer, *arguments: Any, name: str = name, original: Any = original) -> None:
            if trainer.sanity_checking:
                original(self, trainer, *arguments)
                return
            called.add(name)
            with NoWaiting():
                original(self, trainer, *arguments)

        monkeypatch.setattr(RunRecorder, name, guarded)
    fit(tmp_path, Module(), max_epochs=2)
    assert len(called) == 4
    assert notices(tmp_path) == []


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_any_precision_is_recorded(tmp_path: Path, precision: str) -> None:
    fit(tmp_path, Module(), precision=precision)
    assert notices(tmp_path) == []
    assert RunFolder(tmp_path, "mine").frame_epochs() == [INITIAL, 0]


def test_class_names_may_be_anything_and_control_no_terminal(tmp_path: Path) -> None:
    recorder = RunRecorder("mine", classes=["\x1b[31mcat", "caf\udce9", 7], root=tmp_path)  # type: ignore[list-item]
    make_trainer(callbacks=[recorder]).fit(Module(), loader(), loader())
    (started,) = of_kind(events_of(tmp_path, "mine"), RunStarted)
    assert started.classes == ["\ufffd[31mcat", "caf\ufffd", "7"]
    assert RunFolder(tmp_path, "mine").frame_epochs() == [INITIAL, 0]
    assert notices(tmp_path) == []
