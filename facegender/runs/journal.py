"""``events.jsonl``: an append-only file with one writer and any number of readers, also on network file systems."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from facegender.runs.events import AnyEvent, Event, decode, encode
from facegender.support.files import open_regular

CHUNK_BYTES = 1 << 20


class JournalWriter:
    """Appends events, each line with a write of its own, so that a failure leaves whole lines and at most one torn.

    A last line that an earlier, killed writer left unfinished is closed with a newline first; readers skip it.
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
            OSError: The disk is full or gone. Some of the events may have been written, which one at a time tells.
        """
        for event in events:
            self._write(encode(event))

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._file.fileno(), data) :]

    def is_at(self, path: Path) -> bool:
        """Whether the file that is written to is still the one at a path; True where that cannot be told."""
        try:
            there = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        own = os.fstat(self._file.fileno())
        return (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino)

    def close(self) -> None:
        """Flush to the disk and close."""
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class JournalReader:
    """Reads what was appended since the last call; an unfinished last line waits for its end.

    A journal that is missing reads as empty. One that became shorter or was replaced is read again from its start,
    which `restarted` tells.

    Attributes:
        restarted: The last `read` began at the start of a different file than before.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.restarted = False
        self._inode: int | None = None
        self._gone = self._unreadable = False
        self._offset = 0
        self._torn: list[bytes] = []
        """What there is of a line whose end has not been read yet."""

    def read(self, limit_bytes: int = CHUNK_BYTES) -> list[AnyEvent]:
        """The next events, at most about ``limit_bytes`` of lines; empty when there is nothing new yet."""
        self.restarted = False
        try:
            with open_regular(self.path) as file:
                status = os.fstat(file.fileno())
                # A file that was away meanwhile is another one, even if it was given the same inode.
                other = self._gone or status.st_ino != self._inode or status.st_size < self._offset
                if self._inode is not None and other:
                    self._offset, self._torn, self.restarted = 0, [], True
                self._inode = status.st_ino
                self._gone = self._unreadable = False
                if status.st_size == self._offset:
                    return []
                file.seek(self._offset)
                data = file.read(limit_bytes)
        except OSError as error:
            self._unreadable = True
            self._gone = self._gone or isinstance(error, FileNotFoundError)
            return []
        self._offset += len(data)
        self._torn.append(data)
        if b"\n" not in data:
            return []
        *lines, rest = b"".join(self._torn).split(b"\n")
        self._torn = [rest]
        return [event for line in lines if line and (event := decode(line)) is not None]

    @property
    def caught_up(self) -> bool:
        """Whether everything that is in the file now has been read; also where the last `read` was refused."""
        try:
            return self._unreadable or self.path.stat().st_size <= self._offset
        except OSError:
            return True


def read_all(path: Path) -> list[AnyEvent]:
    """Every event of a journal."""
    reader = JournalReader(path)
    events: list[AnyEvent] = []
    while not reader.caught_up:
        events += reader.read()
    return events


def read_kinds(path: Path, *kinds: type[Event]) -> Iterator[AnyEvent]:
    """The events of some kinds, in order and without decoding the others; none where there is no journal."""
    tags = [f'"{kind.__struct_config__.tag}"'.encode() for kind in kinds]
    try:
        with io.BufferedReader(open_regular(path), CHUNK_BYTES) as lines:
            for line in lines:
                if any(tag in line for tag in tags) and isinstance(event := decode(line), kinds):
                    yield event
    except OSError:
        return


def read_tail(path: Path, tail_bytes: int = 1 << 16) -> list[AnyEvent]:
    """The events of the last ``tail_bytes`` of a journal, enough to tell how it ended."""
    try:
        with open_regular(path) as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size - tail_bytes)
            file.seek(start)
            lines = file.readall().split(b"\n")
    except OSError:
        return []
    return [event for line in lines[1 if start else 0 :] if line and (event := decode(line)) is not None]
