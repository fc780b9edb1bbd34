"""Reads and writes checkpoint files. Those of strangers run no code and take no more memory than their size."""

from __future__ import annotations

import stat
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

NETWORK_PREFIX = "network."
"""Prefix of the names in a checkpoint's ``state_dict`` that belong to the network."""


class DamagedCheckpoint(Exception):
    """The file is not a complete, valid checkpoint."""


def write_checkpoint(content: Any, path: Path) -> None:
    """Write tensors and plain values.

    Raises:
        OSError: The file cannot be written.
    """
    try:
        # Python opens the file, because torch does not say why one that it opened cannot be written.
        with path.open("wb") as file:
            torch.save(content, file)
    except RuntimeError as error:
        cause = error.__context__
        if isinstance(cause, OSError):
            raise OSError(cause.errno, cause.strerror) from error
        raise OSError(None, str(error)) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint: plain values, and tensors that are mapped from the file. Does not check their meaning.

    Raises:
        OSError: The file cannot be read.
        DamagedCheckpoint: The file is not a checkpoint.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for a writer
        raise DamagedCheckpoint("not a regular file")
    size = status.st_size
    try:
        # torch never compresses; a small compressed file could expand to any size.
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        if any(entry.compress_type for entry in entries) or sum(entry.file_size for entry in entries) > size:
            raise DamagedCheckpoint("is compressed")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a stranger's tensors, which are checked below
            content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if not isinstance(content, dict):
            raise DamagedCheckpoint(f"holds a {type(content).__name__}")
        tensors = [leaf for leaf in leaves(content) if isinstance(leaf, Tensor)]
        if any(tensor.layout is not torch.strided for tensor in tensors):
            raise DamagedCheckpoint("holds sparse tensors")
        # An expanded tensor repeats numbers that the file stores once; a copy of it would take the whole memory.
        if sum(tensor.numel() * tensor.element_size() for tensor in tensors) > size:
            raise DamagedCheckpoint("its tensors are larger than the file")
    except (DamagedCheckpoint, OSError, MemoryError):
        raise
    except Exception as error:  # a damaged file can raise anything in the unpickler and the archive reader
        raise DamagedCheckpoint(str(error)) from None
    return content


def network_weights(state: Mapping[str, Any], like: nn.Module) -> dict[str, Tensor]:
    """Return a checkpoint's weights by their names in the network.

    Args:
        state: The checkpoint's ``state_dict``.
        like: The network that they must fit; may be on the device "meta".

    Raises:
        DamagedCheckpoint: Names, shapes or types are not those of the network.
    """
    found = {name.removeprefix(NETWORK_PREFIX): tensor for name, tensor in state.items()}
    expected = like.state_dict()
    if found.keys() != expected.keys():
        raise DamagedCheckpoint("holds the weights of another network")
    for name, tensor in found.items():
        wanted = expected[name]
        if not isinstance(tensor, Tensor) or tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
            raise DamagedCheckpoint(f"{name} has another shape or type")
    # Not `found`: the dictionary of a network also has the versions of its modules, which some need to load it.
    expected.update(found)
    return expected


def require_count(value: Any, name: str) -> int:
    """Return the value if it is a non-negative integer.

    Raises:
        DamagedCheckpoint: It is not; the message has the name.
    """
    if type(value) is not int or not 0 <= value < 2**53:
        raise DamagedCheckpoint(f"{name} is not a count")
    return value


def leaves(value: Any) -> Iterator[Any]:
    """Yield the values in nested dictionaries, lists and tuples."""
    if isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    else:
        yield value
