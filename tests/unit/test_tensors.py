"""Reading tensors by their place in a file, which another program may be writing to."""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from facegender.runs.tensors import DamagedTensors, TensorFile

ARRAYS = {
    "a": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "b/low": np.array([[1, 2], [3, 4]], np.int64),
    "c": np.frombuffer(bytes(range(8)), np.uint8).reshape(4, 2),
    "empty": np.zeros((0, 3), np.float32),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "frame.safetensors"
    save_file(ARRAYS, path, {"epoch": "3"})
    return path


@contextlib.contextmanager
def opened(path: Path) -> Iterator[TensorFile]:
    with io.BufferedReader(io.FileIO(path)) as file:
        yield TensorFile(file)


def test_what_the_library_wrote_is_read(file: Path) -> None:
    with opened(file) as tensors:
        assert tensors.metadata == {"epoch": "3"}
        for name, array in ARRAYS.items():
            assert name in tensors
            np.testing.assert_array_equal(tensors.tensor(name), array)
            for index, row in enumerate(array):
                np.testing.assert_array_equal(tensors.tensor(name, index), row)
        assert "d" not in tensors


@pytest.mark.parametrize(("name", "index"), [("d", 0), ("a", 2), ("a", -1), ("empty", 0)])
def test_what_is_not_there_is_said(file: Path, name: str, index: int) -> None:
    with opened(file) as tensors, pytest.raises(DamagedTensors):
        tensors.tensor(name, index)


def test_a_file_that_is_cut_off_while_it_is_open_is_damaged_and_kills_nobody(file: Path) -> None:
    with opened(file) as tensors:
        with file.open("r+b") as other:
            other.truncate(200)
        with pytest.raises(DamagedTensors, match="is truncated"):
            tensors.tensor("a")


def test_no_beginning_of_a_file_is_taken_for_a_file(file: Path) -> None:
    data = file.read_bytes()
    for length in range(0, len(data) - 1, 7):
        file.write_bytes(data[:length])
        with pytest.raises(DamagedTensors), opened(file):
            pass


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [8, 0]},
        {"dtype": "F32", "shape": [1 << 60], "data_offsets": [0, 1 << 62]},
        {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]},
        {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
    ],
)
def test_a_header_that_lies_is_not_believed(tmp_path: Path, entry: dict[str, object]) -> None:
    header = json.dumps({"a": entry}).encode()
    path = tmp_path / "frame.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    with pytest.raises(DamagedTensors), opened(path) as tensors:
        tensors.tensor("a")


def test_a_file_full_of_holes_fills_no_memory(tmp_path: Path) -> None:
    size = 1 << 40
    header = json.dumps({"a": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    path = tmp_path / "frame.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    os.truncate(path, 8 + len(header) + size)
    with pytest.raises(DamagedTensors, match="too large"), opened(path) as tensors:
        tensors.tensor("a")


@pytest.mark.parametrize(
    "data", [b"", b"short", b"\xff" * 64, struct.pack("<Q", 4) + b"nope", struct.pack("<Q", 2) + b"[]"]
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "frame.safetensors"
    path.write_bytes(data)
    with pytest.raises(DamagedTensors), opened(path):
        pass
