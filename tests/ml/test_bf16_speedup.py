"""When training on a processor takes bf16."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from facegender.runs.events import RunStarted
from facegender.runs.folder import RunFolder
from facegender.runs.presets import configure
from facegender.training import hardware as module
from facegender.training.hardware import choose_hardware
from facegender.training.resume import ResumePoint
from facegender.training.run import train
from tests.ml.conftest import events_of, tiny


@pytest.fixture(autouse=True)
def _measured_anew() -> Iterator[None]:
    measured = module.bf16_speedup  # a test may replace it for longer than this
    measured.cache_clear()
    yield
    measured.cache_clear()


def precision(monkeypatch: pytest.MonkeyPatch, gain: float, **given: object) -> str:
    monkeypatch.setattr(module, "_has_bf16", lambda kind: True)
    monkeypatch.setattr(module, "bf16_speedup", lambda: gain)
    return choose_hardware(configure({"accelerator": "cpu", **given})).precision


def test_auto_is_bf16_on_a_cpu_that_is_fast_enough_for_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    assert precision(monkeypatch, 2.0) == "bf16"
    assert precision(monkeypatch, 0.5) == "32"
    assert precision(monkeypatch, 0.0) == "32"
    assert precision(monkeypatch, 2.0, recipe="tuned") == "32"
    assert precision(monkeypatch, 2.0, precision="32") == "32"
    assert precision(monkeypatch, 0.0, precision="bf16") == "bf16"
    assert precision(monkeypatch, 2.0, devices="2") == "32", "each of them could measure otherwise"


@pytest.mark.parametrize(("kind", "expected"), [("cpu", ["32", "32"]), ("cuda", ["32", "bf16"])])
def test_a_resumed_run_keeps_its_precision_on_devices_of_the_same_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, expected: list[str]
) -> None:
    monkeypatch.setattr(module, "_has_bf16", lambda kind: True)
    monkeypatch.setattr(module, "bf16_speedup", lambda: 0.5)
    assert train(tiny(precision="auto"), tmp_path, "a", show=False) == "completed"
    last = RunFolder(tmp_path, "a").last_checkpoint
    checkpoint = torch.load(last, weights_only=True)
    checkpoint["resume_at"]["kind"] = kind
    torch.save(checkpoint, last)
    monkeypatch.setattr(module, "bf16_speedup", lambda: 2.0)
    assert train(tiny(), tmp_path, resume="a", changes={"epochs": 4}, show=False) == "completed"
    starts = [event for event in events_of(tmp_path, "a") if isinstance(event, RunStarted)]
    assert [start.precision for start in starts] == expected


def test_the_speedup_is_that_of_the_fastest_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {torch.float32: 2.0, torch.bfloat16: 1.0}
    interruptions = iter([5.0, 9.0] + [0.0] * 100)
    monkeypatch.setattr(module, "_product_seconds", lambda matrix: seconds[matrix.dtype] + next(interruptions))
    assert module.bf16_speedup() == 2.0


def test_nothing_is_measured_without_bf16_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_product_seconds", lambda matrix: pytest.fail("measured"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True}, raising=False)
    assert choose_hardware(configure({"accelerator": "cpu"})).precision == "32"
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert choose_hardware(configure({"accelerator": "cpu"})).precision == "32"


def test_a_resumed_run_does_not_keep_a_precision_that_these_devices_lack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_has_bf16", lambda kind: False)
    point = ResumePoint(epoch=1, batch=0, step=4, devices=1, kind="cpu", precision="bf16")
    assert choose_hardware(configure({"accelerator": "cpu"}), point).precision == "32"
