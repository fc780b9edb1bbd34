"""What a run's journal says was done, without reading more of it than that takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from facegender.runs.events import Event


def lines_of(journal: Path, kind: type[Event]) -> Iterator[bytes]:
    """The lines of one kind of event; none where there is no journal."""
    start = b'{"type":"%s"' % str(kind.__struct_config__.tag).encode()
    try:
        with journal.open("rb") as lines:
            yield from (line for line in lines if line.startswith(start))
    except OSError:
        return
