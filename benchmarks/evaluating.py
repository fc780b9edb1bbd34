"""``facegender evaluate`` and ``predict FOLDER`` against what decoding and computing alone add up to, in one run.

``python -m benchmarks.evaluating FOLDER CHECKPOINT...`` reads a folder with ``female/`` and ``male/``:

- *decoding*: reading, decoding and resizing in as many processes as there are cores, and nothing else;
- *computing*: the network on photographs at hand, with as many threads as cores, in the faster of two batch sizes;
- *bound*: what these add up to, if one core can only do one of them at a time: 1 / (1 / decoding + 1 / computing);
- *evaluate*, *predict*: the commands, from their arguments to their last line, where torch is imported already;
- *started*: ``facegender predict FOLDER`` as a program of its own, which imports torch first.

Each in turn, several times; figures are medians in photographs/s. On a shared machine, the *processor time* says
more: that of decoding and computing alone, divided by that of the command.

``--calibration RUN --root DIR`` measures what a temperature does: fitted on one half of a run's validation photographs,
measured on the other, both ways. ``--json FILE`` keeps the table with the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.machine import description


def decode(files: list[Path], size: int) -> float:
    """Decode and resize with one thread, and keep nothing. Returns seconds of processor time."""
    import torch

    from facegender.data.image import open_image, resize

    torch.set_num_threads(1)
    began = time.process_time()
    for path in files:
        resize(open_image(path), size)
    return time.process_time() - began


def compute(network: Any, size: int, count: int, batch: int) -> tuple[float, float]:
    """Seconds on the clock and of processor time for the logits of so many photographs."""
    import torch

    from facegender.network.model import normalise

    images = normalise(torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8))
    with torch.inference_mode():
        network(images)
        return timed(lambda: [network(images) for _ in range(0, count, batch)])


def command(*arguments: str) -> None:
    """Run a command of the program in this process, and drop what it prints."""
    from facegender.__main__ import run

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        if run(arguments):
            raise SystemExit(f"facegender {' '.join(arguments)} failed")


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of the processor time of this process and those that it started and that have ended."""
    began, used = time.perf_counter(), os.times()
    work()
    return time.perf_counter() - began, sum(os.times()[:4]) - sum(used[:4])


def measured(checkpoint: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """The rates of one checkpoint."""
    from facegender.classifier import load_classifier
    from facegender.data.dataset import find_data_folder, list_labelled_files
    from facegender.support.machine import available_processors

    files = [path for path, _ in list_labelled_files(find_data_folder(str(folder), Path()))]
    classifier, cores = load_classifier(checkpoint), available_processors()
    size, count = classifier.image_size, len(files)
    shares = [files[core::cores] for core in range(cores)]
    named = ["--checkpoint", str(checkpoint), str(folder)]
    program = [sys.executable, "-m", "facegender", "predict", *named]
    times: dict[str, list[tuple[float, float]]] = {}
    with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(decode, [files[:9]] * cores, [size] * cores))

        def decoding() -> tuple[float, float]:
            began = time.perf_counter()
            used = sum(pool.map(decode, shares, [size] * cores))
            return time.perf_counter() - began, used

        works: dict[str, Callable[[], tuple[float, float]]] = {
            "decoding": decoding,
            "computing": lambda: min(compute(classifier.network, size, count, batch) for batch in (16, 32)),
            "evaluate": lambda: timed(lambda: command("evaluate", str(checkpoint), "--data", str(folder))),
            "predict": lambda: timed(lambda: command("predict", *named)),
            "started": lambda: timed(lambda: subprocess.run(program, check=True, capture_output=True)),
        }
        for _ in range(rounds):
            for name, work in works.items():
                times.setdefault(name, []).append(work())
    rates = {name: count / statistics.median(clock for clock, _ in pairs) for name, pairs in times.items()}
    used = {name: statistics.median(used for _, used in pairs) for name, pairs in times.items()}
    bound = 1 / (1 / rates["decoding"] + 1 / rates["computing"])
    ratios = {f"{name}_of_bound": rates[name] / bound for name in ("evaluate", "predict")}
    for name in ("evaluate", "predict"):
        ratios[f"{name}_processor_time"] = (used["decoding"] + used["computing"]) / used[name]
    return {"size": size, "photographs": count, "cores": cores, **rates, "bound": bound, **ratios}


def calibration(run: str, root: Path) -> dict[str, Any]:
    """What the temperatures of two halves of the validation photographs do to each other's loss."""
    import msgspec

    from facegender.cli.predictions import computed_predictions
    from facegender.evaluation.metrics import check_temperature
    from facegender.runs.checkpoints import find_checkpoint

    answers, _ = computed_predictions(find_checkpoint(root, run), None, None)
    found: dict[str, Any] = msgspec.to_builtins(check_temperature(answers.logits, answers.labels))
    return {"run": run, "photographs": len(answers.labels), **found}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.evaluating")
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("checkpoints", type=Path, nargs="*")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    parser.add_argument("--calibration", metavar="RUN", action="append", default=[], help="may be repeated")
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    given = parser.parse_args()
    if not given.calibration and not given.checkpoints:
        parser.error("give a folder and a checkpoint, or --calibration RUN")
    machine = description()
    print(machine)
    works = [partial(calibration, run, given.root) for run in given.calibration]
    works += [partial(measured, checkpoint, given.folder, given.rounds) for checkpoint in given.checkpoints]
    rows: list[dict[str, Any]] = []
    for work in works:
        rows.append(work())
        for name, value in rows[-1].items():
            print(f"{name:>26}  {value:.3f}" if isinstance(value, float) else f"{name:>26}  {value}", flush=True)
    if given.json:
        given.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
