"""Building the cache of decoded photographs against decoding and resizing them plainly with Pillow, in one run.

``python -m benchmarks.decoding FOLDER`` reads a folder with ``female/`` and ``male/``:

- *bare*: ``Image.open``, ``convert``, ``resize``, one photograph after another, and nothing kept;
- *cache*: what a run does that has none: hashing, checking, decoding in threads, checksums, writing, verifying.

Both in turn, several times; ratios are those of the medians. The bound is 0.9 of the bare rate for each core. As others
may be at work on the machine, there is the same by processor time too: the bare milliseconds a photograph, divided by
those of the cache.

``--json FILE`` keeps the table with the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.machine import description


def bare(files: list[Path], size: int) -> None:
    """Decode and resize in one thread, and keep nothing."""
    from PIL import Image

    for path in files:
        with Image.open(path) as image:
            image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)


def cache(files: list[Path], size: int) -> None:
    """Put all into a cache that is empty."""
    from facegender.data.cache import photographs_of

    with tempfile.TemporaryDirectory() as scratch, mock.patch.dict(os.environ, {"FACEGENDER_CACHE": scratch}):
        photographs = photographs_of(files, [0] * len(files), size).complete()
        if photographs.notice or photographs.skipped:
            raise SystemExit(photographs.notice or f"{len(photographs.skipped)} files are no photographs")


def measured(work: Callable[[list[Path], int], None], files: list[Path], size: int) -> tuple[float, float]:
    """Photographs/s, and milliseconds of processor time a photograph."""
    began, used = time.perf_counter(), time.process_time()
    work(files, size)
    return len(files) / (time.perf_counter() - began), (time.process_time() - used) / len(files) * 1e3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.decoding")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, action="append", help="pixels a side; may be repeated (default: 128, 512)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    parser.add_argument("--json", type=Path, help="keep the table in this file")
    given = parser.parse_args()
    from facegender.data.dataset import list_files, locate

    files = [path for path, _ in list_files(locate(str(given.folder), Path()))]
    cores = len(os.sched_getaffinity(0))
    machine = description()
    print(machine)
    print(f"{len(files)} photographs, {sum(path.stat().st_size for path in files) / 2**20:.0f} MiB, photographs/s\n")
    heads = ("px", "bare/s", "cache/s", "ratio", "per core", "bare ms", "cache ms", "per core, by processor time")
    print("  ".join(f"{head:>8}" for head in heads))
    rows: list[dict[str, Any]] = []
    for size in given.size or [128, 512]:
        rounds = [(*measured(bare, files, size), *measured(cache, files, size)) for _ in range(given.rounds)]
        plain, plain_ms, ours, ours_ms = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratio, by_time = ours / plain, plain_ms / ours_ms
        print(
            f"{size:>8}  {plain:>8.0f}  {ours:>8.0f}  {ratio:>8.2f}  {ratio / cores:>8.2f}  {plain_ms:>8.2f}  "
            f"{ours_ms:>8.2f}  {by_time:>8.2f}"
        )
        rows.append(
            {"size": size, "bare": plain, "cache": ours, "cores": cores, "per_core": ratio / cores, "by_time": by_time}
        )
    if given.json:
        given.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
