"""The file ``claim`` in a run folder: which process works on the run. At most one does, also on network file systems.

It is made with ``O_EXCL``, which needs no lock server. What a process left behind that is gone is taken over, and as
two may find it at the same time, whoever takes over first makes a second file that is named after the content it
replaces: nobody can replace a claim that they did not find stale themselves.
"""

from __future__ import annotations

import contextlib
import os
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from facegender.runs.process import LOST_AFTER_S, Process
from facegender.support.files import read_regular

ATTEMPTS = 20


class Held(Exception):
    """Another process has the claim.

    Attributes:
        holder: That process, if its claim can be read.
    """

    def __init__(self, holder: Process | None) -> None:
        super().__init__(f"process {holder.pid} on {holder.host}" if holder else "another process")
        self.holder = holder


class ClaimFile:
    """The claim of one run folder. Creating the object touches nothing.

    Args:
        path: The file.
        signs: Files that the holder writes to now and then. Where the holder cannot be seen from here, they tell.
    """

    def __init__(self, path: Path, signs: Sequence[Path]) -> None:
        self.path = path
        self._signs = signs
        self._content = b""

    def take(self) -> None:
        """Make the calling process the holder.

        Raises:
            Held: Another process is.
            OSError: The folder cannot be written.
        """
        content = msgspec.json.encode(Process.this())
        found: bytes | None = None
        for _ in range(ATTEMPTS):
            try:
                self._create(self.path, content)
            except FileExistsError:
                found = self._read()
                if found is None:
                    continue
                if self._is_live(found):
                    raise Held(_decode(found)) from None
                if not self._replace(found, content):
                    continue
            if self._read() == content:
                self._content = content
                return
        raise Held(_decode(found))

    def release(self) -> None:
        """Remove the claim, if this object took it and still has it."""
        content, self._content = self._content, b""
        if content and self._read() == content:
            with contextlib.suppress(OSError):
                self.path.unlink()

    def is_held(self) -> bool:
        """Whether a process that is alive, or may be, has the claim."""
        content = self._read()
        return content is not None and self._is_live(content)

    def refresh(self) -> None:
        """Show that the holder is alive, where it has nothing else to show it with."""
        if self._content:
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def _create(self, path: Path, content: bytes) -> None:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        try:
            os.write(descriptor, content)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def _replace(self, stale: bytes, content: bytes) -> bool:
        """Put a claim in the place of a stale one, unless somebody else does; whether it was done."""
        right = self.path.with_name(f".{self.path.name}.{zlib.crc32(stale):08x}")
        try:
            self._create(right, b"")
        except FileExistsError:
            if not is_fresh([right]):  # whoever made it was killed between two lines of this function
                right.unlink(missing_ok=True)
            time.sleep(0.01)
            return False
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            if self._read() != stale:
                return False
            temporary.write_bytes(content)
            temporary.replace(self.path)
            return True
        finally:
            temporary.unlink(missing_ok=True)
            right.unlink(missing_ok=True)

    def _read(self) -> bytes | None:
        try:
            return read_regular(self.path)
        except FileNotFoundError:
            return None
        except OSError:  # it is there, and whose it is cannot be told
            return b""

    def _is_live(self, content: bytes) -> bool:
        process = _decode(content)
        presence = process.presence() if process else "out of sight"
        if presence == "out of sight":
            return is_fresh([self.path, *self._signs] if process else [self.path])
        return presence == "alive"


def is_fresh(signs: Sequence[Path], now: float | None = None) -> bool:
    """Whether one of some files was written to lately, by the clock of the file system that they are on.

    That clock may be ahead of ours: a file from the future is fresh, as calling a dead run live costs a minute and
    calling a live run dead may cost the run.
    """
    return (time.time() if now is None else now) - max(map(modified, signs)) <= LOST_AFTER_S


def modified(path: Path) -> float:
    """When a file was last written to; 0 where it is missing or cannot be looked at."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _decode(content: bytes | None) -> Process | None:
    try:
        return msgspec.json.decode(content or b"", type=Process)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
