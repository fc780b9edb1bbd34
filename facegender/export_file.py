"""Where an exported network goes; known before torch is imported."""

from __future__ import annotations

import os
from pathlib import Path

from facegender.support.errors import UserError
from facegender.support.files import expanded, is_folder
from facegender.support.text import printable

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
