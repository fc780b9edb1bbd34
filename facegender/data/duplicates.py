"""Find photographs that are near-copies of others, such as re-encoded or resized ones, by a perceptual hash.

The hash is the difference hash (Neal Krawetz, "Kind of Like That", hackerfactor.com, 2013) with 16 × 16 bits: is the
picture visibly brighter to the right? It takes a few lines; the package imagehash would add SciPy and PyWavelets.

`MAX_DISTANCE` was chosen on 2 024 photographs of different people, most of them cropped to the face: re-encoding (JPEG
of quality 30, WebP of quality 50) and resizing (to half, twice and 96 pixels) changed at most 21 bits, and the closest
two of the 2 million pairs differed in 28 bits. Cropping a twentieth off each side changed more than `MAX_DISTANCE` in
502 of 506.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from facegender.data.image import resize_pixels

MAX_DISTANCE = 24
"""Most bits of 256 in which the hashes of near-copies differ."""

Hashes = npt.NDArray[np.uint64]

_BITS_A_SIDE = 16
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue, from ITU-R BT.601."""
_VISIBLE = 1.0
"""The least visible difference of two neighbours, of 255: what is less changes with the compression."""
_MIN_EDGES = 64
"""Photographs with fewer visible differences between neighbours, such as blank ones, have no meaningful hash."""


def difference_hash(image: npt.NDArray[np.uint8]) -> Hashes:
    """Hash what a photograph looks like; photographs that look alike differ in few bits.

    Args:
        image: (S, S, 3) uint8.

    Returns:
        (4,) uint64, all zero if the photograph is nearly blank.
    """
    luma = resize_pixels(image, _BITS_A_SIDE, _BITS_A_SIDE + 1) @ _LUMA
    differences = np.diff(luma, axis=1)
    if np.count_nonzero(np.abs(differences) > _VISIBLE) < _MIN_EDGES:
        return np.zeros(4, np.uint64)
    return np.packbits(differences > _VISIBLE).view(np.uint64)


def find_near_copies(hashes: Hashes, digests: Sequence[str]) -> list[list[str]]:
    """Find groups of different files that show the same photograph.

    Args:
        hashes: (N, 4) uint64, the `difference_hash` of each photograph.
        digests: N hashes of the files' contents; files with the same content count once.

    Returns:
        The sorted content hashes of each group of two or more, in sorted order.
    """
    meaningful = hashes.any(axis=1)
    names, first = np.unique(np.array(digests, str)[meaningful], return_index=True)
    bits = hashes[meaningful][first]
    group = np.arange(len(names))
    for index in range(len(names)):
        distances = np.bitwise_count(bits[index + 1 :] ^ bits[index]).sum(axis=1, dtype=np.int64)
        for other in np.flatnonzero(distances <= MAX_DISTANCE) + index + 1:
            group[group == group[other]] = group[index]
    members: dict[int, list[str]] = {}
    for name, number in zip(names.tolist(), group.tolist(), strict=True):
        members.setdefault(number, []).append(name)
    return sorted(names for names in members.values() if len(names) > 1)


def group_names(digests: Sequence[str], near_copies: Iterable[Sequence[str]]) -> list[str]:
    """The name of each file's group for `split_indices`: its own content hash, or the first hash of its near-copies."""
    first: Mapping[str, str] = {digest: group[0] for group in near_copies for digest in group}
    return [first.get(digest, digest) for digest in digests]
