"""``facegender export``: a trained network in files that other programs read. Light until one is written."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

from facegender.runs.checkpoints import find_checkpoint
from facegender.support.errors import UserError
from facegender.support.files import expanded, is_folder, replacing
from facegender.support.text import one_line, printable

if TYPE_CHECKING:
    from facegender.classifier import Classifier

FORMATS = ("pth", "safetensors", "onnx")


def export_file(which: str, form: str, output: Path | None, *, force: bool) -> Path:
    """The file to write.

    Args:
        which: A run or a checkpoint file, which the file is named after.
        form: One of `FORMATS`.
        output: The file instead.
        force: It may be there already.

    Raises:
        UserError: There is no such format, or the file is there already.
    """
    if form not in FORMATS:
        raise UserError(f"--format {printable(form)}: must be one of {', '.join(FORMATS)}")
    name = Path(which).stem if Path(which).suffix == ".ckpt" else which
    target = expanded(output) if output else Path(f"{name}.{form}")
    shown = printable(target)
    if is_folder(target):
        raise UserError(f"{shown} is a folder: name a file with --output")
    if os.path.lexists(target) and not force:
        raise UserError(f"{shown} exists already: name another file with --output, or overwrite it with --force")
    return target


def export_network(root: Path, which: str, form: str, target: Path) -> str:
    """Write a network's weights, or in ONNX the network itself.

    All take photographs as (N, 3, S, S) float32 in [-1, 1] and give (N, classes) logits.

    Args:
        which: A run or a checkpoint file, as for `find_checkpoint`.
        form: One of `facegender.cli.export.FORMATS`.
        target: The file; overwritten if it is there.

    Returns:
        A line that says what was written.

    Raises:
        UserError: There is no such run, a package is missing, or the file cannot be written.
    """
    if form == "onnx" and not all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript")):
        raise UserError("--format onnx needs two more packages: pip install onnx onnxscript")
    from facegender.classifier import load_classifier

    checkpoint = find_checkpoint(root, which, option="")
    classifier = load_classifier(checkpoint.path)
    try:
        with replacing(target) as temporary:
            _write(classifier, form, temporary)
    except OSError as error:
        raise UserError(
            f"{printable(target)}: {one_line(error.strerror or str(error))}; name another --output"
        ) from None
    except RuntimeError as error:  # what torch makes of a file that it cannot write
        raise UserError(f"{printable(target)}: {one_line(str(error))[:150]}; name another --output") from None
    size = target.stat().st_size / 1e6
    return f"{printable(target)}: {size:.1f} MB, {checkpoint.describe(classifier.epoch)}"


def _write(classifier: Classifier, form: str, path: Path) -> None:
    import torch
    from safetensors.torch import save

    from facegender.network.checkpoint_file import write_checkpoint
    from facegender.network.model import MEAN, STD

    network = classifier.network.to(memory_format=torch.contiguous_format)
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    if form == "pth":
        write_checkpoint(weights, path)
    elif form == "safetensors":
        metadata = {
            "recipe": classifier.recipe,
            "image_size": str(classifier.image_size),
            "widths": ",".join(map(str, classifier.widths)),
            "classes": ",".join(classifier.classes),
            "input": "RGB in [0, 1], resized to the square with bilinear interpolation, then (x - mean) / std",
            "mean": str(MEAN),
            "std": str(STD),
        }
        path.write_bytes(save(weights, metadata))
    else:
        example = torch.zeros(1, 3, classifier.image_size, classifier.image_size)
        torch.onnx.export(
            network,
            (example,),
            path,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes={"images": {0: torch.export.Dim("count")}},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
