"""The mistakes screen: what a network gets wrong in an epoch, which labels are suspect, and the figures behind it."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from rich.style import Style
from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Static

from facegender.runs.folder import RunFolder
from facegender.runs.predictions import PredictionsUnreadable
from facegender.support.text import shell_command
from tui import format as fmt
from tui.graphics.textual_internals import QuietFocusScreen
from tui.host.processes import ClassifierProcess
from tui.host.thumbnails import ThumbnailProcess, Thumbnails
from tui.run.outcomes import MistakesFilter, MistakesList, OutcomeReader, short_name
from tui.run.state import RunState
from tui.screens.base import BaseScreen
from tui.widgets.gallery import Gallery, Tile, caption
from tui.widgets.keys import KeyHints
from tui.widgets.lines import Lines
from tui.widgets.scrubber import EpochScrubber

POLL_S = 0.3
"""How often the screen looks whether the run has new predictions."""
MIN_ROWS = 20
"""On a lower screen the line of epochs is left out."""
Tab = Literal["mistakes", "suspects", "figures"]
TABS: tuple[Tab, ...] = ("mistakes", "suspects", "figures")
WRONG, RIGHT = ("✗", "#e06c75"), ("✓", "#98c379")
NO_PREDICTIONS = "this run has no predictions of single photographs"


class Mistakes(QuietFocusScreen[int | None], BaseScreen[int | None]):
    """Photographs of the shown epoch, the wrong ones first. Returns the epoch that was shown last.

    Args:
        folder: The run.
        state: Returns its newest state.
        epoch: The epoch to begin with, counted from 0; None follows the latest one.
        process: Decodes the photographs; the screen ends it.
        classifier: Says where the network looked.
    """

    CSS_PATH = "mistakes.tcss"
    AUTO_FOCUS = "#gallery"
    BINDINGS = [
        Binding("escape", "back", "clear the filter, or back"),
        ("q,w", "leave", "back"),
        ("left", "move_epoch(-1)", "previous epoch"),
        ("right", "move_epoch(1)", "next epoch"),
        ("shift+left", "move_epoch(-10)", "ten epochs back"),
        ("shift+right", "move_epoch(10)", "ten epochs forward"),
        ("home", "first_epoch", "first epoch"),
        ("end", "follow_live", "latest epoch, followed live"),
        ("h", "gallery('move', -1)", "photograph to the left"),
        ("l", "gallery('move', 1)", "photograph to the right"),
        ("j,down", "gallery('move_row', 1)", "photograph below"),
        ("k,up", "gallery('move_row', -1)", "photograph above"),
        ("comma,pageup", "gallery('move_page', -1)", "previous page"),
        ("full_stop,pagedown", "gallery('move_page', 1)", "next page"),
        ("f", "freeze", "freeze this epoch as the reference"),
        ("s", "changed_sides", "those that changed sides since the reference"),
        ("v", "never_right", "those that were never right"),
        ("g", "app.redraw", "redraw"),
        ("question_mark,f1", "app.help", "help"),
    ]

    def __init__(
        self,
        folder: RunFolder,
        state: Callable[[], RunState | None],
        epoch: int | None,
        process: ThumbnailProcess,
        classifier: ClassifierProcess,
    ) -> None:
        super().__init__()
        self._folder = folder
        self._state = state
        self._epoch = epoch
        self._classifier = classifier
        self._reader = OutcomeReader(folder)
        self._process = process
        self._thumbnails = Thumbnails(self._process, folder.name, self._thumbnail_arrived)
        self._gallery = Gallery(self._thumbnails, id="gallery")
        self._scrubber = EpochScrubber(id="scrubber")
        self._names: Sequence[str] | None = None
        self._filter = MistakesFilter()
        self._reference: int | None = None
        self._epochs: tuple[int, ...] = ()
        self._list: MistakesList | None = None
        self._cursor_was_moved = False
        self._tab: Tab = "mistakes"

    def compose(self) -> ComposeResult:
        """The title, the tabs, the epochs, the gallery, a line about the photograph under the cursor, the keys."""
        yield Static(id="title", markup=False)
        yield Static(id="tabs", markup=False)
        yield self._scrubber
        yield Static("reading the run…", id="message", markup=False)
        yield self._gallery
        yield Lines(id="about", markup=False)
        yield KeyHints(
            [("←→", "epoch"), ("hjkl", "photograph"), (",.", "page"), ("Enter", "look closer"), ("s", "changed sides"),
             ("v", "never right"), ("f", "freeze"), ("Tab", "suspects, figures")],
            [("?", "help"), ("Esc", "back")],
        )  # fmt: skip

    def on_mount(self) -> None:
        """Show the epoch."""
        self._gallery.display = False
        self._check_run()
        self.set_interval(POLL_S, self._check_run)

    async def on_unmount(self) -> None:
        """End the process."""
        self._thumbnails.close()
        await self._process.close()

    def on_resize(self, event: events.Resize) -> None:
        """Leave out the line of epochs where there is little room."""
        self._scrubber.display = event.size.height >= MIN_ROWS

    # The run

    def _check_run(self) -> None:
        """Show an epoch that is new, or say why there is none."""
        state = self._state()
        if state is None:
            return
        if state.predicted != self._epochs:
            before, self._epochs = self._shown_epoch, state.predicted
            if self._shown_epoch != before or self._list is None:
                self._update()
            else:
                self._show_epochs()
        elif not self._epochs:
            self.query_one("#message", Static).update(_no_predictions(state, self._folder))
            self._show_epochs()

    @property
    def _shown_epoch(self) -> int | None:
        """The selected epoch, or the nearest earlier one that has predictions, or the first."""
        if not self._epochs:
            return None
        if self._epoch is None:
            return self._epochs[-1]
        return self._epochs[max(0, bisect_right(self._epochs, self._epoch) - 1)]

    @work(group="list", exclusive=True)
    async def _update(self) -> None:
        """Read the epoch in a thread, and show it."""
        if (epoch := self._shown_epoch) is None:
            return
        try:
            if self._names is None:
                self._names = await asyncio.to_thread(self._reader.names)
            found = await asyncio.to_thread(self._reader.list, epoch, self._filter, self._epochs)
        except PredictionsUnreadable as error:
            if self.is_open:
                self._list = None
                self._show_epochs()
                self._show_message(f"{error}: ←→ show other epochs")
            return
        if self.is_open:
            self._show_list(found)

    def _show_list(self, found: MistakesList) -> None:
        # The photograph under the cursor stays there if the user has put it there.
        kept = self._gallery.item if self._cursor_was_moved else None
        self._list = found
        self._show_epochs()
        cursor = next(iter((found.order == kept).nonzero()[0].tolist()), 0) if kept is not None else 0
        empty = "no photograph is like that: Esc shows all" if self._is_filtered else "no photograph was validated"
        self.query_one("#message").display = False
        self._gallery.display = True
        self._gallery.show(found.order, self._tile, cursor=cursor, pictures=bool(self._names), empty=empty)  # type: ignore[arg-type]
        self._gallery.focus()

    def _show_message(self, text: str) -> None:
        self._gallery.display = False
        message = self.query_one("#message", Static)
        message.display = True
        message.update(text)

    @property
    def _is_filtered(self) -> bool:
        return self._filter != MistakesFilter()

    # Texts

    def _show_epochs(self) -> None:
        self._scrubber.show(self._epochs, self._epochs, self._shown_epoch, False)
        self._show_title()

    def _show_title(self) -> None:
        title = Text.assemble((f" {self._folder.name}", "bold"))
        if (epoch := self._shown_epoch) is not None:
            following = "" if self._epoch is None else "  not the latest epoch" if epoch != self._epochs[-1] else ""
            title.append(f"  {fmt.epoch_name(epoch)}", "bold #e5a05a").append(following, "#e5c07b")
        if self._list is not None:
            found = self._list
            title.append(f"  {fmt.thousands(found.wrong)} of {fmt.thousands(found.counted)} differ from their label")
        self.query_one("#title", Static).update(title, layout=False)
        tabs = Text(" ")
        for number, name in enumerate(TABS, 1):
            selected = name == self._tab
            tabs.append(f" {number} {name} ", Style(reverse=selected, dim=not selected, meta={"tab": name}))
        tabs.append(self._filter_text(), "#e5c07b")
        page, pages = self._gallery.page
        if self._list is not None and len(self._list.order):
            tabs.append(f"  page {page} of {fmt.thousands(pages)}", "dim")
        self.query_one("#tabs", Static).update(tabs, layout=False)

    def _filter_text(self) -> str:
        parts = []
        chosen, classes = self._filter, self._list.outcomes.classes if self._list else ()
        if chosen.cell is not None:
            label, answer = (fmt.class_name(number, classes) for number in chosen.cell)
            parts.append(f"label {label}, answer {answer}")
        if chosen.reference is not None:
            parts.append(f"changed sides since {fmt.epoch_name(chosen.reference)}")
        elif self._reference is not None:
            parts.append(f"reference: {fmt.epoch_name(self._reference)}")
        if chosen.never_right:
            parts.append("never right")
        if not parts:
            return ""
        shown = f": {fmt.thousands(len(self._list.order))}" if self._list and self._is_filtered else ""
        return f"  {', '.join(parts)}{shown}"

    def _tile(self, index: int) -> Tile:
        """The tile of a photograph."""
        assert self._list is not None
        outcomes = self._list.outcomes
        sign, colour = RIGHT if outcomes.answers[index] == outcomes.labels[index] else WRONG
        name = self._names[index] if self._names and index < len(self._names) else ""
        return Tile(
            name,
            caption(
                sign, colour,
                fmt.class_name(int(outcomes.answers[index]), outcomes.classes), float(outcomes.of_answer[index]),
                fmt.class_name(int(outcomes.labels[index]), outcomes.classes),
                short_name(name) if name else f"number {index + 1}",
            ),
        )  # fmt: skip

    def _about(self, index: int) -> Text:
        """What is known of the photograph under the cursor, in one line."""
        assert self._list is not None
        outcomes, names = self._list.outcomes, self._names or ()
        label, answer = int(outcomes.labels[index]), int(outcomes.answers[index])
        name = short_name(names[index]) if index < len(names) else f"validation photograph {index + 1}"
        text = Text.assemble((f" {name}", "bold"), ("  label ", "dim"), fmt.class_name(label, outcomes.classes))
        text.append("  answer ", "dim").append(fmt.class_name(answer, outcomes.classes))
        text.append(f" {fmt.percent(float(outcomes.of_answer[index]))}")
        if problem := self._gallery.problem:
            return text.append(f"  {problem}", "#e5c07b")
        if answer != label:
            text.append(f"  label {fmt.percent(float(outcomes.of_label[index]))}", "dim")
        return text.append(
            f"  {fmt.thousands(self._gallery.cursor + 1)} of {fmt.thousands(len(self._list.order))}", "dim"
        )

    @on(Gallery.Moved)
    def _gallery_moved(self) -> None:
        item = self._gallery.item
        known = item is not None and self._list is not None
        self.query_one("#about", Lines).write(self._about(item) if known and item is not None else Text())
        self._show_title()

    def _thumbnail_arrived(self) -> None:
        self._gallery.arrived()

    def redraw(self) -> None:
        """Draw the photographs for the terminal as it is now."""
        super().redraw()
        self._gallery.redraw()

    # Keys

    def action_gallery(self, change: str, by: int) -> None:
        """Move the cursor by a method of the gallery."""
        self._cursor_was_moved = True
        getattr(self._gallery, change)(by)

    def action_move_epoch(self, by: int) -> None:
        """Move by epochs that have predictions; the latest one is followed."""
        if (shown := self._shown_epoch) is not None:
            index = self._epochs.index(shown) + by
            self._select_epoch(self._epochs[min(max(0, index), len(self._epochs) - 1)])

    def action_first_epoch(self) -> None:
        """Show the first epoch."""
        if self._epochs:
            self._select_epoch(self._epochs[0])

    def action_follow_live(self) -> None:
        """Show the latest epoch, and each new one."""
        if self._epochs:
            self._select_epoch(self._epochs[-1])

    def _select_epoch(self, epoch: int) -> None:
        before = self._shown_epoch
        self._epoch = None if epoch == self._epochs[-1] else epoch
        if self._shown_epoch != before:
            self._update()

    @on(EpochScrubber.Clicked)
    def _scrubber_clicked(self, event: EpochScrubber.Clicked) -> None:
        self._select_epoch(event.epoch)

    def action_freeze(self) -> None:
        """Make the shown epoch the reference; if it is the reference, there is none any more."""
        self._reference = None if self._reference == self._shown_epoch else self._shown_epoch
        if self._filter.reference is not None:
            self._set_filter(replace(self._filter, reference=self._reference))
        self._show_title()

    def action_changed_sides(self) -> None:
        """List only those that changed sides since the reference, or all again."""
        if self._filter.reference is not None:
            self._set_filter(replace(self._filter, reference=None))
        elif self._epochs:
            self._reference = self._epochs[0] if self._reference is None else self._reference
            self._set_filter(replace(self._filter, reference=self._reference))

    def action_never_right(self) -> None:
        """List only those that were wrong in every epoch, or all again."""
        if self._epochs:
            self._set_filter(replace(self._filter, never_right=not self._filter.never_right))

    def _set_filter(self, filter: MistakesFilter) -> None:
        self._filter = filter
        self._update()

    def action_back(self) -> None:
        """Show all photographs again, or leave."""
        if self._is_filtered:
            self._set_filter(MistakesFilter())
        else:
            self.action_leave()

    def action_leave(self) -> None:
        """Go back to the screen below, with the epoch that was shown."""
        if self.is_active:
            self.dismiss(self._shown_epoch)


def _no_predictions(state: RunState, folder: RunFolder) -> str:
    """Say why there are no predictions, and what to do."""
    if not state.read:
        return "reading the run…"
    if state.live:
        return "the answers to single photographs appear after the first epoch"
    return f"{NO_PREDICTIONS}: an earlier version trained it; train a new one with: " + shell_command(
        folder.root, "train"
    )
