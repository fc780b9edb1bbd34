"""Checkpoints as files. One may come from a stranger: no code runs, and no more memory is taken than it is large."""

from __future__ import annotations

import stat
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

MAX_DEPTH = 32


NETWORK_PREFIX = "network."
"""Of the names in ``state_dict`` that belong to the network; the rest is the name in the network's own."""

MAX_COUNT = 2**53


class DamagedCheckpoint(Exception):
    """The file holds no checkpoint, or only a part of one."""


def write_checkpoint(content: Any, path: Path) -> None:
    """Write tensors and plain values.

    Raises:
        OSError: The disk is full or gone, and what that is called.
    """
    try:
        # Into a file that Python has opened: of one that torch opens it would not tell why it cannot be written.
        with path.open("wb") as file:
            torch.save(content, file)
    except RuntimeError as error:
        cause = error.__context__
        if isinstance(cause, OSError):
            raise OSError(cause.errno, cause.strerror) from error
        raise OSError(None, str(error)) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint as tensors, mapped from the file, and plain values. Nothing is said of what is in it.

    Raises:
        OSError: The file cannot be read.
        DamagedCheckpoint: There is no checkpoint in it.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for somebody to write into it
        raise DamagedCheckpoint("no regular file")
    size = status.st_size
    try:
        _check_archive(path, size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch thinks of a stranger's tensors; they are looked at below
            content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if not isinstance(content, dict):
            raise DamagedCheckpoint(f"holds a {type(content).__name__}")
        # Numbers that a tensor shows more than once take no room in the file, but each a place of its own once copied.
        if sum(tensor.numel() * tensor.element_size() for tensor in _tensors(content)) > size:
            raise DamagedCheckpoint("claims more numbers than it has")
    except (DamagedCheckpoint, OSError):
        raise
    except Exception as error:  # what a damaged file raises is up to the unpickler and the archive reader
        raise DamagedCheckpoint(str(error)) from None
    return content


def network_weights(state: Mapping[str, Any], like: nn.Module) -> dict[str, Tensor]:
    """Those of a checkpoint's ``state_dict`` by their names in the network.

    Args:
        like: The network that they must fit; may be on the device "meta".

    Raises:
        DamagedCheckpoint: They are another network's, as far as names, shapes and types tell.
    """
    found = {name.removeprefix(NETWORK_PREFIX): tensor for name, tensor in state.items()}
    expected = like.state_dict()
    if found.keys() != expected.keys():
        raise DamagedCheckpoint("holds the weights of another network")
    for name, tensor in found.items():
        wanted = expected[name]
        if not isinstance(tensor, Tensor) or tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
            raise DamagedCheckpoint(f"{name} is of another shape or kind")
    return found


def require_count(value: Any, name: str) -> int:
    """The value, if it is a number of things.

    Raises:
        DamagedCheckpoint: It is not; the message has the name.
    """
    if type(value) is not int or not 0 <= value < MAX_COUNT:
        raise DamagedCheckpoint(f"{name} is no count")
    return value


def _check_archive(path: Path, size: int) -> None:
    """torch never compresses, so that a small file cannot become a large one.

    Raises:
        DamagedCheckpoint: This one is no archive, or compressed.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or sum(e.file_size for e in entries) > size:
        raise DamagedCheckpoint("is compressed")


def _tensors(value: Any, depth: int = 0) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if value.layout is not torch.strided:
            raise DamagedCheckpoint("holds sparse tensors")
        yield value
    elif isinstance(value, (dict, list, tuple)):
        if depth > MAX_DEPTH:
            raise DamagedCheckpoint("is nested too deeply")
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item, depth + 1)
