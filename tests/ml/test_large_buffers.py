"""Memory that a step has freed is taken again by the next."""

from __future__ import annotations

import subprocess
import sys

import pytest

from facegender.support import machine

FREED_AND_TAKEN_AGAIN = """
import resource, sys, torch
from facegender.support.machine import keep_large_buffers
print(keep_large_buffers())
for _ in range(32):
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 2**24 * 4 // 4096


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told")
def test_freed_memory_is_reused_without_page_faults() -> None:
    done = subprocess.run([sys.executable, "-c", FREED_AND_TAKEN_AGAIN], stdout=subprocess.PIPE, text=True, check=True)
    kept, faults = done.stdout.split()
    if kept == "False":
        pytest.skip("another C library, or too little memory")
    assert int(faults) < PAGES


def test_nothing_is_changed_where_memory_is_scarce(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MIN_FREE_BYTES", 2**60)
    assert not machine.keep_large_buffers()
