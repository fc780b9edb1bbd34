"""Cuts from photographs the patches that excite a channel most, and classifies these photographs."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image

from facegender.classifier import Classifier
from facegender.data.image import resize
from facegender.data.recorded import photograph_reader
from facegender.interpret.receptive_field import ReceptiveField, receptive_field
from facegender.rendering.views import NothingToShow, top_values
from facegender.runs.checkpoints import checkpoint_of
from facegender.runs.events import CheckpointSaved
from facegender.runs.folder import RunFolder
from facegender.runs.frames import FrameUnreadable, TopPatches, open_frame
from facegender.runs.journal import read_kinds
from facegender.runs.patches import Patches
from facegender.runs.photographs import read_photographs
from facegender.support.arrays import UInt8Array
from facegender.support.errors import UserError
from facegender.support.text import printable

PHOTOGRAPH_PX = 96
"""Side of the whole photographs beside the patches."""
MAX_PATCH_PX = 128
"""Larger patches are made smaller."""
PADDING = 127
"""Pixel value beyond the edge of a photograph; the network takes it for zero."""


def checkpoint_for(run: RunFolder, epoch: int) -> Path:
    """Return the checkpoint of an epoch, counted from 0, if the run still has it, else its newest one.

    Raises:
        UserError: The run has no checkpoint.
    """
    events = read_kinds(run.journal_path, CheckpointSaved)
    saved = {event.file: event.epoch for event in events if isinstance(event, CheckpointSaved)}
    return checkpoint_of(run, "best" if saved.get(run.best_checkpoint.name) == epoch else "last")


def channel_patches(classifier: Classifier, run: RunFolder, epoch: int, layer: str, channel: int) -> Patches:
    """Make the patches of a channel from the frame of an epoch and the photographs of the run.

    Args:
        classifier: The network of the run in any epoch: receptive fields do not depend on weights.
        run: The run that the network belongs to.
        epoch: Counted from 0.
        layer: Name of the convolution.
        channel: Counted from 0.

    Raises:
        UserError: The frame does not have the channel's largest activations, or a photograph is gone.
    """
    top = _read_top(run, epoch, layer, channel)
    names = _validation_names(run)
    if not len(top.image) or int(top.image.max()) >= len(names):
        raise UserError(f"run {run.name}: {run.photographs_path.name} does not fit the pictures of epoch {epoch + 1}")
    chosen = [names[index] for index in top.image.tolist()]
    read = photograph_reader(run)
    pixels = [classifier.pixels(read(name)) for name in chosen]
    field = _receptive_field(classifier, layer)
    side = classifier.image_size
    boxes = [field.box(int(row), int(column)) for row, column in top.at.tolist()]
    with torch.inference_mode():
        logits = classifier.network(torch.cat(list(map(classifier.tensor, pixels))))
    answers = [classifier.prediction(row[None]) for row in logits]
    return Patches(
        patches=np.stack([_cut(one, box) for one, box in zip(pixels, boxes, strict=True)]),
        photographs=np.stack([resize(Image.fromarray(one), PHOTOGRAPH_PX) for one in pixels]),
        boxes=np.array([_visible(box, side) for box in boxes], np.int32),
        values=top.value,
        names=[PurePosixPath(name).name for name in chosen],
        labels=[PurePosixPath(name).parts[0].lower() for name in chosen],
        answers=[f"{answer.label} {answer.confidence:.2%}" for answer in answers],
    )


def _read_top(run: RunFolder, epoch: int, layer: str, channel: int) -> TopPatches:
    """Read the largest activations of a channel, without the empty entries of a short list."""
    try:
        with open_frame(run.frame_path(epoch)) as frame:
            top = top_values(frame, layer, channel)
    except (FrameUnreadable, NothingToShow) as error:
        raise UserError(f"run {run.name}, epoch {epoch + 1}: {error}") from None
    filled = top.image >= 0
    return TopPatches(value=top.value[filled], image=top.image[filled], at=top.at[filled])


def _validation_names(run: RunFolder) -> list[str]:
    """The names of the validation photographs in the order that frames refer to."""
    if (photographs := read_photographs(run)) is None:
        raise UserError(
            f"run {run.name} has no list of its photographs ({run.photographs_path.name} is missing or cannot be "
            "read): an earlier version trained it, or its own script"
        )
    return photographs.validation


_fields: dict[tuple[object, ...], ReceptiveField] = {}
"""By what determines the network's architecture, and the layer."""


def _receptive_field(classifier: Classifier, layer: str) -> ReceptiveField:
    """Find the receptive field of a layer by its name, once for each architecture."""
    side = classifier.image_size
    key = (classifier.network_name, classifier.recipe, classifier.widths, side, layer)
    if key not in _fields:
        layers = {found.name: found for found in classifier.layers}
        if layer not in layers:
            raise UserError(f"{printable(classifier.checkpoint)}: has no layer {printable(layer)}")
        _fields[key] = receptive_field(classifier.network, layers[layer], side)
    return _fields[key]


def _cut(pixels: UInt8Array, box: tuple[int, int, int, int]) -> UInt8Array:
    """Cut a (top, left, height, width) box from (S, S, 3) uint8 pixels as a square, padded where it reaches beyond.

    A box larger than the photograph is the whole photograph.
    """
    top, left, height, width = box
    side = max(height, width)
    patch = Image.fromarray(pixels)
    if side < len(pixels):
        photograph, patch = patch, Image.new("RGB", (side, side), (PADDING,) * 3)
        patch.paste(photograph, (-left, -top))
    return resize(patch, MAX_PATCH_PX) if patch.width > MAX_PATCH_PX else np.asarray(patch)


def _visible(box: tuple[int, int, int, int], side: int) -> tuple[int, int, int, int]:
    """The part of a box inside a photograph, as left, top, right and bottom in pixels of the small photograph."""
    top, left, height, width = box
    scale = PHOTOGRAPH_PX / side
    ends = (left, top, left + width, top + height)
    first, upper, last, lower = (round(min(max(end, 0), side) * scale) for end in ends)
    return first, upper, max(last, first + 1), max(lower, upper + 1)
