"""``calibration.json``: the temperature that makes the probabilities of a checkpoint mean what they say.

It lies beside the checkpoint, belongs to the epoch and step that it was fitted for, and changes no other checkpoint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from facegender.support.files import read_regular, replacing

FILE_NAME = "calibration.json"


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Temperature scaling, after Guo et al. 2017, https://arxiv.org/abs/1706.04599.

    Attributes:
        temperature: Divides the logits before the softmax.
        epoch: Of the checkpoint, counted from 0.
        step: Optimiser steps until the checkpoint.
        photographs: How many validation photographs it was fitted on.
    """

    temperature: Annotated[float, msgspec.Meta(ge=1e-3, le=1e3)]
    epoch: int
    step: int
    photographs: int


def write_calibration(checkpoint: Path, calibration: Calibration) -> None:
    """Store the calibration of a checkpoint file; it appears whole or not at all.

    Raises:
        OSError: The disk is full or gone.
    """
    with replacing(checkpoint.with_name(FILE_NAME)) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(calibration)) + b"\n")


def read_calibration(checkpoint: Path, epoch: int, step: int) -> Calibration | None:
    """Read the calibration of a checkpoint file that was saved in an epoch and at a step; None if it has none."""
    try:
        calibration = msgspec.json.decode(read_regular(checkpoint.with_name(FILE_NAME)), type=Calibration)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return calibration if (calibration.epoch, calibration.step) == (epoch, step) else None
