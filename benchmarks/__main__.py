"""Runs every benchmark, one after another."""

from __future__ import annotations

from benchmarks import curves, first_paint

for part in (first_paint, curves):
    print(f"\n{(part.__doc__ or '').splitlines()[0]}")
    part.main()
