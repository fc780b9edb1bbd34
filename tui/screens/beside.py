"""Pictures side by side: the same layer of two runs, or two epochs of one run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace
from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.widgets import Static

from facegender.runs.folder import RunFolder
from facegender.support.text import printable_strings
from tui import commands
from tui import format as fmt
from tui.graphics.textual_internals import Column, Row
from tui.host.processes import ClassifierProcess, RunPatches
from tui.inspect.browser import LayerBrowser
from tui.inspect.selection import Selection
from tui.run.follow import Follower, FollowFailed, RunUpdated
from tui.run.state import RunState
from tui.screens.base import BaseScreen, lacks_of
from tui.widgets.keys import KeyHints

SIDES = ("left", "right")
MOVED = {"both": (0, 1), "left": (0,), "right": (1,)}
"""The sides whose epoch the keys move, by the word for them."""


class Beside(BaseScreen[None]):
    """Two layer panes with one selection: a change of layer, view, channel or probe in one changes the other as well.

    Layers and probe photographs belong together by their names. Where the other run has no such layer or photograph, it
    shows the one at the same position, and the line above the panes says so.
    """

    CSS_PATH = "beside.tcss"
    SCREEN_COMMANDS = commands.BESIDE
    FOOTER = commands.BESIDE_FOOTER

    def __init__(
        self,
        folders: tuple[RunFolder, RunFolder],
        selections: tuple[Selection, Selection],
        classifier: ClassifierProcess,
    ) -> None:
        """Create the screen.

        Args:
            folders: The runs on the left and on the right.
            selections: What each shows first; epochs may differ, everything else is that of the left one.
        """
        super().__init__()
        self._folders = folders
        self._browsers = tuple(LayerBrowser("reading the run", id=side) for side in SIDES)
        self._headings = tuple(Static(classes="heading", markup=False) for _ in SIDES)
        for browser, folder, selection in zip(self._browsers, folders, selections, strict=True):
            browser.patches.source = RunPatches(classifier, folder.name)
            browser.selection = selection
        self._known = selections
        self._states: list[RunState | None] = [None, None]
        self._probes: list[tuple[str, ...]] = [(), ()]
        self._followers: list[Follower] = []
        self._moved = "right" if self._is_one_run else "both"

    @property
    def _is_one_run(self) -> bool:
        return self._folders[0].path == self._folders[1].path

    def compose(self) -> ComposeResult:
        """The two panes, each below the name of its run."""
        yield Static(id="title", markup=False)
        with Row(id="sides"):
            for heading, browser in zip(self._headings, self._browsers, strict=True):
                with Column():
                    yield heading
                    yield browser
        yield KeyHints(*self.hints())

    def on_mount(self) -> None:
        """Follow the runs once the screen has been painted."""
        self._arrange()
        self._show_texts()
        self.call_after_refresh(self._follow)

    def _follow(self) -> None:
        for browser, folder, selection in zip(self._browsers, self._folders, self._known, strict=True):
            with self.prevent(LayerBrowser.Selected):
                browser.open(folder.frame_path)
                browser.select(selection)
        folders = self._folders[:1] if self._is_one_run else self._folders
        self._followers = [Follower(folder, self.post_message) for folder in folders]
        self._browsers[0].focus()

    def on_unmount(self) -> None:
        """Stop the threads that follow the runs."""
        for follower in self._followers:
            follower.stop()

    def lacks(self) -> frozenset[str]:
        """Return what the view does not have."""
        return lacks_of(self._browsers[0])

    # The runs

    @on(RunUpdated)
    def _run_updated(self, event: RunUpdated) -> None:
        state = event.state
        for side, folder in enumerate(self._folders):
            if folder.name != state.name:
                continue
            before = self._states[side]
            self._states[side] = state
            if not state.exists:
                browser = self._browsers[side]
                browser.placeholder = f"the folder of run {folder.name} is gone"
                with self.prevent(LayerBrowser.Selected):
                    browser.open(None)
                continue
            self._browsers[side].update_frames(
                state.frames,
                tuple(layer.name for layer in state.started.layers) if state.started else (),
                state.frame_times,
                live=state.live,
                placeholder="no feature maps were recorded" if state.read and not state.live else "reading the run",
                finished=tuple(epoch.epoch for epoch in state.epochs),
                within=state.frames_within,
            )
            if state.frames and (before is None or not before.frames):
                self._read_probes(side, folder, state.frames[-1])
        self._show_texts()

    @on(FollowFailed)
    def _follow_failed(self, event: FollowFailed) -> None:
        self.app.notify(f"run {event.run} is no longer followed ({event.why})", severity="error", markup=False)

    @work
    async def _read_probes(self, side: int, folder: RunFolder, epoch: int) -> None:
        """Read the names of a run's probe photographs."""
        self._probes[side] = await asyncio.to_thread(_probe_names, folder, epoch)
        if self.is_open:
            self._mirror(0)

    # One selection

    @on(LayerBrowser.Selected)
    def _selected(self) -> None:
        """Carry a change of one side over to the other."""
        for side, browser in enumerate(self._browsers):
            if browser.selection != self._known[side]:
                self._mirror(side)
                return
        self._show_texts()

    def _mirror(self, side: int) -> None:
        """Show what one side shows on the other."""
        browser, other = self._browsers[side], self._browsers[1 - side]
        selection = browser.selection
        linked = selection.epoch != self._known[side].epoch and self._moved == "both"
        mirrored = replace(
            selection,
            epoch=selection.epoch if linked else other.selection.epoch,
            layer=_same(self._layers(side), self._layers(1 - side), selection.layer),
            probe=_same(self._probes[side], self._probes[1 - side], selection.probe),
        )
        with self.prevent(LayerBrowser.Selected):
            other.select(mirrored)
        left, right = (one.selection for one in self._browsers)
        self._known = left, right
        self._show_texts()

    def _layers(self, side: int) -> tuple[str, ...]:
        state = self._states[side]
        return tuple(layer.name for layer in state.started.layers) if state is not None and state.started else ()

    # Texts

    def _show_texts(self) -> None:
        """Show which run and epoch is where, and what does not match."""
        title = Text.assemble((" Side by side", "bold"))
        left, right = (browser.selection for browser in self._browsers)
        for what, names, indices in (
            ("layer", [self._layers(0), self._layers(1)], (left.layer, right.layer)),
            ("photograph", self._probes, (left.probe, right.probe)),
        ):
            both = [of[index] if 0 <= index < len(of) else "" for of, index in zip(names, indices, strict=True)]
            if all(both) and both[0] != both[1]:
                title.append(f"  not the same {what}: {both[0]} | {both[1]}", "$warning")
        title.append(f"  ←→ moves {self._moved}, Tab changes that", "dim")
        self.query_one("#title", Static).update(title, layout=False)
        for side, heading in enumerate(self._headings):
            heading.update(self._heading(side), layout=False)

    def _heading(self, side: int) -> Text:
        state, browser = self._states[side], self._browsers[side]
        moved = side in MOVED[self._moved]
        line = Text.assemble((f" {self._folders[side].name}", "bold $accent" if moved else "bold"))
        if state is None or browser.epoch is None:
            return line
        line.append(f"  {fmt.epoch_name(browser.epoch)}", "bold")
        if (finished := state.epoch_at(browser.epoch)) is not None:
            line.append(f"  val. loss {fmt.measured(finished.validation_loss)}")
            line.append(f"  val. acc. {fmt.measured(finished.validation_accuracy)}")
        return line

    # Arrangement

    def on_resize(self, event: events.Resize) -> None:
        """Put the panes above each other in a narrow and high terminal."""
        self._arrange()

    def _arrange(self) -> None:
        stacked = self.size.width < 90 and self.size.height >= 36
        self.query_one("#sides").styles.layout = "vertical" if stacked else "horizontal"
        # Panes of one size have the same tiles on a page.
        width = None if stacked else self.size.width // 2
        for column in self.query("#sides > Column"):
            column.styles.width = width

    # Keys

    def action_next_moved(self) -> None:
        """Change which side the epoch keys move."""
        words = tuple(MOVED)
        self._moved = words[(words.index(self._moved) + 1) % len(words)]
        self._show_texts()

    def action_move_epoch(self, by: int) -> None:
        """Move by epochs on the sides that the keys move."""
        self._moving_side.move_epoch(by)

    def action_first_epoch(self) -> None:
        """Show the first epoch on the sides that the keys move."""
        self._moving_side.first_epoch()

    @property
    def _moving_side(self) -> LayerBrowser:
        """The side that a key moves; the other one follows if both are to move."""
        return self._browsers[MOVED[self._moved][0]]

    def action_picture(self, change: str, *by: int) -> None:
        """Call a method of a pane; the other one follows."""
        browser = self._moving_side if change in ("follow_live", "play") else self._browsers[0]
        getattr(browser, change)(*by)

    def action_enter(self) -> None:
        """Put the cursor on a channel, then enlarge that channel."""
        browser = self._browsers[0]
        if browser.selection.channel is None:
            browser.move_channel(0)
        else:
            browser.zoom()

    def action_back(self) -> None:
        """Leave the enlarged channel, the cursor or the screen."""
        if not self._browsers[0].back():
            self.action_leave()


def _same(names: Sequence[str], other: Sequence[str], index: int) -> int:
    """Return the index in another list of the name at an index; the same index where it does not have that name."""
    name = names[index] if 0 <= index < len(names) else None
    if name is not None and name in other:
        return other.index(name)
    return min(index, len(other) - 1) if other else index


def _probe_names(folder: RunFolder, epoch: int) -> tuple[str, ...]:
    """Read the names of the probe photographs from a frame; none if it cannot be read."""
    from facegender.runs.frames import FrameUnreadable, open_frame

    try:
        with open_frame(folder.frame_path(epoch)) as frame:
            return tuple(printable_strings(frame.info.probe_names))
    except FrameUnreadable:
        return ()
