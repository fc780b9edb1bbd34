"""Looks at every file of a set before any is decoded: its content's hash, and what can be told of it cheaply."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from facegender.data.cache.decoder import decoding_threads
from facegender.data.dataset import system_file_reason
from facegender.data.image import UnreadableImage, check_image, read_bytes

_AT_ONCE = 32


def survey(
    files: Sequence[Path], folder: Path, report: Callable[[int, int], None]
) -> tuple[dict[int, str], dict[int, str]]:
    """The hashes of those that look like photographs, and why the others do not, each by the file's index.

    Args:
        files: At or below the folder.
        folder: See `system_file_reason`.
        report: Is told (files done, files in all), in the caller's thread.
    """

    def look(index: int) -> tuple[str, str]:
        if refused := system_file_reason(files[index], folder):
            return "", refused
        try:
            data = read_bytes(files[index])
            check_image(data)
        except UnreadableImage as error:
            return "", error.reason
        return digest_of(data), ""

    digests: dict[int, str] = {}
    refused: dict[int, str] = {}
    for index, (digest, reason) in enumerate(_in_order(look, len(files))):
        if reason:
            refused[index] = reason
        else:
            digests[index] = digest
        report(index + 1, len(files))
    return digests, refused


def digest_of(data: bytes) -> str:
    """The hash that stands for a file's content."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _in_order(look: Callable[[int], tuple[str, str]], count: int) -> Iterator[tuple[str, str]]:
    """What ``look`` says of 0 to count - 1, by several threads, a few files at a time as most take them no time."""
    threads = decoding_threads()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="survey")
    waiting: deque[Future[list[tuple[str, str]]]] = deque()
    try:
        for start in range(0, count, _AT_ONCE):
            some = range(start, min(count, start + _AT_ONCE))
            waiting.append(pool.submit(lambda indices: [look(index) for index in indices], some))
            if len(waiting) > 4 * threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
