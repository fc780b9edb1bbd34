"""What the interface and its warm classify process say to each other: one JSON object a line, in either direction."""

from __future__ import annotations

import msgspec


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Classify one file.

    Attributes:
        id: Comes back in the answer.
        path: The file; relative paths are relative to the root folder.
        run: Classify with this run's newest checkpoint, ``last.ckpt``.
        checkpoint: Or with this file of that run, e.g. "best.ckpt".
        heatmap: Also say where the network looked (Grad-CAM), in the frame file.
    """

    id: int
    path: str
    run: str
    checkpoint: str = "last.ckpt"
    heatmap: bool = True


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        id: Of the request; -1 for the first line, which only says that the process is ready.
        error: One line for the person; empty when ``ok``.
        probabilities: Per class name, each in [0, 1].
        checkpoint: File name of the checkpoint that answered.
        epoch: The epoch that it was saved in, at its end or, by a run that was stopped, before; counted from 0.
        frame: Path of a frame file with one probe: the photograph, its maps in all layers, the heatmap.
    """

    id: int = -1
    ok: bool = True
    ready: bool = False
    error: str = ""
    path: str = ""
    label: str = ""
    confidence: float = 0.0
    probabilities: dict[str, float] = {}
    run: str = ""
    checkpoint: str = ""
    epoch: int = -1
    frame: str = ""
    image_size: tuple[int, int] = (0, 0)
    seconds: float = 0.0
