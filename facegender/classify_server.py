"""``python -m facegender.classify_server``: the process that classifies files and cuts patches for the interface.

It reads requests from the standard input, one per line, and writes an answer for each to the standard output (see
`facegender.runs.protocol`). It ends when its input ends.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from facegender.runs import calibration
from facegender.runs.checkpoints import Checkpoint, checkpoint_of
from facegender.runs.folder import open_run
from facegender.runs.lock import modified
from facegender.runs.protocol import Answer, ChannelRequest, PhotographRequest, Request
from facegender.support.cache_dir import cache_folder, make_cache_folder
from facegender.support.files import expanded
from facegender.support.line_server import problem_of, run_server, serve_lines
from facegender.support.machine import available_processors, let_waiting_threads_sleep
from facegender.support.text import one_line, printable

if TYPE_CHECKING:
    from facegender.classifier import Classifier, Prediction
    from facegender.runs.frames import Frame
    from facegender.support.arrays import UInt8Array

KEPT_FRAMES = 30
"""Older ones are removed, also those of other processes, but none that another interface may still show."""
SHOWN_FOR_S = 3600.0


class ClassifyServer:
    """Classifies with the checkpoint that a request asks for, and keeps the last one loaded.

    Args:
        root: Folder with ``checkpoints/``; relative paths of files are relative to it.
        frames: Folder for the frame files that the interface shows.
    """

    def __init__(self, root: Path, frames: Path) -> None:
        self._root = root
        self._frames = frames
        self._loaded: tuple[tuple[object, ...], Classifier] | None = None

    def answer(self, request: Request) -> Answer:
        """Classify a file or make patches; an error becomes an answer, too."""
        from facegender.data.image import UnreadableImage

        try:
            if request.patches is not None:
                return self._make_patches(request, request.patches)
            if request.photograph is not None:
                return self._explain(request, request.photograph)
            return self._classify(request)
        except UnreadableImage as error:
            problem = f"{printable(request.path)}: {error}"
        except Exception as error:  # the boundary of a request: the process goes on
            problem = problem_of(error)
        return Answer(id=request.id, ok=False, error=one_line(problem), path=request.path, run=request.run)

    def _classify(self, request: Request) -> Answer:
        from facegender.data.image import open_image
        from facegender.interpret.activations import layer_frames
        from facegender.interpret.layers import maps_of
        from facegender.runs.frames import write_frame

        run = open_run(self._root, request.run)
        checkpoint = Checkpoint(checkpoint_of(run, request.checkpoint), run)
        classifier = self._load(checkpoint.path)
        path = self._root / expanded(request.path)
        image = open_image(path)
        pixels = classifier.pixels(image)
        logits, activations = classifier.activations(pixels)
        prediction = classifier.prediction(logits)
        frame = msgspec.structs.replace(
            _frame(classifier, pixels, prediction, path.name),
            layers=layer_frames(activations),
            maps_of=maps_of(classifier.layers),
            heatmap=classifier.heatmap(pixels, prediction.label)[None],
        )
        target = self._write(partial(write_frame, frame=frame))
        answer = _with_prediction(_answer(request, checkpoint, classifier, target), prediction, image.size)
        return msgspec.structs.replace(answer, path=request.path)

    def _explain(self, request: Request, wanted: PhotographRequest) -> Answer:
        import numpy as np

        from facegender.channel_patches import checkpoint_for
        from facegender.data.recorded import photograph_reader
        from facegender.runs.frames import write_frame

        run = open_run(self._root, request.run)
        classifier = self._load(checkpoint_for(run, wanted.epoch))
        image = photograph_reader(run)(wanted.name)
        pixels = classifier.pixels(image)
        prediction = classifier.classify(image)
        cams = {
            name: (classifier.heatmap(pixels, name)[None] / 255).astype(np.float32)
            for name in wanted.classes
            if name in prediction.classes
        }
        frame = msgspec.structs.replace(_frame(classifier, pixels, prediction, Path(wanted.name).name), cams=cams)
        target = self._write(partial(write_frame, frame=frame))
        answer = _answer(request, Checkpoint(classifier.checkpoint, run), classifier, target)
        return _with_prediction(answer, prediction, image.size)

    def _make_patches(self, request: Request, wanted: ChannelRequest) -> Answer:
        from facegender.channel_patches import channel_patches, checkpoint_for
        from facegender.runs.patches import write_patches

        run = open_run(self._root, request.run)
        classifier = self._load(checkpoint_for(run, wanted.epoch))
        patches = channel_patches(classifier, run, wanted.epoch, wanted.layer, wanted.channel)
        target = self._write(partial(write_patches, patches=patches))
        return _answer(request, Checkpoint(classifier.checkpoint, run), classifier, target)

    def _write(self, write: Callable[[Path], None]) -> Path:
        """Have a new file written for the interface, and remove old ones."""
        make_cache_folder()
        self._frames.mkdir(mode=0o700, exist_ok=True)
        self._frames.chmod(0o700)  # earlier versions made it readable for everybody
        target = self._frames / f"{time.time_ns()}_{os.getpid()}.safetensors"
        write(target)
        unused_since = modified(target) - SHOWN_FOR_S
        for earlier in sorted(self._frames.glob("*.safetensors"))[:-KEPT_FRAMES]:  # their names begin with the time
            if modified(earlier) < unused_since:
                earlier.unlink(missing_ok=True)
        return target

    def _load(self, path: Path) -> Classifier:
        """The classifier of a checkpoint file, loaded again after the file was replaced or calibrated."""
        from facegender.classifier import load_classifier

        status = path.stat()
        calibrated = modified(path.with_name(calibration.FILE_NAME))
        identity = str(path), status.st_ino, status.st_mtime_ns, status.st_size, calibrated
        if self._loaded is None or self._loaded[0] != identity:
            self._loaded = None  # two networks at once would take twice the memory
            self._loaded = identity, load_classifier(path)
        return self._loaded[1]


def _frame(classifier: Classifier, pixels: UInt8Array, prediction: Prediction, name: str) -> Frame:
    """A frame with one probe, a photograph that was classified, and nothing of the layers yet.

    Args:
        pixels: (S, S, 3) uint8, the photograph as the network takes it.
        name: Its file name.
    """
    import numpy as np

    from facegender.runs.frames import Frame

    return Frame(
        epoch=classifier.epoch,
        step=classifier.step,
        images=pixels[None],
        labels=np.array([-1]),
        probabilities=np.array([prediction.probabilities], np.float32),
        classes=prediction.classes,
        probe_names=[printable(name)],
        layers=[],
        maps_of={},
    )


def _answer(request: Request, checkpoint: Checkpoint, classifier: Classifier, file: Path) -> Answer:
    """Which network answered a request, and the file with the rest of the answer."""
    return Answer(
        id=request.id,
        run=request.run,
        checkpoint=classifier.checkpoint.name,
        epoch=classifier.epoch,
        source=checkpoint.describe(classifier.epoch, classifier.temperature),
        frame=str(file),
    )


def _with_prediction(answer: Answer, prediction: Prediction, image_size: tuple[int, int]) -> Answer:
    return msgspec.structs.replace(
        answer,
        label=prediction.label,
        confidence=prediction.confidence,
        probabilities=dict(zip(prediction.classes, prediction.probabilities, strict=True)),
        image_size=image_size,
    )


def serve(server: ClassifyServer, requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests line by line until they end."""
    serve_lines(Request, server.answer, lambda problem: Answer(ok=False, error=problem), requests, answers)


def _serve(root: Path, requests: IO[bytes], answers: IO[bytes]) -> None:
    let_waiting_threads_sleep()
    import torch

    # A trainer may be at work on the same machine.
    torch.set_num_threads(max(1, available_processors() // 4))
    serve(ClassifyServer(root, cache_folder() / "classify"), requests, answers)


def main() -> None:
    """Run the process."""
    run_server("facegender.classify_server", _serve)


if __name__ == "__main__":
    main()
