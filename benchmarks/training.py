"""Training speed: the reference recipe written plainly, this program, and what the device allows, in one run.

``python -m benchmarks.training FOLDER`` trains on a folder with ``female/`` and ``male/``, each variant in a process of
its own, one after another:

- *plainly*: the reference recipe with Lightning, `ImageFolder`, PIL transforms and single precision;
- *ours*: what ``facegender train`` runs, and the same with a recorder that reports no steps;
- *bound*: the same network and optimiser on one batch that is at hand on the device already.

Images/s are those of training, without validation. The first epoch of *ours* counts everything before it as well, as
the photographs are decoded then; *plainly* decodes in each. ``--json FILE`` keeps the table with the machine.
"""

from __future__ import annotations

import argparse
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
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.machine import description

BATCH = 32
SEED = 42
WARM_UP_STEPS = 3
BOUND_S = 10.0


def plainly(folder: Path, size: int, epochs: int, recipe: str) -> list[float]:
    """Images/s of each epoch of the reference recipe as it is usually written, whatever recipe was asked for."""
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
            self.network = FaceGenderNet(size)
            self.loss = torch.nn.CrossEntropyLoss()
            self.began = 0.0
            self.rates: list[float] = []

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            """One batch."""
            loss: torch.Tensor = self.loss(self.network(batch[0]), batch[1])
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            """One batch."""
            self.log("validation_loss", self.loss(self.network(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            """Adam and StepLR."""
            optimiser = torch.optim.Adam(self.parameters(), lr=1e-3)
            return [optimiser], [torch.optim.lr_scheduler.StepLR(optimiser, 10, 0.1)]

        def on_train_epoch_start(self) -> None:
            """Start the clock."""
            self.began = time.perf_counter()

        def on_validation_start(self) -> None:
            """Stop it."""
            self.rates.append(len(train) / (time.perf_counter() - self.began))

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")
    seed_everything(SEED, verbose=False)
    steps = [transforms.Resize((size, size)), transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
    images = ImageFolder(str(folder), transforms.Compose(steps))
    held = len(images) // 5
    train, validation = random_split(images, [len(images) - held, held])
    module = Plain()
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=scratch,
        )  # fmt: skip
        trainer.fit(module, DataLoader(train, BATCH, shuffle=True), DataLoader(validation, BATCH))
    return module.rates


def ours(folder: Path, size: int, epochs: int, recipe: str) -> list[float]:
    """Images/s of each epoch of this program; of the first one with all that came before it."""
    from facegender.network.module import FaceGenderModule
    from facegender.runs.folder import RunFolder
    from facegender.runs.recipes import configured
    from facegender.training.session import train

    began: list[float] = []
    ended: list[float] = []
    begin, end = FaceGenderModule.on_train_epoch_start, FaceGenderModule.on_validation_start

    def on_train_epoch_start(self: FaceGenderModule) -> None:
        began.append(time.perf_counter())
        begin(self)

    def on_validation_start(self: FaceGenderModule) -> None:
        ended.append(time.perf_counter())
        end(self)

    config = configured({
        "recipe": recipe, "data": str(folder.absolute()), "image_size": size, "epochs": epochs, "batch_size": BATCH,
        "seed": SEED, "visualize_every": 0,
    })  # fmt: skip
    with (
        tempfile.TemporaryDirectory() as scratch,
        mock.patch.dict(os.environ, {"FACEGENDER_CACHE": str(Path(scratch) / "cache")}),
        mock.patch.object(FaceGenderModule, "on_train_epoch_start", on_train_epoch_start),
        mock.patch.object(FaceGenderModule, "on_validation_start", on_validation_start),
    ):
        started = time.perf_counter()
        if train(config, Path(scratch), "run", show=False) != "completed":
            raise SystemExit("the run failed")
        count = _trained_images(RunFolder(Path(scratch), "run").journal_path)
    return [count / (stop - start) for start, stop in zip([started, *began[1:]], ended, strict=True)]


def _trained_images(journal: Path) -> int:
    lines = journal.read_text(encoding="utf-8").splitlines()
    started: dict[str, Any] = next(line for line in map(json.loads, lines) if line["type"] == "run_started")
    return sum(started["train_images"].values())


def unrecorded(folder: Path, size: int, epochs: int, recipe: str) -> list[float]:
    """The same as `ours`, but no step is reported."""
    from facegender.training.recorder import RunRecorder

    def nothing(self: RunRecorder, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        return

    with mock.patch.object(RunRecorder, "on_train_batch_end", nothing):
        return ours(folder, size, epochs, recipe)


def bound(folder: Path, size: int, epochs: int, recipe: str) -> list[float]:
    """Images/s of forward pass, backward pass and optimiser on one batch that stays where it is."""
    import torch

    from facegender.network.model import normalise
    from facegender.network.recipes import RECIPES, build_network
    from facegender.runs.recipes import configured
    from facegender.training.hardware import hardware

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = configured({"recipe": recipe, "image_size": size})
    mixed = hardware(config).precision == "bf16"
    network = build_network(recipe, size, config.widths, 2).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form
    optimiser = RECIPES[recipe].optimiser(network.parameters(), config)
    images = normalise(torch.randint(0, 256, (BATCH, 3, size, size), dtype=torch.uint8, device=device))
    labels = torch.arange(BATCH, device=device) % 2
    torch.set_float32_matmul_precision("high")

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            logits = network(images)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        optimiser.step()

    def settle() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(WARM_UP_STEPS):
        step()
    settle()
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < BOUND_S:
        step()
        settle()
        done += BATCH
    return [done / (time.perf_counter() - began)]


VARIANTS: dict[str, Callable[[Path, int, int, str], list[float]]] = {
    "plainly": plainly,
    "ours": ours,
    "ours, unrecorded": unrecorded,
    "bound": bound,
}


def measured(name: str, folder: Path, size: int, epochs: int, recipe: str) -> dict[str, Any]:
    """A variant's rates and peak memory, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.training", str(folder), "--variant", name]
    options = ["--size", str(size), "--epochs", str(epochs), "--recipe", recipe]
    done = subprocess.run([*command, *options], stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"variant": name, "size": size, **result}


def _peak() -> dict[str, float]:
    """Highest memory of this process, and of its GPU."""
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
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.training")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, action="append", help="pixels a side; may be repeated (default: 128)")
    parser.add_argument("--epochs", type=int, default=3, help="at least 2 (default: 3)")
    parser.add_argument("--recipe", default="reference", help="of ours and of the bound (default: reference)")
    parser.add_argument("--json", type=Path, help="keep the table in this file")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    sizes: list[int] = given.size or [128]
    if given.epochs < 2:
        parser.error("--epochs: there are no later epochs with fewer than 2")
    if given.variant:
        rates = VARIANTS[given.variant](given.folder, sizes[0], given.epochs, given.recipe)
        print(json.dumps({"rates": rates, **_peak()}))
        return
    machine = _device()
    print(machine)
    print(f"{given.recipe} recipe, batches of {BATCH}, {given.epochs} epochs, images/s of training\n")
    heads = (f"{'first':>8}", f"{'later':>8}", f"{'of bound':>9}", f"{'of plain':>9}", f"{'MiB':>7}", f"{'GPU MiB':>8}")
    print(f"{'px':>5}  {'variant':<18}", *heads)
    rows: list[dict[str, Any]] = []
    for size in sizes:
        results = [measured(name, given.folder, size, given.epochs, given.recipe) for name in VARIANTS]
        later = {row["variant"]: statistics.median(row["rates"][1:] or row["rates"]) for row in results}
        for row in results:
            rate = row["later"] = later[row["variant"]]
            first = f"{row['rates'][0]:.1f}" if len(row["rates"]) > 1 else ""
            gpu = f"{row['gpu_mib']:.0f}" if "gpu_mib" in row else ""
            print(
                f"{size:>5}  {row['variant']:<18} {first:>8} {rate:>8.1f} {rate / later['bound']:>9.2f} "
                f"{rate / later['plainly']:>9.2f} {row['memory_mib']:>7.0f} {gpu:>8}"
            )
        rows += results
        ratio = later["ours"] / later["ours, unrecorded"]
        print(f"{size:>5}  recorder on / off: {ratio:.3f}\n")
    if given.json:
        given.json.write_text(json.dumps({"machine": machine, "recipe": given.recipe, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
