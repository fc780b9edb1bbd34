"""Building the cache of decoded photographs against decoding and resizing them plainly with Pillow, in one run.

``python -m benchmarks.decoding FOLDER`` reads a folder with ``female/`` and ``male/``:

- *bare*: ``Image.open``, ``convert``, ``resize``, one photograph after another in one thread, and nothing kept;
- *everywhere*: the same in as many processes at once as there are cores, which is what the machine gives just then;
- *cache*: what a run does that has none: decoding in processes, hashing files and pixels, writing, flushing.

Each in turn, several times; figures are medians. *Per core* is the ratio of *cache* to *bare*, divided by the cores;
the bound is 0.9. On a machine that is shared *everywhere* falls short of *bare* times cores, and *cache* with it: the
ratio of processor time, of *bare* to *cache* for the same photographs, says what is left when that is put aside.
``--json FILE`` keeps the table with the machine.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.machine import description


def bare(files: list[Path], size: int) -> None:
    """Decode and resize, in one thread, and keep nothing."""
    from PIL import Image

    for path in files:
        with Image.open(path) as image:
            image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)


def cache(files: list[Path], size: int) -> None:
    """Build a cache that was empty."""
    from facegender.data.cache.photos import load_photos

    with (
        tempfile.TemporaryDirectory() as scratch,
        mock.patch.dict(os.environ, {"FACEGENDER_CACHE": scratch}),
    ):
        photos = load_photos(files, [0] * len(files), size, folder=files[0].parents[1])
        photos.close()
        if photos.notice or photos.skipped:
            raise SystemExit(photos.notice or f"{len(photos.skipped)} files are no photographs")


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of the processor time of this process and those that it started and that have ended."""
    began, used = time.perf_counter(), os.times()
    work()
    return time.perf_counter() - began, sum(os.times()[:4]) - sum(used[:4])


def measured(files: list[Path], size: int, rounds: int, pool: ProcessPoolExecutor, cores: int) -> dict[str, Any]:
    """One row of the table."""
    shares = [files[core::cores] for core in range(cores)]
    times: dict[str, list[tuple[float, float]]] = {"bare": [], "everywhere": [], "cache": []}
    for _ in range(rounds):
        times["bare"].append(timed(lambda: bare(files, size)))
        times["everywhere"].append(timed(lambda: list(pool.map(bare, shares, [size] * cores))))
        times["cache"].append(timed(lambda: cache(files, size)))
    rates = {name: len(files) / statistics.median(clock for clock, _ in pairs) for name, pairs in times.items()}
    used = {name: statistics.median(used for _, used in pairs) for name, pairs in times.items()}
    return {
        "size": size,
        "cores": cores,
        **rates,
        "ratio": rates["cache"] / rates["bare"],
        "per_core": rates["cache"] / rates["bare"] / cores,
        "of_everywhere": rates["cache"] / rates["everywhere"],
        "processor_time": used["bare"] / used["cache"],
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.decoding")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, action="append", help="pixels a side; may be repeated (default: 128, 512)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    parser.add_argument("--json", type=Path, help="keep the table in this file")
    given = parser.parse_args()
    from facegender.data.dataset import find_data_folder, list_labelled_files
    from facegender.support.machine import available_processors

    files = [path for path, _ in list_labelled_files(find_data_folder(str(given.folder), Path()))]
    cores = available_processors()
    machine = description()
    print(machine)
    print(f"{len(files)} photographs, {sum(path.stat().st_size for path in files) / 2**20:.0f} MiB, photographs/s\n")
    heads = ("bare", "everywhere", "cache", "ratio", "per core", "of everywhere", "processor time")
    print(f"{'px':>5}", *(head.rjust(max(8, len(head))) for head in heads))
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(bare, [files[:1]] * cores, [16] * cores))
        for size in given.size or [128, 512]:
            row = measured(files, size, given.rounds, pool, cores)
            rows.append(row)
            rates = [f"{row[name]:.0f}".rjust(max(8, len(name))) for name in ("bare", "everywhere", "cache")]
            ratios = [
                f"{row[name]:.2f}".rjust(max(8, len(name)))
                for name in ("ratio", "per_core", "of_everywhere", "processor_time")
            ]
            print(f"{size:>5}", *rates, *ratios)
    if given.json:
        given.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
