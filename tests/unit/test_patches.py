"""The file of patches that the classify process writes and the interface shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from facegender.rendering.views import patch_tiles
from facegender.runs.patches import Patches, PatchesUnreadable, read_patches, write_patches


def patches(count: int = 9) -> Patches:
    random = np.random.default_rng(0)
    return Patches(
        patches=random.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8),
        photographs=random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8),
        boxes=np.tile(np.array([4, 4, 12, 12], np.int32), (count, 1)),
        values=-np.sort(-random.random(count)).astype(np.float32),
        names=[f"face-{number}.jpg" for number in range(count)],
        labels=["female"] * count,
        answers=["male 87.34%"] * count,
    )


@pytest.mark.parametrize("count", [9, 3, 0])
def test_patches_are_read_as_they_were_written(tmp_path: Path, count: int) -> None:
    written = patches(count)
    write_patches(tmp_path / "a.safetensors", written)
    read = read_patches(tmp_path / "a.safetensors")
    for name, value in structs.asdict(written).items():
        np.testing.assert_array_equal(getattr(read, name), value)


def test_names_of_photographs_cannot_control_a_terminal(tmp_path: Path) -> None:
    hostile = structs.replace(patches(1), names=["a\x1b[31m\nb"])
    assert patch_tiles(hostile).labels == ("a\ufffd[31m b",)
    write_patches(tmp_path / "a.safetensors", hostile)
    assert read_patches(tmp_path / "a.safetensors").names == ["a\ufffd[31m b"]


def test_a_file_that_is_missing_damaged_or_does_not_fit_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(PatchesUnreadable, match="No such file"):
        read_patches(path)
    write_patches(path, patches())
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(PatchesUnreadable, match="is truncated"):
        read_patches(path)
    write_patches(path, structs.replace(patches(), labels=["female"]))
    with pytest.raises(PatchesUnreadable, match="do not fit"):
        read_patches(path)
