"""The process that decodes the photographs of a run, and the thumbnails that are kept."""

from __future__ import annotations

import asyncio
import io
import signal
from pathlib import Path

import msgspec
import numpy as np
import pytest
import recorded
from PIL import Image

from facegender.runs.config import TrainConfig
from facegender.runs.folder import RunFolder
from facegender.runs.protocol import Thumbnail, ThumbnailRequest
from facegender.thumbnail_server import ThumbnailServer, serve
from tui.host import thumbnails
from tui.host.thumbnails import ENDED, ThumbnailProcess, Thumbnails, Wanted


@pytest.fixture
def run(folder: RunFolder, tmp_path: Path) -> RunFolder:
    """A run with photographs: one is an image of 90 × 60 px, one is damaged."""
    data = tmp_path / "data"
    (data / "female").mkdir(parents=True)
    Image.new("RGB", (90, 60), (200, 10, 10)).save(data / "female" / "a.png")
    (data / "female" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n?")
    folder.write_manifest(recorded.manifest(folder, data=str(data), config=TrainConfig(data=str(data))))
    return folder


def answer(run: RunFolder, name: str, size: tuple[int, int] = (30, 30)) -> Thumbnail:
    return ThumbnailServer(run.root).answer(ThumbnailRequest(id=3, run=run.name, name=name, size=size))


def test_a_photograph_fits_into_its_box_with_its_proportions(run: RunFolder) -> None:
    made = answer(run, "female/a.png")
    assert (made.id, made.size, made.error) == (3, (30, 20), "")
    assert np.frombuffer(made.pixels, np.uint8).reshape(20, 30, 3)[10, 15].tolist() == [200, 10, 10]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("female/b.png", "damaged image"), ("female/c.png", "no such file"), ("../../etc/passwd", "not a name below")],
)
def test_what_is_no_photograph_is_one_line(run: RunFolder, name: str, reason: str) -> None:
    made = answer(run, name)
    assert reason in made.error
    assert made.pixels == b""


def test_a_demo_face_is_drawn_again(folder: RunFolder) -> None:
    config = TrainConfig(demo=True, image_size=48)
    folder.write_manifest(recorded.manifest(folder, config=config))
    assert answer(folder, "male/demo_00003.jpg").size == (30, 30)
    assert "no demo face" in answer(folder, "male/1.jpg").error


def test_a_line_that_is_no_request_is_answered(run: RunFolder) -> None:
    answers = io.BytesIO()
    serve(ThumbnailServer(run.root), io.BytesIO(b"?\n\n"), answers)
    assert "not a request" in msgspec.json.decode(answers.getvalue(), type=Thumbnail).error


async def test_the_process_answers_several_requests_and_starts_again_after_it_has_ended(run: RunFolder) -> None:
    process = ThumbnailProcess(run.root)
    try:
        made = await asyncio.gather(*(process.make(run.name, "female/a.png", (n, n)) for n in (10, 20)))
        assert [one.size for one in made] == [(10, 7), (20, 13)]
        (await process._running_process()).kill()
        ended = await process.make(run.name, "female/a.png", (10, 10))
        assert ended.error in ("", ENDED)
        assert (await process.make(run.name, "female/a.png", (10, 10))).size == (10, 7)
    finally:
        await process.close()


async def test_a_process_that_ends_costs_only_the_photograph_that_it_was_decoding(run: RunFolder) -> None:
    process = ThumbnailProcess(run.root)
    try:
        started = await process._running_process()
        started.send_signal(signal.SIGSTOP)
        asked = [asyncio.create_task(process.make(run.name, "female/a.png", (n, n))) for n in (10, 20, 30)]
        while len(process._waiting) < len(asked):
            await asyncio.sleep(0)
        started.kill()
        first, *others = await asyncio.wait_for(asyncio.gather(*asked), 20)
        assert first.error == ENDED
        assert [one.size for one in others] == [(20, 13), (30, 20)]
    finally:
        await process.close()


async def test_the_newest_wishes_come_first_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "CACHE_BYTES", 3000)
    made: list[str] = []
    may_go_on = asyncio.Event()

    class Process(ThumbnailProcess):
        async def make(self, run: str, name: str, size: tuple[int, int]) -> Thumbnail:
            made.append(name)
            await may_go_on.wait()
            return Thumbnail(size=size, pixels=bytes(300))

    arrivals: list[Wanted] = []
    kept = Thumbnails(Process(Path()), "otter-3", arrivals.append)
    kept.want([Wanted(f"old {number}", (10, 10)) for number in range(20)])
    kept.want([Wanted(f"new {number}", (10, 10)) for number in range(8)])
    await asyncio.sleep(0)
    may_go_on.set()
    while len(arrivals) < 12:
        await asyncio.sleep(0)
    assert made == [*(f"old {number}" for number in range(4)), *(f"new {number}" for number in range(8))]
    assert kept.get(Wanted("new 7", (10, 10))) is not None
    assert kept.get(Wanted("old 0", (10, 10))) is None, "the cache has room for six"
