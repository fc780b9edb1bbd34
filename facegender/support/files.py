"""Paths that people type, and files that are read and written with care.

A run folder may come from anywhere, so a file in it may be a pipe, a link or a device; and it may lie on a network disk
that does not answer.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from facegender.support.errors import UserError
from facegender.support.text import printable

# Unlike the methods of `Path`, these are False where a disk does not answer.
exists, is_folder, is_file = os.path.exists, os.path.isdir, os.path.isfile

READ_ONLY_VARIABLE = "FACEGENDER_READ_ONLY"
"""With this environment variable the interface and its processes change no run; ``--read-only`` sets it."""

MAX_BYTES = 256 * 2**20
"""Of a file that is read as a whole: a list of millions of photographs."""


def nearest_existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next((path for path in (folder, *folder.parents) if exists(path)), Path("/"))


def expanded(path: Path | str) -> Path:
    """Replace a leading ``~`` by the home folder; ``~name`` of an unknown user stays as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises for an unknown user


def require_utf8(path: Path, option: str) -> Path:
    """Refuse a path that is not valid UTF-8: JSON cannot hold it, and torch cannot open a file below it.

    Args:
        option: The option that the path was given with, for the message.

    Returns:
        The path, unchanged.

    Raises:
        UserError: Some byte of the path is not part of a UTF-8 character.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{option} {printable(path)}: the path is not valid UTF-8; rename the folder, or name a symbolic link to it"
        ) from None
    return path


def typed_path(text: str, base: Path) -> Path:
    """Turn what somebody typed, pasted or dropped on the terminal into a path.

    If a file of exactly that name exists, it is meant. Otherwise the text is parsed as a shell would, because terminals
    quote the names of dropped files: quotes, and backslashes before spaces.

    Args:
        text: ``~`` stands for the home folder.
        base: The folder that a relative path starts from.
    """
    text = text.strip()
    path = base / expanded(text)
    if exists(path):
        return path
    try:
        words = shlex.split(text)
    except ValueError:  # a single quote, as in "it's.jpg"
        return path
    return base / expanded(words[0]) if len(words) == 1 else path


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block ends without an exception.

    The temporary file exists already, under a name that no other process or thread uses, with the permissions of
    `permissions_in`.

    Args:
        durable: Flush the file and the folder entry to the disk, so that the new file survives a power loss.

    Raises:
        OSError: The folder is missing, or the disk is full or gone.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    mode = permissions_in(path.parent)
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))
        yield temporary
        if durable:
            _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        # Some network file systems cannot flush a folder. The file itself is on the disk by then.
        with contextlib.suppress(OSError):
            _flush(path.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class NotRegular(OSError):
    """A folder, a link, a pipe, a socket or a device stands in the place of a file."""


def open_regular(path: Path, *, append: bool = False) -> io.FileIO:
    """Open a regular file for reading bytes, unbuffered, or for reading and appending.

    Opening a named pipe waits until somebody opens its other end, which may be never, and reading a terminal or another
    device waits for input. Nothing that lies in a run folder may hold up a command or the interface, so the file is
    opened without waiting and checked before anything is read. The check is of the open file and not of the path, which
    might mean something else a moment later.

    Args:
        append: Make the file where it is missing, see `permissions_in`. A symbolic link is refused then, as it could
            lead the writer to any file of the user.

    Raises:
        NotRegular: Something else has that name.
        OSError: The file is missing or cannot be opened.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW if append else os.O_RDONLY
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, permissions_in(path.parent))
    except OSError as error:
        linked = error.errno == errno.ELOOP and path.is_symlink()
        if linked or error.errno == errno.ENXIO:  # a socket
            kind = "a symbolic link" if linked else "no regular file"
            raise NotRegular(error.errno, f"{path.name} is {kind}", str(path)) from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegular(errno.EINVAL, f"{path.name} is no regular file", str(path))
        # Regular files do not know O_NONBLOCK, but a child that inherits the descriptor should not either.
        os.set_blocking(descriptor, True)
        return io.FileIO(descriptor, "ab+" if append else "rb")
    except BaseException:
        os.close(descriptor)
        raise


def is_open_at(file: io.FileIO, path: Path) -> bool:
    """Tell whether nobody removed or replaced an open file at its path; True also when the disk does not answer."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def read_regular(path: Path) -> bytes:
    """Read all bytes of a regular file of at most `MAX_BYTES`, see `open_regular`."""
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > MAX_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        return file.readall()


def read_end(path: Path, size: int) -> bytes:
    """Read up to ``size`` bytes from the end of a regular file, see `open_regular`."""
    with open_regular(path) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - size))
        return file.readall()


def permissions_in(folder: Path) -> int:
    """Permissions for a new file: for the user alone if only the user can enter the folder, else by the umask."""
    try:
        return 0o666 if folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO) else 0o600
    except OSError:
        return 0o666


def make_private_folder(path: Path) -> None:
    """Make a folder for the user alone, unless its parent is shared with a group on purpose.

    A shared parent has the setgid bit or a default access control list. Then the umask or the list decides.

    Raises:
        FileExistsError: Something of that name exists.
        OSError: The folder cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent)) from None
    path.mkdir(0o777 if _is_shared(path.parent) else 0o700)


def _is_shared(folder: Path) -> bool:
    if folder.stat().st_mode & stat.S_ISGID:
        return True
    try:
        return bool(os.getxattr(folder, "system.posix_acl_default"))
    except (OSError, AttributeError):  # no list, a file system without lists, or a system without getxattr
        return False
