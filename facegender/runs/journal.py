"""``events.jsonl``: an append-only file with one writer and any number of readers, also on network file systems."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from facegender.runs.events import AnyEvent, Event, decode, decode_lines, encode
from facegender.support.files import is_open_at, open_regular, read_end

CHUNK_BYTES = 1 << 20


class JournalWriter:
    """Appends events, one write per line, so that a failure leaves whole lines and at most one torn line.

    If an earlier writer was killed in the middle of a line, a newline ends that line first; readers skip it.
    """

    def __init__(self, path: Path) -> None:
        self._file = open_regular(path, append=True)
        try:
            size = os.fstat(self._file.fileno()).st_size
            if size and os.pread(self._file.fileno(), 1, size - 1) != b"\n":
                self._write(b"\n")
        except OSError:
            self._file.close()
            raise

    def write(self, *events: Event) -> None:
        """Append events in order.

        Raises:
            OSError: The disk is full or gone. The events before the one that failed are written.
        """
        for event in events:
            self._write(encode(event))

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._file.fileno(), data) :]

    def is_at(self, path: Path) -> bool:
        """Tell whether the journal is still the file at a path, see `is_open_at`."""
        return is_open_at(self._file, path)

    def close(self) -> None:
        """Flush to the disk and close."""
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()


class JournalReader:
    """Reads the lines that were appended since the last call. An unfinished last line is kept until its end arrives.

    A missing journal reads as empty. A journal that became shorter or was replaced is read again from its start.

    Attributes:
        restarted: The last `read` started over with a different file.
        caught_up: The last `read` reached the end of the file, or failed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.restarted = self.caught_up = False
        self._inode: int | None = None
        self._gone = False
        self._offset = 0
        self._torn: list[bytes] = []
        """The parts of a line whose end has not been read yet."""

    def read(self, limit_bytes: int = CHUNK_BYTES) -> list[AnyEvent]:
        """Read the next events, up to about ``limit_bytes`` of lines; an empty list if nothing is new."""
        self.restarted, self.caught_up = False, True
        try:
            with open_regular(self.path) as file:
                status = os.fstat(file.fileno())
                # A file that was missing in between is a different one, even if it got the same inode.
                other = self._gone or status.st_ino != self._inode or status.st_size < self._offset
                if self._inode is not None and other:
                    self._offset, self._torn, self.restarted = 0, [], True
                self._inode, self._gone = status.st_ino, False
                if status.st_size == self._offset:
                    return []
                file.seek(self._offset)
                data = file.read(limit_bytes)
        except OSError as error:
            self._gone = self._gone or isinstance(error, FileNotFoundError)
            return []
        self._offset += len(data)
        self.caught_up = self._offset >= status.st_size
        self._torn.append(data)
        if b"\n" not in data:
            return []
        data = b"".join(self._torn)
        end = data.rindex(b"\n") + 1
        self._torn = [data[end:]]
        return decode_lines(data[:end])


def read_kinds(path: Path, *kinds: type[Event]) -> Iterator[AnyEvent]:
    """Yield the events of some types in order, without decoding the others; none if there is no journal."""
    tags = [f'"{kind.__struct_config__.tag}"'.encode() for kind in kinds]
    try:
        with open_regular(path) as file:
            torn: list[bytes] = []
            while chunk := file.read(CHUNK_BYTES):
                lines, newline, rest = chunk.rpartition(b"\n")
                if newline:
                    yield from _events_of(b"".join([*torn, lines]), tags, kinds)
                    torn.clear()
                torn.append(rest)
            yield from _events_of(b"".join(torn), tags, kinds)
    except OSError:
        return


def _events_of(lines: bytes, tags: list[bytes], kinds: tuple[type[Event], ...]) -> Iterator[AnyEvent]:
    """Yield the events whose lines have one of the tags; searching is many times as fast as splitting into lines."""
    starts = {lines.rfind(b"\n", 0, offset) + 1 for tag in tags for offset in _offsets(tag, lines)}
    for start in sorted(starts):
        end = lines.find(b"\n", start)
        if isinstance(event := decode(lines[start : end if end >= 0 else None]), kinds):
            yield event


def _offsets(tag: bytes, lines: bytes) -> Iterator[int]:
    offset = -1
    while (offset := lines.find(tag, offset + 1)) >= 0:  # three times as fast as a regular expression
        yield offset


def read_tail(path: Path, tail_bytes: int = 1 << 16) -> Iterator[AnyEvent]:
    """Yield the events in the last ``tail_bytes`` of a journal, the newest first, enough to tell how it ended."""
    try:
        lines = read_end(path, tail_bytes).split(b"\n")
    except OSError:
        return
    # The end of a line that begins before is no JSON object, as it lacks the brace that its last one closes.
    yield from (event for line in reversed(lines) if (event := decode(line)) is not None)
