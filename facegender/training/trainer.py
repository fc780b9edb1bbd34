"""Lightning's Trainer for the chosen hardware, without the log lines and files that Lightning would add."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins import CheckpointIO
from pytorch_lightning.utilities.exceptions import MisconfigurationException  # type: ignore[attr-defined]  # re-export

from facegender.runs.config import TrainConfig
from facegender.support.errors import UserError
from facegender.support.machine import keep_large_buffers
from facegender.support.text import one_line
from facegender.training.hardware import Hardware

LIGHTNING_PRECISION: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
}


def configure_libraries(config: TrainConfig, hardware: Hardware) -> None:
    """Set random seed, memory allocator, TensorFloat32 and logging; call it before the network is built.

    Lightning's log records go to the root logger, without its advice that does not apply here.
    """
    if hardware.kind == "cpu":
        keep_large_buffers()
    # TensorFloat32 on GPUs that have it: accuracy is measured in photographs, not in the eighth digit.
    torch.set_float32_matmul_precision("high")
    seed_everything(config.seed, workers=True, verbose=False)
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric", "lightning"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
    for message in (".*does not have many workers.*", ".*LeafSpec.*is deprecated.*"):
        warnings.filterwarnings("ignore", message=message)


def build_trainer(
    config: TrainConfig,
    hardware: Hardware,
    folder: Path,
    epochs: int,
    *,
    callbacks: Sequence[Callback] = (),
    plugins: Sequence[CheckpointIO] = (),
    **options: Any,
) -> Trainer:
    """Build a Trainer that logs and saves only through the given callbacks.

    Args:
        folder: Lightning's default folder for files.
        options: Further arguments of `Trainer`.

    Raises:
        UserError: Lightning cannot use the hardware.
    """
    try:
        return Trainer(
            accelerator=config.accelerator,
            devices=hardware.devices,
            num_nodes=hardware.nodes,
            strategy=config.strategy,
            precision=LIGHTNING_PRECISION[hardware.precision],
            max_epochs=epochs,
            callbacks=list(callbacks),
            plugins=list(plugins),
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            **options,
        )
    except (MisconfigurationException, ValueError, RuntimeError, ImportError) as error:
        raise UserError(
            f"--accelerator {config.accelerator} --devices {hardware.devices} --strategy {config.strategy}: "
            f"{one_line(str(error))}; leave these options out to use the hardware that is there"
        ) from None
