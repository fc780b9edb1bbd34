"""Messages between the interface and the processes that classify and that make thumbnails: one JSON object per line."""

from __future__ import annotations

import msgspec

from facegender.runs.checkpoints import CheckpointChoice


class ChannelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which channel's patches are wanted.

    Attributes:
        epoch: The epoch whose frame says what excites the channel most, counted from 0.
        layer: Name of the convolution.
        channel: Counted from 0.
    """

    epoch: int
    layer: str
    channel: int


class PhotographRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Ask where the network looked in a photograph of a run.

    Attributes:
        name: As in ``photographs.json``.
        epoch: The checkpoint of this epoch answers if there is one, else the newest; counted from 0.
        classes: The classes to look for; those that the network does not have are left out.
    """

    name: str
    epoch: int
    classes: list[str]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Classify one file, make the patches of a channel, or say where the network looked in a photograph of the run.

    Attributes:
        id: Is repeated in the answer.
        path: The file; relative paths are relative to the root folder.
        run: The run whose network classifies it.
        checkpoint: Which checkpoint of the run; "auto" is the best one, or the newest while the run trains.
        patches: The channel, if patches are wanted; ``path`` and ``checkpoint`` mean nothing then.
        photograph: Likewise the photograph.
    """

    id: int
    path: str = ""
    run: str
    checkpoint: CheckpointChoice = "auto"
    patches: ChannelRequest | None = None
    photograph: PhotographRequest | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The result, or why there is none.

    Attributes:
        id: That of the request; -1 if the line was not a request.
        error: One line for the person; empty if ``ok``.
        probabilities: Class name to probability, in [0, 1].
        checkpoint: File name of the checkpoint that was used.
        epoch: The epoch in which it was saved, counted from 0.
        source: Run, checkpoint and epoch in words, with what a person should know of that run.
        frame: Path of a frame file with one probe: the photograph, its feature maps in all layers, and the LayerCAM
            heatmap of the predicted class. If patches were wanted: of their file, see `facegender.runs.patches`. If a
            photograph of the run was: of a frame file with it and a LayerCAM heatmap for each wanted class.
        image_size: Width and height of the photograph in pixels.
    """

    id: int = -1
    ok: bool = True
    error: str = ""
    path: str = ""
    label: str = ""
    confidence: float = 0.0
    probabilities: dict[str, float] = {}
    run: str = ""
    checkpoint: str = ""
    epoch: int = -1
    source: str = ""
    frame: str = ""
    image_size: tuple[int, int] = (0, 0)


class ThumbnailRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which photograph of a run is wanted, and how large.

    Attributes:
        id: Is repeated in the answer.
        run: Name of the run.
        name: Of the photograph, as in ``photographs.json``.
        size: Width and height in pixels of the box that it has to fit into.
    """

    id: int
    run: str
    name: str
    size: tuple[int, int]


class Thumbnail(msgspec.Struct, frozen=True, kw_only=True):
    """A small photograph, or why there is none.

    Attributes:
        id: That of the request; -1 if the line was not a request.
        size: Its width and height in pixels.
        pixels: Height times width times 3 bytes, RGB; Base64 in JSON.
        error: One line for the person; empty if there is a photograph.
    """

    id: int = -1
    size: tuple[int, int] = (0, 0)
    pixels: bytes = b""
    error: str = ""
