"""Decode the missing photographs of a set in worker processes, which write straight into its file.

Processes, because decoding small photographs in threads mostly waits for Python's lock. On Linux they are forked, as
those of PyTorch's data loader are: they start in milliseconds, where a new interpreter would first import PyTorch for
seconds. After the fork they use one thread, no device, and none of the parent's streams.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from facegender.data.cache.file import Indices, PhotoFile, Pixels, Result
from facegender.data.duplicates import difference_hash
from facegender.data.image import UnreadableImage
from facegender.support.errors import UserError
from facegender.support.machine import available_processors, keep_large_buffers

Read = Callable[[int], tuple[Pixels, bytes]]
"""Decodes the file of a row to (S, S, 3) uint8 and the hash of its content; raises `UnreadableImage`."""

MAX_PROCESSES = 32
_MIN_ROWS_PER_PROCESS = 16
_SEND_EVERY_S = 0.05
_RECORD_EVERY_S = 0.5
_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def decode_missing(file: PhotoFile, read: Read, report: Callable[[int, int], None]) -> None:
    """Decode what a file does not have yet, and wait for it.

    What is decoded stays in the file whatever ends this: the next call continues there.

    Args:
        read: Called in the worker processes.
        report: Called with (rows done, rows) in this thread; a slow one does not hold up the processes.

    Raises:
        OSError: The disk is full or fails.
        UserError: The system does not allow as many processes.
        RuntimeError: A worker process was killed.
    """
    rows = file.missing_rows
    done = file.count - len(rows)
    report(done, file.count)
    unrecorded: list[Result] = []
    recorded_at = time.monotonic()
    try:
        with _workers(file, read, rows) as connections:
            while connections:
                for connection in wait(connections):
                    assert isinstance(connection, Connection)
                    try:
                        results = connection.recv()
                    except EOFError:
                        connections.remove(connection)
                        continue
                    if isinstance(results, Exception):
                        raise results
                    unrecorded += results
                    done += len(results)
                    report(done, file.count)
                if time.monotonic() - recorded_at > _RECORD_EVERY_S:
                    file.record(unrecorded)
                    unrecorded, recorded_at = [], time.monotonic()
    finally:
        file.record(unrecorded)


@contextlib.contextmanager
def _workers(file: PhotoFile, read: Read, rows: Indices) -> Iterator[list[Any]]:
    """Processes that decode, as the connections on which they send lists of results, or an exception.

    Raises:
        UserError: The system does not allow as many processes.
        RuntimeError: One of them was killed.
    """
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    number = min(MAX_PROCESSES, available_processors(), -(-len(rows) // _MIN_ROWS_PER_PROCESS))
    position = context.Value("Q", 0)
    processes: list[Any] = []
    connections: list[Any] = []
    try:
        # The workers inherit the blocked signals: the parent alone decides what Ctrl-C or a closed terminal means.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            for _ in range(number):
                receiver, sender = context.Pipe(duplex=False)
                arguments = (file, read, rows, position, sender, os.getpid())
                process = context.Process(target=_work, args=arguments, daemon=True)
                process.start()
                sender.close()
                processes.append(process)
                connections.append(receiver)
        except OSError as error:
            raise UserError(
                f"cannot start {number} processes that decode photographs ({error.strerror}): end other programs, or "
                "raise the limits of processes and open files (`ulimit -u`, `ulimit -n`)"
            ) from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield connections
        for process in processes:
            process.join()
            if process.exitcode:
                code = process.exitcode
                how = f"exit status {code}" if code > 0 else f"signal {signal.Signals(-code).name}"
                raise RuntimeError(
                    f"a process that decodes photographs ended with {how}; start again: decoding continues where it was"
                )
    finally:
        for process in processes:
            process.kill()
            process.join()


def _work(file: PhotoFile, read: Read, rows: Indices, position: Any, sender: Connection, parent: int) -> None:
    """Decode one row after another until none is left or the parent process is gone."""
    gc.freeze()  # else the collector would touch, and so copy, all memory that is shared with the parent
    keep_large_buffers()
    torch.set_num_threads(1)
    results: list[Result] = []
    sent_at = time.monotonic()
    try:
        while os.getppid() == parent:
            with position.get_lock():
                at = position.value
                position.value += 1
            if at >= len(rows):
                break
            row = int(rows[at])
            try:
                pixels, digest = read(row)
                file.write(row, pixels)
                results.append((row, digest, difference_hash(pixels).tobytes(), ""))
            except UnreadableImage as error:
                results.append((row, b"", b"", str(error)))
            if time.monotonic() - sent_at > _SEND_EVERY_S:
                sender.send(results)
                results, sent_at = [], time.monotonic()
        sender.send(results)
    except Exception as error:  # the boundary of a process: the parent raises it
        error.add_note("".join(traceback.format_exception(error)))
        sender.send(error)
    # Ends here, as a normal exit would flush the parent's streams, whose locks another thread may hold at the fork.
    os._exit(0)
