"""Training speed: the reference recipe written plainly, this program, and what the device allows, in one run.

``python -m benchmarks.training FOLDER`` trains on a folder with ``female/`` and ``male/``, each variant in its own
process, one after another:

- *plainly*: the reference recipe with Lightning, `ImageFolder`, PIL transforms and float32;
- *ours*: what ``facegender train`` runs, with OpenMP's waiting policy of the environment;
- *ours, unrecorded*: the same with a recorder that reports no step and no epoch and looks at no layer;
- *ours, no predictions*: the same with a recorder that keeps no predictions and no margins;
- *bound*: the same network and optimiser, training on one batch that stays on the device.

*first* and *later* are images/s of training, without validation. The first epoch of *ours* includes everything before
it, such as decoding the photographs; *plainly* decodes them in every epoch. *whole* is images/s of the later epochs
from start to start, with validation, checkpoints and the recorder's threads; "recorder on / off" compares these. The
two variants take turns, ``--rounds`` times, and their medians are compared. "recorder on the training thread" is the
time that its hook takes of each step, beside that of the other variant: *unrecorded* has an empty hook, most of which
is a cold cache.

``--recorder-only`` leaves out *plainly* and *bound*; ``--predictions-only`` compares *ours* with *ours, no predictions*
alone. ``--images N`` takes N photographs of the folder, half of each class, so that 512 px takes minutes:
``python -m benchmarks.training FOLDER --size 512 --size 128 --images 320 --json FILE``. Nothing else should run on the
machine; its load is printed first and stored in the file.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.machine import description

BATCH = 32
SEED = 42
WARM_UP_STEPS = 3
BOUND_S = 10.0
STEPS_AT_ONCE = 20
MIN_IMAGES = 40

Result = dict[str, Any]
"""``rates``: images/s of training, by epoch; ``whole``: the same of whole epochs; ``recorder_us``: by step."""


@dataclass(frozen=True)
class Task:
    """What is measured.

    Attributes:
        recipe: Recipe of *ours* and *bound*.
        network: Network of *ours* and *bound*, as for ``facegender train --network``.
        precision: Precision of *ours* and *bound*.
        visualize_every: Epochs between feature maps of *ours*; 0 for none.
    """

    folder: Path
    size: int
    epochs: int
    recipe: str
    network: str
    precision: str
    visualize_every: int

    def options(self) -> list[str]:
        """Arguments of the process that measures one variant."""
        texts = {
            "size": self.size, "epochs": self.epochs, "recipe": self.recipe, "network": self.network,
            "precision": self.precision, "visualize-every": self.visualize_every,
        }  # fmt: skip
        return [str(self.folder), *(f"--{name}={text}" for name, text in texts.items())]


def synchronize() -> None:
    """Wait until a GPU has finished its work."""
    import torch

    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def plainly(task: Task) -> Result:
    """Train the reference recipe as it is usually written, whatever recipe was asked for."""
    import torch
    from pytorch_lightning import LightningModule, Trainer, seed_everything
    from torch.utils.data import DataLoader, random_split
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    from facegender.network.model import FaceGenderNet

    class Plain(LightningModule):
        """Network, loss and optimiser, and nothing else."""

        def __init__(self) -> None:
            super().__init__()
            self.network = FaceGenderNet(task.size)
            self.loss = torch.nn.CrossEntropyLoss()
            self.began = 0.0
            self.starts: list[float] = []
            self.rates: list[float] = []

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            """Compute the loss of one batch."""
            loss: torch.Tensor = self.loss(self.network(batch[0]), batch[1])
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            """Compute the loss of one batch."""
            self.log("validation_loss", self.loss(self.network(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            """Adam and StepLR."""
            optimiser = torch.optim.Adam(self.parameters(), lr=1e-3)
            return [optimiser], [torch.optim.lr_scheduler.StepLR(optimiser, 10, 0.1)]

        def on_train_epoch_start(self) -> None:
            """Start the epoch's clock."""
            self.began = time.perf_counter()
            self.starts.append(self.began)

        def on_validation_start(self) -> None:
            """Stop it, before validation."""
            synchronize()
            self.rates.append(len(train) / (time.perf_counter() - self.began))

        def on_train_end(self) -> None:
            """Note the end of the last epoch."""
            self.starts.append(time.perf_counter())

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")
    seed_everything(SEED, verbose=False)
    steps = [
        transforms.Resize((task.size, task.size)),
        transforms.ToTensor(),
        transforms.Normalize([0.5] * 3, [0.5] * 3),
    ]
    images = ImageFolder(str(task.folder), transforms.Compose(steps))
    held = len(images) // 5
    train, validation = random_split(images, [len(images) - held, held])
    module = Plain()
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            max_epochs=task.epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=scratch,
        )  # fmt: skip
        trainer.fit(module, DataLoader(train, BATCH, shuffle=True), DataLoader(validation, BATCH))
    return {"rates": module.rates, "whole": _whole(len(train), module.starts)}


def _whole(images: int, starts: Sequence[float]) -> list[float]:
    return [images / (end - start) for start, end in itertools.pairwise(starts)]


def ours(task: Task) -> Result:
    """Train with this program."""
    with _recorder_timed() as recorder_us:
        return {**_trained(task), "recorder_us": recorder_us}


def unrecorded(task: Task) -> Result:
    """Train with this program, and a recorder that reports only the start."""
    from facegender.training.callbacks.recorder import RunRecorder

    def nothing(self: RunRecorder, *arguments: Any) -> None:
        return

    hooks = [
        "on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end", "on_validation_start",
        "on_validation_batch_start", "on_validation_batch_end", "on_validation_end", "on_train_epoch_end",
        "on_train_end",
    ]  # fmt: skip
    with contextlib.ExitStack() as stack:
        for name in hooks:
            stack.enter_context(mock.patch.object(RunRecorder, name, nothing))
        empty_us = stack.enter_context(_recorder_timed())
        return {**_trained(task), "recorder_us": empty_us}


def without_predictions(task: Task) -> Result:
    """Train with this program, and a recorder that keeps no predictions and no margins."""
    from facegender.training.callbacks.own_source import OwnSource

    with mock.patch.object(OwnSource, "logits_per_image", 0), _recorder_timed() as recorder_us:
        return {**_trained(task), "recorder_us": recorder_us}


@contextlib.contextmanager
def _recorder_timed() -> Iterator[list[float]]:
    """Measure the time that the recorder's hook takes of the training thread, in microseconds for each step."""
    from facegender.training.callbacks.recorder import RunRecorder

    hook = RunRecorder.on_train_batch_end
    clock, spent = time.perf_counter_ns, []

    def on_train_batch_end(self: RunRecorder, *arguments: Any) -> None:
        began = clock()
        hook(self, *arguments)
        spent.append((clock() - began) / 1000)

    with mock.patch.object(RunRecorder, "on_train_batch_end", on_train_batch_end):
        yield spent


def _trained(task: Task) -> Result:
    """Train a run of this program; its first epoch includes everything before it."""
    from facegender.network.module import FaceGenderModule
    from facegender.runs.folder import RunFolder
    from facegender.runs.presets import configure
    from facegender.training.run import train

    began: list[float] = []
    ended: list[float] = []
    begin, end, finish = (
        FaceGenderModule.on_train_epoch_start, FaceGenderModule.on_validation_start, FaceGenderModule.on_train_end
    )  # fmt: skip

    def on_train_epoch_start(self: FaceGenderModule) -> None:
        began.append(time.perf_counter())
        begin(self)

    def on_validation_start(self: FaceGenderModule) -> None:
        synchronize()
        ended.append(time.perf_counter())
        end(self)

    def on_train_end(self: FaceGenderModule) -> None:
        began.append(time.perf_counter())
        finish(self)

    config = configure({
        "recipe": task.recipe, "network": task.network, "data": str(task.folder.absolute()), "image_size": task.size,
        "epochs": task.epochs, "batch_size": BATCH, "seed": SEED, "precision": task.precision,
        "visualize_every": task.visualize_every,
    })  # fmt: skip
    with (
        tempfile.TemporaryDirectory() as scratch,
        mock.patch.dict(os.environ, {"FACEGENDER_CACHE": str(Path(scratch) / "cache")}),
        mock.patch.object(FaceGenderModule, "on_train_epoch_start", on_train_epoch_start),
        mock.patch.object(FaceGenderModule, "on_validation_start", on_validation_start),
        mock.patch.object(FaceGenderModule, "on_train_end", on_train_end),
    ):
        started = time.perf_counter()
        if train(config, Path(scratch), "run", show=False) != "completed":
            raise SystemExit("the run failed")
        about = _started(RunFolder(Path(scratch), "run").journal_path)
    images = sum(about["train_images"].values())
    rates = [images / (stop - start) for start, stop in zip([started, *began[1:]], ended, strict=False)]
    return {"rates": rates, "whole": _whole(images, began), "precision": about["precision"]}


def _started(journal: Path) -> dict[str, Any]:
    lines = journal.read_text(encoding="utf-8").splitlines()
    return next(line for line in map(json.loads, lines) if line["type"] == "run_started")


def bound(task: Task) -> Result:
    """Train on one batch that stays on the device."""
    import torch

    from facegender.network.model import normalise
    from facegender.network.recipes import RECIPES, build_network
    from facegender.runs.presets import configure
    from facegender.support.machine import keep_large_buffers
    from facegender.training.hardware import choose_hardware

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        keep_large_buffers()
    given = {"recipe": task.recipe, "network": task.network, "image_size": task.size, "precision": task.precision}
    config = configure(given)
    precision = choose_hardware(config).precision
    mixed = precision == "bf16"
    network = build_network(task.recipe, task.size, config.widths, 2, task.network)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form
    optimiser = RECIPES[task.recipe].optimiser(network.parameters(), config)
    images = normalise(torch.randint(0, 256, (BATCH, 3, task.size, task.size), dtype=torch.uint8, device=device))
    labels = torch.arange(BATCH, device=device) % 2
    torch.set_float32_matmul_precision("high")

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            logits = network(images)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        optimiser.step()

    for _ in range(WARM_UP_STEPS):
        step()
    synchronize()
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < BOUND_S:
        for _ in range(STEPS_AT_ONCE if device.type == "cuda" else 1):  # so that a GPU never waits
            step()
            done += BATCH
        synchronize()
    return {"rates": [done / (time.perf_counter() - began)], "precision": precision}


VARIANTS: dict[str, Callable[[Task], Result]] = {
    "plainly": plainly,
    "ours": ours,
    "ours, unrecorded": unrecorded,
    "ours, no predictions": without_predictions,
    "bound": bound,
}


@contextlib.contextmanager
def _subset(folder: Path, count: int | None) -> Iterator[Path]:
    """Make a folder with links to ``count`` photographs, half of each class; without a count, use the folder itself."""
    from facegender.data.dataset import CLASSES, list_labelled_files

    if count is None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as scratch:
        by_class: dict[int, list[Path]] = {}
        for path, label in list_labelled_files(folder):
            by_class.setdefault(label, []).append(path)
        for label, paths in sorted(by_class.items()):
            (Path(scratch) / CLASSES[label]).mkdir()
            for number, path in enumerate(paths[: count // 2]):
                (Path(scratch) / CLASSES[label] / f"{number:06}{path.suffix}").symlink_to(path.absolute())
        yield Path(scratch)


def measure(name: str, task: Task) -> Result:
    """Measure a variant and its peak memory in its own process."""
    command = [sys.executable, "-m", "benchmarks.training", *task.options(), "--variant", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return {"variant": name, "size": task.size, **result}


def _combined(results: Sequence[Result]) -> Result:
    """Combine the rounds of one variant: medians of the first epochs and of all later ones."""

    def later(key: str) -> list[float]:
        return [rate for result in results for rate in result.get(key, [])[1:]]

    row = {key: results[0].get(key) for key in ("variant", "size", "precision")}
    row["first"] = statistics.median(result["rates"][0] for result in results)
    row["later"] = statistics.median(later("rates") or [row["first"]])
    row["whole"] = statistics.median(later("whole")) if later("whole") else None
    row["memory_mib"] = max(result["memory_mib"] for result in results)
    row["gpu_mib"] = max((result["gpu_mib"] for result in results if "gpu_mib" in result), default=None)
    steps = [took for result in results for took in result.get("recorder_us", [])]
    row["recorder_us"] = {"median": statistics.median(steps), "mean": statistics.fmean(steps)} if steps else None
    row["rounds"] = [{key: result.get(key) for key in ("rates", "whole")} for result in results]
    return row


def measure_all(task: Task, rounds: int, only: str) -> dict[str, Result]:
    """Measure a row for each variant; the variants with and without recorder take turns.

    Args:
        only: The variant that *ours* alone is compared with, or empty for all.
    """
    results = [measure(name, task) for name in (["ours"] if only else ["plainly", "ours"])]
    task = replace(task, precision=results[-1]["precision"])  # what auto chose: the others must use the same
    off = only or "ours, unrecorded"
    names = [off, *["ours", off] * (rounds - 1), *([] if only else ["bound"])]
    results += [measure(name, task) for name in names]
    by_variant = {name: [result for result in results if result["variant"] == name] for name in VARIANTS}
    return {name: _combined(found) for name, found in by_variant.items() if found}


def _peak() -> dict[str, float]:
    """Peak memory of this process and of its GPU in MiB."""
    import torch

    unit = 1 if sys.platform == "darwin" else 1024
    peak = {"memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20}
    if torch.cuda.is_available():
        peak["gpu_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return peak


def _device() -> str:
    import torch

    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{description()}, torch {torch.__version__}{gpu}"


def main() -> None:
    """Measure all variants and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.training")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, action="append", help="pixels a side; may be repeated (default: 128)")
    parser.add_argument("--epochs", type=int, default=3, help="at least 2 (default: 3)")
    parser.add_argument("--images", type=int, help="number of photographs to use (default: all)")
    parser.add_argument("--rounds", type=int, default=2, help="turns with and without the recorder (default: 2)")
    parser.add_argument("--recipe", default="reference", help="recipe of ours and bound (default: reference)")
    parser.add_argument("--network", default="recipe", help="network of ours and bound (default: the recipe's)")
    only = parser.add_mutually_exclusive_group()
    for what, off in (("recorder", "ours, unrecorded"), ("predictions", "ours, no predictions")):
        told = f"measure ours with and without {what} alone"
        only.add_argument(f"--{what}-only", dest="only", action="store_const", const=off, default="", help=told)
    parser.add_argument("--precision", default="auto", help="precision of ours and bound (default: auto)")
    parser.add_argument(
        "--visualize-every",
        type=int,
        default=1,
        help="epochs between feature maps, 0 for none (default: 1)",
    )
    parser.add_argument("--json", type=Path, help="keep the table in this file")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    sizes: list[int] = given.size or [128]
    if given.epochs < 2:
        parser.error("--epochs: at least 2, because the first epoch is measured apart")
    if given.rounds < 1:
        parser.error("--rounds: at least 1")
    if given.images is not None and given.images < MIN_IMAGES:
        parser.error(f"--images: at least {MIN_IMAGES}, or an epoch is too short to measure")
    if given.variant:
        task = _task(given, given.folder, sizes[0])
        print(json.dumps({**VARIANTS[given.variant](task), **_peak()}))
        return
    machine = _device()
    print(machine)
    network = "" if given.network == "recipe" else f", {given.network}"
    print(f"{given.recipe} recipe{network}, batches of {BATCH}, {given.epochs} epochs, images/s\n")
    heads = ("first", "later", "of bound", "of plain", "whole", "MiB", "GPU MiB")
    print(f"{'px':>5}  {'variant':<20} {'':<4}", *(f"{head:>8}" for head in heads))
    rows: list[Result] = []
    with _subset(given.folder, given.images) as folder:
        for size in sizes:
            by_variant = measure_all(_task(given, folder, size), given.rounds, given.only)
            _print(by_variant)
            rows += by_variant.values()
    if given.json:
        about = {
            "machine": machine,
            "recipe": given.recipe,
            "network": given.network,
            "epochs": given.epochs,
            "images": given.images,
        }
        about["visualize_every"] = given.visualize_every
        given.json.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def _task(given: argparse.Namespace, folder: Path, size: int) -> Task:
    return Task(folder, size, given.epochs, given.recipe, given.network, given.precision, given.visualize_every)


def _print(rows: dict[str, Result]) -> None:
    """Print the rows of one image size."""
    for row in rows.values():
        rate = row["later"]
        cells = (
            f"{row['first']:.1f}" if row["whole"] else "",
            f"{rate:.1f}",
            f"{rate / rows['bound']['later']:.2f}" if "bound" in rows else "",
            f"{rate / rows['plainly']['later']:.2f}" if "plainly" in rows else "",
            f"{row['whole']:.1f}" if row["whole"] else "",
            f"{row['memory_mib']:.0f}",
            f"{row['gpu_mib']:.0f}" if row["gpu_mib"] else "",
        )
        print(
            f"{row['size']:>5}  {row['variant']:<20} {row['precision'] or '32':<4}", *(f"{cell:>8}" for cell in cells)
        )
    size, ours = rows["ours"]["size"], rows["ours"]
    took = ours["recorder_us"]
    what, off = next(
        (what, rows[name])
        for what, name in (("recorder", "ours, unrecorded"), ("predictions", "ours, no predictions"))
        if name in rows
    )
    print(f"{size:>5}  {what} on / off, whole epochs: {ours['whole'] / off['whole']:.3f}")
    without = off["recorder_us"]
    print(
        f"{size:>5}  recorder on the training thread: median {took['median']:.1f} µs a step, mean {took['mean']:.1f}; "
        f"{off['variant']}: median {without['median']:.1f}, mean {without['mean']:.1f}\n"
    )


if __name__ == "__main__":
    main()
