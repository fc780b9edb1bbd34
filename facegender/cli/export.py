"""``facegender export``: save a trained network for other programs."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facegender.cli.options import Root, not_empty, to_path
from facegender.runs.checkpoints import find_checkpoint
from facegender.support.errors import UserError
from facegender.support.files import exists, is_file, is_folder, replacing
from facegender.support.text import one_line, printable, size_in_words

if TYPE_CHECKING:
    from facegender.classifier import Classifier

FORMATS = ("pth", "safetensors", "onnx")


def export(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|FILE",
            parser=not_empty,
            help="A run, whose best checkpoint is used (the newest while it trains), or a checkpoint file.",
        ),
    ],
    format: Annotated[
        str, typer.Option("--format", metavar="|".join(FORMATS), help="pth and safetensors hold the weights only.")
    ] = "safetensors",
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", parser=to_path, help="Default: RUN.FORMAT, here."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", metavar="", help="Overwrite the file if it exists.")] = False,
    root: Root = Path(),
) -> None:
    """Save a trained network for other programs.

    It takes photographs as (N, 3, S, S) float32 in [-1, 1] and gives logits (N, classes).
    """
    target = _target(run, format, output, force=force)
    if format == "onnx" and not all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript")):
        raise UserError("--format onnx needs two more packages: pip install onnx onnxscript")
    checkpoint = find_checkpoint(root, run)
    from facegender.classifier import load_classifier

    classifier = load_classifier(checkpoint.path)
    name = printable(target)
    try:
        with replacing(target) as temporary:
            _write(classifier, format, temporary)
    except (OSError, RuntimeError) as error:  # torch reports a file that it cannot write as a RuntimeError
        problem = one_line(getattr(error, "strerror", None) or str(error))[:150]
        raise UserError(f"{name}: {problem}; name another --output") from None
    print(f"{name}: {size_in_words(target.stat().st_size)}, from {checkpoint.describe(classifier.epoch)}")


def _target(run: str, format: str, output: Path | None, *, force: bool) -> Path:
    """The file to write, by default named after the run or the checkpoint file.

    Raises:
        UserError: The format is unknown, the file exists and may not be overwritten, or it is a device or a pipe.
    """
    if format not in FORMATS:
        raise UserError(f"--format {printable(format)}: must be one of {', '.join(FORMATS)}")
    stem = Path(run).stem if Path(run).suffix == ".ckpt" else run
    target = output or Path(f"{stem}.{format}")
    name = printable(target)
    if is_folder(target):
        raise UserError(f"{name} is a folder: name a file with --output")
    if exists(target) and not is_file(target):  # a device or a pipe, which the new file would replace
        raise UserError(f"{name} is not a regular file: name another file with --output")
    if os.path.lexists(target) and not force:
        raise UserError(f"{name} exists already: name another file with --output, or overwrite it with --force")
    return target


def _write(classifier: Classifier, format: str, path: Path) -> None:
    import torch
    from safetensors.torch import save

    from facegender.network.checkpoint_file import write_checkpoint
    from facegender.network.model import MEAN, STD

    network = classifier.network.to(memory_format=torch.contiguous_format)
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    if format == "pth":
        write_checkpoint(weights, path)
    elif format == "safetensors":
        metadata = {
            "recipe": classifier.recipe,
            "network": classifier.network_name,
            "image_size": str(classifier.image_size),
            "widths": ",".join(map(str, classifier.widths)),
            "classes": ",".join(classifier.classes),
            "input": "RGB in [0, 1], resized to the square with bilinear interpolation, then (x - mean) / std",
            "mean": str(MEAN),
            "std": str(STD),
        }
        path.write_bytes(save(weights, metadata))
    else:
        example = torch.zeros(2, 3, classifier.image_size, classifier.image_size)
        torch.onnx.export(
            network,
            (example,),
            path,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("count")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
