"""What the interface and its warm classify process say to each other: one JSON object a line, in either direction."""

from __future__ import annotations

import msgspec


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Classify one file.

    Attributes:
        id: Comes back in the answer.
        path: The file; relative paths are relative to the root folder.
        run: Classify with this run's newest checkpoint, ``last.ckpt``.
    """

    id: int
    path: str
    run: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        id: Of the request; -1 where a line was none.
        error: One line for the person; empty when ``ok``.
        probabilities: Per class name, each in [0, 1].
        checkpoint: File name of the checkpoint that answered.
        epoch: The epoch that it was saved in, at its end or, by a run that was stopped, before; counted from 0.
        frame: Path of a frame file with one probe: the photograph, its maps in all layers, and the heatmap of
            where the network looked (Grad-CAM).
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
    frame: str = ""
    image_size: tuple[int, int] = (0, 0)
    seconds: float = 0.0
