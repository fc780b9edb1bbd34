"""The callback that reports what training does. It puts reports into a queue and returns; other threads do the rest.

On the training thread it opens no file, draws nothing and does not wait for the device: it hands over tensors, and the
thread that takes them from the queue waits for their numbers. At a step it wakes no thread and asks Lightning nothing,
so that a step takes only microseconds longer.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from facegender.interpret.activations import compute_activations, layer_frames, numpy_of
from facegender.interpret.cam import cams_by_class, compute_activations_and_cams
from facegender.interpret.layers import Layer, maps_of, trace
from facegender.runs.config import check_run_name
from facegender.runs.events import EpochFinished, EpochStarted, LayerInfo, RunStarted
from facegender.runs.folder import INITIAL
from facegender.runs.frames import Frame
from facegender.runs.predictions import Predictions
from facegender.support.errors import UserError
from facegender.support.text import one_line
from facegender.training.callbacks.epoch_sums import EpochSums
from facegender.training.callbacks.image_predictions import ImagePredictions
from facegender.training.callbacks.layer_watch import LayerWatch, with_units
from facegender.training.callbacks.loaders import FetchTimer
from facegender.training.callbacks.source import ProbeBatch, Source
from facegender.training.callbacks.steering import Steering, learning_rate
from facegender.training.failures import reason
from facegender.training.resume import FINISHED_EPOCH, FINISHED_PREDICTIONS, predictions_to_tensors
from facegender.training.threads.journal import EpochSteps, Item, StepDone

MAX_BACKLOG = 20_000
"""Steps that may wait while the disk does not respond; then the oldest are missing from the journal."""

EPOCH_SO_FAR = "epoch_so_far"
"""In a checkpoint saved within an epoch: its loss summed over photographs, correct photographs, photographs."""

MARGINS_SO_FAR = "margins_so_far"
"""In a checkpoint saved within an epoch: its table of margins, see `ImagePredictions`."""

P = ParamSpec("P")
T = TypeVar("T")


class RunRecorder(Callback):
    """Records a training run in a run folder, which ``facegender-tui`` shows while it grows.

    It works with any LightningModule whose forward pass gives logits (N, K) for images (N, C, H, W)::

        recorder = RunRecorder("mine", classes=["cat", "dog", "fox"])
        Trainer(max_epochs=5, callbacks=[recorder]).fit(module, loaders)

    Batches are ``(images, labels)`` or a dictionary with such tensors; labels are class indices (N,). Losses, logged
    metrics and predictions are taken from the training and the validation that happen anyway. Whatever cannot be
    recorded becomes a notice in the journal and never an error of the training. A second `Trainer.fit` records a second
    run folder. The images whose feature maps are kept come from the first validation batches, of Lightning's sanity
    check, or from the first training batch if those have only one class.

    The logits of every validation image are kept in every epoch, if the loader does not shuffle. The margins of
    training images are kept if batches are dictionaries with ``"index"`` or ``"indices"``, (N,) integers: the index
    with which the data set was asked for each image, that of the data set below any `torch.utils.data.Subset`. If a
    data set has ``root`` and ``samples`` as torchvision's `ImageFolder` has, the photographs are known by name.
    """

    def __init__(
        self,
        name: str,
        classes: Sequence[str],
        root: str | Path = ".",
        probes: int = 4,
        visualize_every: int = 1,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        *,
        source: Source | None = None,
    ) -> None:
        """Check the arguments; `Trainer.fit` makes the run folder.

        Args:
            name: Name of the run; if it is taken, a number is added.
            classes: Class names in the order of the labels.
            root: Folder for ``checkpoints/`` and ``visuals/``; name it to ``facegender-tui`` with ``--root``.
            probes: Number of images whose feature maps are kept.
            visualize_every: Epochs from one set of feature maps to the next; 0 keeps none.
            mean: With `std`: how images were normalised, per channel or for all, to show them as they were. Without
                these, the lowest value is shown black and the highest white.
            std: See `mean`.
            source: For the program's own training; leave it out.

        Raises:
            UserError: An argument cannot be used.
        """
        check_run_name(name)
        labels = [one_line(str(label)) for label in classes]
        if isinstance(classes, str) or len(set(labels)) != len(labels) or not labels:
            raise UserError(f"classes of run {name} must be a list of different names, in the order of the labels")
        if probes < 1 or visualize_every < 0:
            raise UserError(f"run {name}: probes must be at least 1, and visualize_every at least 0")
        if (mean is None) != (std is None):
            raise UserError(f"run {name}: mean and std belong together: give both, or neither")
        self.visualize_every = visualize_every
        if source is None:
            from facegender.training.callbacks.script_source import ScriptSource

            source = ScriptSource(name, labels, Path(root), probes, visualize_every, mean, std)
        self._source = source
        self._steering = Steering(source, self._frame_on_request)
        self._fetches = FetchTimer()
        self._forget()

    def _forget(self) -> None:
        """Reset everything that belongs to one run."""
        self.layers: list[Layer] = []
        self.probes: ProbeBatch | None = None
        self.validation_indices: Tensor | None = None
        """(N,) int64 on the CPU: of the validation batch at hand, each image's index in the list of all validation
        images; -1 for one that a distributed sampler repeats. None outside of the batches of the first loader."""
        self._watch: LayerWatch | None = None
        self._probe_labels: Tensor | None = None
        self._failed: set[str] = set()
        self._started = False
        self._epoch: int | None = None
        self._recorded_epoch: int | None = None
        self._learning_rate = float("nan")
        self._sums: EpochSums | None = None
        self._steps = EpochSteps(0, 0, 0.0, 1, deque())
        self._sums_before: list[float] | None = None
        self._ended: Callable[[dict[str, Tensor]], EpochFinished] | None = None
        self._finished: Callable[[], EpochFinished] | None = None
        self._predictions: ImagePredictions | None = None
        self._finished_predictions: Callable[[], Predictions] | None = None
        self._margins_before: Tensor | None = None
        self._epoch_began = 0.0
        self._train_ended: float | None = None
        self._images_before = self._validated = 0

    def _guarded(self, part: str, record: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Record something. An error switches this part off with a notice if the training is not the program's own.

        Args:
            part: What is missing from the run if it fails, e.g. "feature maps".
        """
        if self._source.sink is None or part in self._failed:
            return None
        try:
            return record(*args, **kwargs)
        except Exception as error:
            if not self._source.tolerant:
                raise
            self.switch_off(part, reason(error))
            return None

    def switch_off(self, part: str, why: str) -> None:
        """Record a part of the run no longer, and say so once in the journal."""
        if part not in self._failed and self._source.sink is not None:
            self._failed.add(part)
            self._source.sink.notice(f"{part} cannot be recorded: {why}", "warning")

    # The run folder of a script ---------------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave this recorder in the list of callbacks once: each step would count as often as it is listed."""
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined] # Lightning sets it elsewhere
        rest = callbacks.index(self) + 1
        callbacks[rest:] = [callback for callback in callbacks[rest:] if callback is not self]
        self._fetches.attach(trainer)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a run if the recorder makes its folder. Lightning's tuners exit before they call this hook."""
        if self._source.tolerant:
            self._forget()
        self._source.open(trainer, pl_module)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """End the run."""
        self._fetches.detach(trainer)
        if stage == "fit":
            self._close_watch()
            self._source.close("completed")

    def _close_watch(self) -> None:
        if self._watch is not None:
            self._watch.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End the run because training failed or was interrupted."""
        self._close_watch()
        self._guarded("the last epoch", self._report_epoch, trainer)
        if isinstance(exception, KeyboardInterrupt | SystemExit):
            self._source.close("stopped")
        else:
            self._source.close("failed", reason(exception))

    # State in checkpoints ---------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the sums of the epoch so far, of all devices, or the metrics of the epoch that just ended."""
        if not self._source.tolerant:  # a script's checkpoints are its own
            checkpoint[EPOCH_SO_FAR] = None if self._sums is None else self._sums.total(trainer).tolist()
            checkpoint[FINISHED_EPOCH] = None if self._finished is None else msgspec.to_builtins(self._finished())
            if self._predictions is not None and self._sums is not None:
                checkpoint[MARGINS_SO_FAR] = torch.from_numpy(self._predictions.margins(trainer)())
            if self._finished_predictions is not None:
                checkpoint[FINISHED_PREDICTIONS] = predictions_to_tensors(self._finished_predictions())

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restore these sums on the first device only, as the number of devices may have changed."""
        sums = None if self._source.tolerant else checkpoint[EPOCH_SO_FAR]
        if sums is not None:
            loss, correct, images = map(float, sums)
            self._sums_before = [loss, correct, images] if trainer.is_global_zero else None
            self._margins_before = checkpoint.get(MARGINS_SO_FAR) if trainer.is_global_zero else None

    # Hooks of training ------------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the start, if the probes are known."""
        self._epoch_began = time.perf_counter()
        self._guarded("the start", self._start, trainer, pl_module)

    def _start(self, trainer: Trainer, pl_module: LightningModule, batch: Any = None) -> None:
        self.probes = self._guarded("feature maps", self._source.probes, pl_module, batch)
        if self.probes is None and batch is None:
            return  # they have to wait for the first batch
        self._started = True
        if self.visualize_every:
            self._guarded("feature maps", self._trace, pl_module)
        self._guarded("predictions", self._source.begin, trainer, pl_module)
        source = self._source
        if source.logits_per_image:
            images = source.validation_listed, source.train_listed, source.train_positions
            self._predictions = ImagePredictions(source.logits_per_image, *images)
        device, batches = pl_module.device, trainer.num_training_batches
        fields: dict[str, Any] = {
            "run": self._source.run,
            "epochs": self._source.config.epochs,
            "steps_per_epoch": int(batches) if batches != float("inf") else 0,
            "start_epoch": trainer.current_epoch,
            "start_step": self._source.steps_done(trainer),
            "device": str(device),
            "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper(),
            "precision": trainer.precision.partition("-")[0],
            "visualize_every": self.visualize_every if self.layers else 0,
            "classes": self._source.class_names(),
            "layers": [_layer_info(layer) for layer in self.layers],
        }
        fields |= self._source.description(trainer, pl_module)
        self._put(RunStarted(time=time.time(), **fields))
        if self._source.missing_frame is not None:
            self.record_frame(pl_module, self._source.missing_frame, trainer.global_step)
        if self.layers and not fields["start_step"]:
            self._guarded("feature maps", self.record_frame, pl_module, INITIAL, 0)

    def _put(self, item: Item) -> None:
        assert self._source.sink is not None
        self._source.sink.put(item)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the start of an epoch."""
        self._epoch_began = time.perf_counter()
        self._guarded("epochs", self._report_epoch, trainer)
        if self._started:
            self._guarded("epochs", self._begin_epoch, trainer, pl_module, 0)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Report the start of the run and of an epoch if they had to wait for this batch."""
        if self._source.sink is None:
            return
        if not self._started:
            self._guarded("the start", self._start, trainer, pl_module, batch)
        if self._epoch != trainer.current_epoch:  # `on_train_epoch_start` is called for whole epochs only
            self._guarded("epochs", self._begin_epoch, trainer, pl_module, batch_idx)
        self._source.before_batch()

    def _begin_epoch(self, trainer: Trainer, pl_module: LightningModule, batches_before: int) -> None:
        self._epoch, self._train_ended = trainer.current_epoch, None
        if trainer.optimizers:
            self._learning_rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        before = self._sums_before or [0.0, 0.0, 0.0]
        self._sums = EpochSums(pl_module.device, before, skip_not_finite=self._source.skip_not_finite)
        self._images_before = int(before[2])
        self._sums_before = self._finished = self._finished_predictions = None
        if self._predictions is not None:
            self._predictions.begin_epoch(self._margins_before)
        self._margins_before = None
        # Only the first process of a run on several devices has a thread that takes the steps out again.
        done = deque[StepDone](maxlen=MAX_BACKLOG if trainer.is_global_zero else 0)
        steps_before = self._source.steps_done(trainer) - batches_before
        self._steps = EpochSteps(self._epoch, steps_before, self._epoch_began, trainer.world_size, done)
        if self._watch is not None:
            batches, accumulated = trainer.num_training_batches, trainer.accumulate_grad_batches
            optimiser_steps = batches if math.isinf(batches) else math.ceil(batches / accumulated)
            self._watch.begin_epoch(batches_before // accumulated, optimiser_steps)
        self._put(EpochStarted(time=time.time(), epoch=self._epoch, learning_rate=self._learning_rate))
        self._put(self._steps)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        """Measure the gradients at some steps."""
        if self._watch is not None and self._watch.step_is_due():
            trained = self._source.trained_network(pl_module)
            self._guarded("the health of layers", self._watch.before_optimiser_step, trained)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report a step."""
        sink = self._source.sink
        if sink is None:
            return
        self._guarded("steps", self._record_step, trainer, outputs, batch, batch_idx)
        if self._watch is not None and self._watch.is_measuring:
            trained = self._source.trained_network(pl_module)
            self._guarded("the health of layers", self._watch.after_batch, trained)
        if self._steering.after_batch(trainer, pl_module, batch_idx):
            self._learning_rate = learning_rate(trainer)
        self._source.stop_if_requested(trainer, batch_idx)

    def _record_step(self, trainer: Trainer, outputs: Any, batch: Any, batch_idx: int) -> None:
        measured = self._source.measure_step(trainer, outputs, batch, batch_idx)
        ended, waited_s = time.perf_counter(), self._fetches.take_s()
        step = StepDone(batch_idx + 1, measured.images, measured.loss_sum_and_correct, ended, waited_s)
        if measured.is_trained and self._sums is not None:
            self._sums.add(step)
        self._steps.done.append(step)
        if measured.predicted is not None and self._predictions is not None:
            self._guarded("margins", self._predictions.add_step, measured.predicted)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the time at which training paused, once the device has finished its work."""
        if self._source.sink is None:
            return
        self._validated = 0
        self._source.on_validation_start()
        if trainer.sanity_checking:
            return
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self._train_ended = time.perf_counter()
        if self._predictions is not None:
            self._predictions.begin_validation()
        if self._watch is not None:
            self._guarded("top patches", self._watch.begin_validation)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Number the images of the batch."""
        if self._source.sink is None or dataloader_idx:
            return
        self._source.before_batch()
        self._guarded("validation", self._number_images, trainer, batch)

    def _number_images(self, trainer: Trainer, batch: Any) -> None:
        # Rank r of w has the images r, r + w and so on, as `DistributedSampler` and `ordered_batches` divide them.
        count = self._source.image_count(batch)
        own = torch.arange(self._validated, self._validated + count)
        indices = trainer.global_rank + trainer.world_size * own
        size = self._source.validation_size
        self.validation_indices = indices if size is None else torch.where(indices < size, indices, -1)
        self._validated += count

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what the network predicted."""
        if dataloader_idx:
            self.switch_off("validation loaders after the first", "only the first one is shown")
        else:
            arguments = trainer, outputs, batch, self.validation_indices
            predicted = self._guarded("validation", self._source.on_validation_batch, *arguments)
            if predicted is not None and self._predictions is not None:
                self._guarded("predictions", self._predictions.add_batch, predicted)
            if self._watch is not None and self.validation_indices is not None:
                self._guarded("top patches", self._watch.add_batch, self.validation_indices)
        self.validation_indices = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute the results; record a frame if one is due."""
        if self._source.sink is None or trainer.sanity_checking:
            return
        self._guarded("validation results", self._source.on_validation_end, trainer, pl_module)
        if self._predictions is not None:
            self._guarded("predictions of the validation", self._predictions.end_validation, trainer)
        if self._watch is not None:
            step = self._source.steps_done(trainer)
            self._guarded("top patches of the validation", self._watch.end_validation, trainer, pl_module, step)
        if trainer.is_last_batch:  # not where training validates several times an epoch
            self._guarded("feature maps", self._record_due_frame, trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the end of an epoch."""
        if self._source.sink is None:
            return
        self._guarded("feature maps", self._record_due_frame, trainer, pl_module)
        self._guarded("predictions of the epoch", self._record_predictions, trainer)
        self._guarded("epochs", self._end_epoch, trainer, pl_module)
        self._steering.after_epoch(trainer, pl_module)

    def _record_predictions(self, trainer: Trainer) -> None:
        epoch, sink = trainer.current_epoch, self._source.sink
        if self._predictions is None or sink is None:
            return
        predictions = self._predictions.end_epoch(trainer, epoch, self._source.class_names())
        if predictions is not None and not {"margins", "predictions"} & self._failed:
            self._finished_predictions = None if self._source.tolerant else predictions
            sink.submit_predictions(epoch, predictions)

    def _end_epoch(self, trainer: Trainer, pl_module: LightningModule) -> None:
        now = time.perf_counter()
        known: dict[str, Any] = {
            "time": time.time(),
            "epoch": trainer.current_epoch,
            "step": self._source.steps_done(trainer),
            "classes": self._source.class_names(),
            "learning_rate": self._learning_rate,
            "seconds": now - self._epoch_began,
        }
        assert self._sums is not None
        sums, before = self._sums.total(trainer), self._images_before
        trained_s = (self._train_ended or now) - self._epoch_began
        results = self._source.epoch_results(trainer, pl_module)

        def ended(logged: dict[str, Tensor]) -> EpochFinished:
            loss, correct, images = sums.tolist()
            metrics = {name: value.item() for name, value in logged.items()}
            return EpochFinished(
                **known,
                train_loss=loss / images if images else float("nan"),
                train_accuracy=correct / images if images else float("nan"),
                images_per_second=(images - before) / trained_s if trained_s > 0 else 0.0,
                metrics=metrics,
                **results(metrics),
            )

        self._ended, self._sums = ended, None
        if self._watch is not None:
            self._guarded("the health of layers", self._report_health, self._watch, known["epoch"], known["step"])
        if not self._source.metrics_come_late:
            self._report_epoch(trainer)

    def _report_health(self, watch: LayerWatch, epoch: int, step: int) -> None:
        self._put(watch.health(epoch, step))

    def _report_epoch(self, trainer: Trainer) -> None:
        """Report the epoch that ended last, unless that has been done."""
        if self._ended is not None:
            self._finished, self._ended = partial(self._ended, self._source.logged_metrics(trainer)), None
            self._put(self._finished)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the last epoch, and record its frame if it has none because the run ended early."""
        self._guarded("epochs", self._report_epoch, trainer)
        if self._epoch is not None and self._epoch != self._recorded_epoch and self.layers:
            step = self._source.steps_done(trainer)
            self._guarded("feature maps", self.record_frame, pl_module, self._epoch, step, last=True)

    # Frames -----------------------------------------------------------------------------------------------------------

    def _trace(self, pl_module: LightningModule) -> None:
        if self.probes is None:
            raise UserError("the batches have no images (N, C, H, W)")
        with self._source.isolated(pl_module):
            self.layers = trace(self._source.eval_network(pl_module), self.probes.inputs[:1])
        if not self.layers:
            raise UserError("the network has no convolutions (torch.nn.Conv2d)")
        self._watch = LayerWatch(self.layers)
        self._probe_labels = torch.from_numpy(self.probes.labels).to(pl_module.device)

    def _record_due_frame(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch
        if self.layers and epoch != self._recorded_epoch and self._source.config.frame_is_due(epoch):
            self._recorded_epoch = epoch
            self.record_frame(pl_module, epoch, self._source.steps_done(trainer))

    def record_frame(self, pl_module: LightningModule, epoch: int, step: int, *, last: bool = False) -> bool:
        """Record the probes' feature maps with the weights of an epoch, after ``step`` steps.

        Returns:
            False if the disk is too slow to write it.
        """
        if self.probes is None:
            self.probes = self._source.probes(pl_module, None)
            self._trace(pl_module)
        probes, sink = self.probes, self._source.sink
        assert probes is not None
        assert sink is not None
        assert self._probe_labels is not None
        assert self._watch is not None
        with self._source.isolated(pl_module):
            network = self._source.eval_network(pl_module)
            arguments = network, probes.inputs, self.layers
            found = self._guarded("heatmaps", compute_activations_and_cams, *arguments, self._probe_labels)
            logits, activations, cams = found or (*compute_activations(*arguments), None)
        known = len(self._source.class_names())
        if logits.shape[1] > known:
            raise UserError(f"the network gives {logits.shape[1]} values for each image, and there are {known} classes")
        probabilities = logits.softmax(1)
        units = self._watch.add_frame(activations, step)

        def frame() -> Frame:
            # Computes nothing with torch: on another thread torch would start a second set of worker threads, and more
            # workers than processors slow down those of the training thread.
            return Frame(
                epoch=epoch,
                step=step,
                images=probes.images,
                labels=probes.labels,
                probabilities=numpy_of(probabilities),
                classes=self._source.class_names(),
                probe_names=probes.names,
                layers=with_units(layer_frames(activations), units),
                maps_of=maps_of(self.layers),
                cams=cams_by_class(cams, self._source.class_names()) if cams else {},
                cam_method=cams.method if cams else "",
            )

        return sink.submit(epoch, frame, last=last or epoch + 1 == self._source.config.epochs)

    def _frame_on_request(self, trainer: Trainer, pl_module: LightningModule) -> tuple[bool, str]:
        """Record a frame of the current weights; see `Steering`."""
        epoch, step = trainer.current_epoch, self._source.steps_done(trainer)
        if not self.visualize_every:
            return False, "this run records no feature maps (visualize_every is 0)"
        if not self.layers or "feature maps" in self._failed:
            return False, "this run cannot record feature maps; its log says why"
        what = f"feature maps of epoch {epoch + 1} after step {step}"
        if self._guarded("feature maps", self.record_frame, pl_module, epoch, step):
            return True, f"{what} are recorded"
        return False, f"{what} are left out; the log says why"


def _layer_info(layer: Layer) -> LayerInfo:
    _, depth, height, width = layer.conv.weight.shape
    return LayerInfo(name=layer.name, channels=layer.conv.out_channels, size=layer.size, kernel=(depth, height, width))
