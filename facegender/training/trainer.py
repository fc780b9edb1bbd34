"""Lightning's Trainer on what `hardware` has chosen, without the words and files that it would make by itself."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.plugins import CheckpointIO

from facegender.runs.config import TrainConfig
from facegender.support.errors import UserError
from facegender.support.text import one_line
from facegender.training.hardware import Hardware, keep_large_buffers

LIGHTNING_PRECISION: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
}


def configure_torch(config: TrainConfig, hardware: Hardware) -> None:
    """Make torch ready for this process's training, before there is a network: seed, memory, TensorFloat32."""
    if hardware.kind == "cpu":
        keep_large_buffers()
    # Where the GPU has it: what is measured is whether faces are told apart, not the eighth digit.
    torch.set_float32_matmul_precision("high")
    seed_everything(config.seed, workers=True, verbose=False)


def trainer_on(
    hardware: Hardware,
    folder: Path,
    epochs: int,
    *,
    callbacks: Sequence[Callback] = (),
    plugins: Sequence[CheckpointIO] = (),
    **more: Any,
) -> Trainer:
    """A Trainer.

    Args:
        folder: Where Lightning writes what it is not told a folder for.
        more: As Lightning's own arguments.

    Raises:
        UserError: Lightning cannot use the hardware.
    """
    try:
        return Trainer(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            num_nodes=hardware.nodes,
            strategy=hardware.strategy,
            precision=LIGHTNING_PRECISION[hardware.precision],
            max_epochs=epochs,
            callbacks=list(callbacks),
            plugins=list(plugins),
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            **more,
        )
    except (MisconfigurationException, ValueError, RuntimeError, ImportError) as error:
        raise UserError(f"{hardware.options()}: {one_line(str(error))}; leave them out to use what is there") from None


def silence_lightning() -> None:
    """Lightning's records go where all records go, and what it advises without need goes nowhere."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric", "lightning"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
    for message in (".*does not have many workers.*", ".*LeafSpec.*is deprecated.*"):
        warnings.filterwarnings("ignore", message=message)
