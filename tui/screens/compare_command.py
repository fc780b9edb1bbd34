"""The command ``compare RUN RUN…`` of the command palette."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from textual.command import DiscoveryHit, Hit, Hits, Provider

from facegender.runs.folder import RunFolder, list_runs
from tui.messages import CompareRuns

WORD = "compare"
MAX_HITS = 20


class CompareCommand(Provider):
    """Completes the names of runs. With one name, that run is compared with the one on the dashboard."""

    async def startup(self) -> None:
        """Find the runs, newest first."""
        self._root: Path = self.app.root  # type: ignore[attr-defined]  # of our application
        self._names = [folder.name for folder in await asyncio.to_thread(list_runs, self._root)]

    async def discover(self) -> Hits:
        """Say how the command is used, before anything is typed."""
        yield DiscoveryHit(WORD, self._list_runs, help="compare runs: compare RUN RUN…, or mark some in the list")

    async def search(self, query: str) -> Hits:
        """Offer what the typed words can become."""
        word, *typed = query.split()
        if word != WORD[: len(word)] or (typed and word != WORD):
            return
        unfinished = "" if query.endswith(" ") or not typed else typed.pop()
        if any(name not in self._names for name in typed):
            return
        if unfinished in self._names:
            yield self._hit([*typed, unfinished], 1.0)
        for name in [name for name in self._names if name not in typed and name != unfinished][:MAX_HITS]:
            if name.startswith(unfinished):
                yield self._hit([*typed, name], 0.9)
        if not typed and not unfinished:
            yield Hit(1.0, WORD, self._list_runs, help="mark runs in the list with Space")

    def _hit(self, names: list[str], score: float) -> Hit:
        shown = self.app.dashboard.folder  # type: ignore[attr-defined]  # of our application
        compared = names
        if len(names) == 1 and shown is not None and shown.name != names[0]:
            compared = [shown.name, *names]
        folders = tuple(RunFolder(self._root, name) for name in compared)
        ask = self._list_runs if len(folders) < 2 else partial(self.app.post_message, CompareRuns(folders))
        return Hit(score, f"{WORD} {' '.join(names)}", ask, help=f"lay {', '.join(compared)} over each other")

    async def _list_runs(self) -> None:
        await self.app.run_action("app.runs")
        self.app.notify("Space marks runs, Enter compares the marked ones", timeout=6)
