"""Looks for a learning rate: a short training in which it rises from batch to batch, of which nothing stays.

Light until the data was found, so that a mistyped folder is answered before torch is imported.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from facegender.data.dataset import locate
from facegender.runs.config import TrainConfig, validate
from facegender.support.errors import UserError, complain
from facegender.training.failures import describe, is_out_of_memory
from facegender.training.rate_curve import RateCurve
from facegender.training.stop import Stopped, StopSwitch, signals_handled

TOLD_EVERY_S = 5.0


def find_learning_rate(config: TrainConfig, root: Path, batches: int) -> RateCurve:
    """Train one network for some batches, each with a higher learning rate than the one before.

    Args:
        config: What to train, on one device whatever it says.
        root: Where photographs are looked for that the configuration does not name.
        batches: How many learning rates are tried; fewer, where the loss grows beyond all bounds before.

    Raises:
        UserError: The configuration, the data or the device cannot be used.
        KeyboardInterrupt: Somebody asked to end, by whatever signal; nothing is left behind.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UserError("a learning rate is looked for in one process: start find-lr without torchrun")
    config = msgspec.structs.replace(validate(config), devices="1", num_nodes=1, strategy="auto")
    if not config.demo:
        locate(config.data, root)
    stop = StopSwitch()
    try:
        with signals_handled(stop, lambda: stop.request("SIGHUP")):
            from facegender.training.rate_sweep import sweep

            return sweep(config, root, batches, _Progress().tell)
    except Stopped:
        raise KeyboardInterrupt from None
    except Exception as error:
        if is_out_of_memory(error):
            raise UserError(describe(error)) from error
        raise


class _Progress:
    """Says now and then how far the preparation of the photographs is."""

    def __init__(self) -> None:
        self._told_at = time.monotonic()

    def tell(self, done: int, count: int) -> None:
        now = time.monotonic()
        if now - self._told_at >= TOLD_EVERY_S:
            self._told_at = now
            complain(f"preparing photographs: {done} of {count}")
