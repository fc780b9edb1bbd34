"""The mistakes screen: what a network gets wrong in an epoch, which labels are suspect, and the figures behind it."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from rich.style import Style
from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.widgets import Static

from facegender.evaluation.mistakes import CheckedPredictions
from facegender.evaluation.suspects import Part, Suspect
from facegender.runs.folder import RunFolder
from facegender.runs.photographs import Photographs
from facegender.runs.predictions import PredictionsUnreadable
from facegender.support.errors import UserError
from facegender.support.text import one_line, shell_command
from tui import commands
from tui import format as fmt
from tui.host.processes import ClassifierProcess
from tui.host.thumbnails import ThumbnailProcess, Thumbnails, Wanted
from tui.run.mistakes import MistakesFilter, MistakesList, MistakesReader, short_name
from tui.run.state import RunState
from tui.screens.base import BaseScreen
from tui.widgets.confusion import ConfusionMatrix
from tui.widgets.figures import FiguresView
from tui.widgets.gallery import Gallery, Tile, caption
from tui.widgets.keys import KeyHints
from tui.widgets.lines import Lines
from tui.widgets.scrubber import EpochScrubber

if TYPE_CHECKING:
    from tui.screens.photograph import PhotographInfo

POLL_S = 0.3
"""How often the screen looks whether the run has new predictions."""
MIN_ROWS = 20
"""On a lower screen the line of epochs is left out."""
Tab = Literal["mistakes", "suspects", "figures"]
TABS: tuple[Tab, ...] = ("mistakes", "suspects", "figures")


class Mistakes(BaseScreen[int | None]):
    """Photographs of the shown epoch, the wrong ones first. Returns the epoch that was shown last.

    Args:
        folder: The run.
        state: Returns its newest state.
        epoch: The epoch to begin with, counted from 0; None follows the latest one.
        process: Decodes the photographs.
        classifier: Says where the network looked.
        cell: List only this cell (label, prediction) of the confusion matrix at first.
    """

    CSS_PATH = "mistakes.tcss"
    AUTO_FOCUS = "#gallery"
    SCREEN_COMMANDS = commands.MISTAKES
    FOOTER = commands.MISTAKES_FOOTER

    def __init__(
        self,
        folder: RunFolder,
        state: Callable[[], RunState | None],
        epoch: int | None,
        process: ThumbnailProcess,
        classifier: ClassifierProcess,
        cell: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self._folder = folder
        self._state = state
        self._epoch = epoch
        self._classifier = classifier
        self._reader = MistakesReader(folder)
        self._process = process
        self._thumbnails = Thumbnails(self._process, folder.name, self._thumbnail_arrived)
        self._gallery = Gallery(self._thumbnails, id="gallery")
        self._scrubber = EpochScrubber(id="scrubber")
        self._figures = FiguresView(id="figures")
        self._photographs: Photographs | None = None
        self._suspects: list[Suspect] = []
        self._filter = MistakesFilter(cell=cell)
        self._reference: int | None = None
        self._epochs: tuple[int, ...] = ()
        self._list: MistakesList | None = None
        self._cursor_was_moved = False
        self._tab: Tab = "mistakes"
        self._shown_tab: Tab = "mistakes"
        """Differs from the tab while that is being read."""
        self._cursors: dict[Tab, int] = {}

    def compose(self) -> ComposeResult:
        """The title, the tabs, the epochs, the gallery, a line about the photograph under the cursor, the keys."""
        yield Static(id="title", markup=False)
        yield Static(id="tabs", markup=False)
        yield self._scrubber
        yield Static("reading the run…", id="message", markup=False)
        yield self._gallery
        yield self._figures
        yield Lines(id="about", markup=False)
        yield KeyHints(*self.hints())

    def lacks(self) -> frozenset[str]:
        """Return what the tab does not have."""
        return {
            "mistakes": frozenset(),
            "suspects": frozenset({"mistakes", "epochs"}),
            "figures": frozenset({"mistakes", "photographs"}),
        }[self._tab]

    def on_mount(self) -> None:
        """Show the epoch."""
        self._gallery.display = self._figures.display = False
        self._check_run()
        self.set_interval(POLL_S, self._check_run)

    def on_unmount(self) -> None:
        """Cancel the thumbnails that have not arrived."""
        self._thumbnails.close()

    def on_resize(self, event: events.Resize) -> None:
        """Make room for the line of epochs, or take it away."""
        self._show_scrubber(event.size.height)

    def _show_scrubber(self, height: int) -> None:
        """Leave out the line of epochs where there is little room, and for suspects, which are of all epochs."""
        self._scrubber.display = height >= MIN_ROWS and self._tab != "suspects"

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
        """Read what the tab shows in a thread, and show it."""
        if (epoch := self._shown_epoch) is None:
            return
        try:
            if self._photographs is None:
                self._photographs = await asyncio.to_thread(self._reader.photographs)
            if self._tab == "suspects":
                self._suspects = await asyncio.to_thread(self._reader.suspects)
            else:
                found = await asyncio.to_thread(self._reader.list, epoch, self._filter, self._epochs)
            if self._tab == "figures":
                label = self._figures.matrix.cell[0]
                figures = await asyncio.to_thread(self._reader.figures, epoch, label)
        except (PredictionsUnreadable, UserError) as error:
            if self.is_open:
                self._list = None
                self._gallery.show((), lambda _: Tile("", ()), cursor=0, pictures=False, empty="")
                self._show_message(f"{error}: ←→ show other epochs")
                self._show_epochs()
            return
        if not self.is_open:
            return
        followed = self._followed_photograph()
        self.query_one("#message").display = False
        self._gallery.display, self._figures.display = self._tab != "figures", self._tab == "figures"
        if self._tab == "figures":
            self._list = found
            self._figures.show(figures, label)
            self._figures.matrix.focus()
        elif self._tab == "suspects":
            has_pictures = bool(self._photographs.train or self._photographs.validation)
            tile = partial(self._suspect_tile, self._suspects)
            self._gallery.show(
                range(len(self._suspects)), tile, cursor=self._cursors.get("suspects", 0),
                pictures=has_pictures, empty="no label is in doubt",
            )  # fmt: skip
            self._gallery.focus()
        else:
            self._list = found
            cursor = self._cursors.get("mistakes", 0)
            if followed is not None:
                cursor = next(iter((found.order == followed).nonzero()[0].tolist()), 0)
            empty = "no photograph matches: Esc shows all" if self._is_filtered else "no photograph was validated"
            pictures = bool(self._photographs.validation)
            tile = partial(self._tile, found.checked)
            self._gallery.show(found.order, tile, cursor=cursor, pictures=pictures, empty=empty)  # type: ignore[arg-type]  # an array is a sequence of numbers
            self._gallery.focus()
        self._shown_tab = self._tab
        self._show_epochs()

    def _followed_photograph(self) -> int | None:
        """The photograph that the user has put the cursor on, which stays there in other epochs and filters."""
        moved = self._cursor_was_moved and self._tab == self._shown_tab == "mistakes"
        return self._gallery.item if moved else None

    def _show_message(self, text: str) -> None:
        self._gallery.display = self._figures.display = False
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
        if self._tab == "suspects":
            count = fmt.thousands(len(self._suspects)) if self._suspects else "the"
            title.append(f"  {count} photographs, the most doubtful label first, from all epochs")
        elif (epoch := self._shown_epoch) is not None:
            title.append(f"  {fmt.epoch_name(epoch)}", "bold $accent")
            if self._epoch is not None and epoch != self._epochs[-1]:
                title.append("  not the latest epoch", "$warning")
            if (found := self._list) is not None:
                share = f"{fmt.thousands(found.wrong)} of {fmt.thousands(found.counted)}"
                title.append(f"  {share} predictions are wrong")
        self.query_one("#title", Static).update(title, layout=False)
        tabs = Text(" ")
        for number, name in enumerate(TABS, 1):
            selected = name == self._tab
            tabs.append(f" {number} {name} ", Style(reverse=selected, dim=not selected, meta={"tab": name}))
        if self._tab == "mistakes":
            tabs.append(self._filter_text(), "$warning")
        page, pages = self._gallery.page
        if self._tab != "figures" and self._gallery.item is not None:
            tabs.append(f"  page {page} of {fmt.thousands(pages)}", "dim")
        self.query_one("#tabs", Static).update(tabs, layout=False)

    def _filter_text(self) -> str:
        parts = []
        chosen, classes = self._filter, self._list.checked.classes if self._list else ()
        if chosen.cell is not None and classes:
            label, predicted = (classes[number] if number < len(classes) else "" for number in chosen.cell)
            parts.append(f"label {label}, predicted {predicted}")
        if chosen.reference is not None:
            parts.append(f"changed sides since {fmt.epoch_name(chosen.reference)}")
        elif self._reference is not None:
            parts.append(f"reference: {fmt.epoch_name(self._reference)}")
        if chosen.never_correct:
            parts.append("never correct")
        if not parts:
            return ""
        shown = f": {fmt.thousands(len(self._list.order))}" if self._list and self._is_filtered else ""
        return f"  {', '.join(parts)}{shown}"

    def _tile(self, checked: CheckedPredictions, index: int) -> Tile:
        """The tile of a photograph."""
        sign, colour = fmt.CORRECT if checked.predicted[index] == checked.labels[index] else fmt.WRONG
        name = self._file_name("validation", index)
        return Tile(
            name,
            caption(
                sign, colour,
                checked.classes[int(checked.predicted[index])], float(checked.predicted_probability[index]),
                checked.classes[int(checked.labels[index])],
                short_name(name) if name else f"number {index + 1}",
            ),
        )  # fmt: skip

    def _about(self, index: int) -> Text:
        """What is known of the photograph under the cursor, in one line."""
        assert self._list is not None
        checked, name = self._list.checked, self._file_name("validation", index)
        label, predicted = int(checked.labels[index]), int(checked.predicted[index])
        text = Text(f" {one_line(name) or f'validation photograph {index + 1}'}", "bold")
        text.append("  label ", "dim").append(checked.classes[label])
        if predicted != label:
            text.append(f" {fmt.percent(float(checked.label_probability[index]))}", "dim")
        text.append("  predicted ", "dim").append(checked.classes[predicted])
        text.append(f" {fmt.percent(float(checked.predicted_probability[index]))}")
        if problem := self._gallery.problem:
            return text.append(f"  {problem}", "$warning")
        return text.append(
            f"  {fmt.thousands(self._gallery.cursor + 1)} of {fmt.thousands(len(self._list.order))}", "dim"
        )

    def _file_name(self, part: Part, index: int) -> str:
        """The name of a photograph as in ``photographs.json``; empty if it is not known."""
        names = getattr(self._photographs, part) if self._photographs is not None else []
        return names[index] if index < len(names) else ""

    def _suspect_tile(self, suspects: Sequence[Suspect], position: int) -> Tile:
        """The tile of a photograph whose label is suspect."""
        one = suspects[position]
        name = self._file_name(one.part, one.index)
        return Tile(
            name,
            (
                Text.assemble((f"{position + 1}. ", "bold $warning"), f"margin {one.margin:.1f}"),
                Text.assemble(("label ", "dim"), one.label),
                Text(short_name(name) or f"{one.part} {one.index + 1}", "dim"),
            ),
        )

    def _about_suspect(self, position: int) -> Text:
        one = self._suspects[position]
        name = one_line(self._file_name(one.part, one.index)) or f"photograph {one.index + 1}"
        text = Text.assemble((f" {name}", "bold"), (f"  {one.part}, label ", "dim"), one.label, f"  {one.reason}")
        if problem := self._gallery.problem:
            text.append(f"  {problem}", "$warning")
        return text

    def _about_cell(self) -> Text:
        """What the selected cell of the confusion matrix says, in words."""
        figures = self._figures.shown
        if figures is None:
            return Text()
        label, predicted = self._figures.matrix.cell
        count, total = int(figures.confusion[label, predicted]), int(figures.confusion[label].sum())
        names = figures.classes[label], figures.classes[predicted]
        share = f" ({fmt.percent(count / total)})" if total else ""
        text = Text.assemble((" label ", "dim"), names[0], ("  predicted ", "dim"), names[1])
        return text.append(f"  {fmt.thousands(count)} of {fmt.thousands(total)} photographs{share}")

    @on(Gallery.Moved)
    @on(ConfusionMatrix.Moved)
    def _moved(self) -> None:
        item, about = self._gallery.item, Text()
        if self._shown_tab == "figures":
            about = self._about_cell()
        elif item is not None and self._shown_tab == "suspects":
            about = self._about_suspect(item)
        elif item is not None and self._list is not None:
            about = self._about(item)
        self.query_one("#about", Lines).write(about)
        self._show_title()

    @on(ConfusionMatrix.Moved)
    def _cell_moved(self) -> None:
        """Show the ROC curve of the class of the row."""
        shown = self._figures.shown
        if shown is not None and self._figures.positive != self._figures.matrix.cell[0]:
            self._update()

    def _thumbnail_arrived(self, wanted: Wanted) -> None:
        self._gallery.arrived(wanted)

    def redraw(self) -> None:
        """Draw the photographs for the terminal as it is now."""
        super().redraw()
        self._gallery.redraw()

    # Keys

    def action_move(self, change: str, by: int) -> None:
        """Move the cursor of the gallery or of the confusion matrix."""
        if self._shown_tab == "figures":
            if change != "move_page":
                self._figures.matrix.move(*((0, by) if change == "move" else (by, 0)))
            return
        self._cursor_was_moved = True
        getattr(self._gallery, change)(by)
        self._cursors[self._shown_tab] = self._gallery.cursor

    def action_show_tab(self, tab: Tab) -> None:
        """Show another tab."""
        if tab != self._tab and self._epochs:
            self._tab = tab
            self._show_scrubber(self.size.height)
            self.update_keys()
            self._show_title()
            self._update()

    def action_next_tab(self, by: int) -> None:
        """Show the next tab, or the previous one."""
        self.action_show_tab(TABS[(TABS.index(self._tab) + by) % len(TABS)])

    def on_click(self, event: events.Click) -> None:
        """Show the tab that was clicked."""
        if (tab := event.style.meta.get("tab")) is not None:
            self.action_show_tab(tab)

    @on(Gallery.Chosen)
    @on(ConfusionMatrix.Chosen)
    async def action_enter(self) -> None:
        """Show the photograph under the cursor large, or list those of the selected cell."""
        if self._shown_tab == "figures":
            if self._figures.shown is not None:
                self._filter = MistakesFilter(cell=self._figures.matrix.cell)
                self._cursors.pop("mistakes", None)
                self.action_show_tab("mistakes")
            return
        if self._gallery.item is None or (epoch := self._shown_epoch) is None:
            return
        from tui.screens.photograph import Photograph

        items = list(self._gallery.items)
        # Bound to what is listed now: this screen goes on reading new epochs below the photograph.
        info_of: Callable[[int], PhotographInfo]
        if self._shown_tab == "suspects":
            info_of = partial(self._suspect, self._suspects)
        else:
            assert self._list is not None
            info_of = partial(self._validation_photograph, self._list.checked)
        screen = Photograph(
            self._reader, lambda position: info_of(int(items[position])), self._gallery.cursor, len(items),
            self._epochs, epoch, self._process, self._classifier,
        )  # fmt: skip
        await self.app.push_screen(screen, self._photograph_left)

    def _photograph_left(self, position: int | None) -> None:
        """Put the cursor on the photograph that was shown last."""
        if position is not None:
            self.action_move("move", position - self._gallery.cursor)

    def _validation_photograph(self, checked: CheckedPredictions, index: int) -> PhotographInfo:
        from tui.screens.photograph import PhotographInfo

        label, predicted = (checked.classes[int(of[index])] for of in (checked.labels, checked.predicted))
        return PhotographInfo("validation", index, self._file_name("validation", index), label, predicted)

    def _suspect(self, suspects: Sequence[Suspect], position: int) -> PhotographInfo:
        from tui.screens.photograph import PhotographInfo

        one = suspects[position]
        return PhotographInfo(
            one.part, one.index, self._file_name(one.part, one.index), one.label, one.predicted, one.reason
        )

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
        if self._tab == "suspects":
            return
        before = self._shown_epoch
        self._epoch = None if epoch == self._epochs[-1] else epoch
        if self._shown_epoch != before:
            self._update()

    @on(EpochScrubber.Clicked)
    def _scrubber_clicked(self, event: EpochScrubber.Clicked) -> None:
        self._select_epoch(event.epoch)

    def action_freeze(self) -> None:
        """Make the shown epoch the reference; if it is the reference already, remove it."""
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

    def action_never_correct(self) -> None:
        """List only those that were wrong in every epoch, or all again."""
        if self._epochs:
            self._set_filter(replace(self._filter, never_correct=not self._filter.never_correct))

    def _set_filter(self, filter: MistakesFilter) -> None:
        self._filter = filter
        self._update()

    def action_back(self) -> None:
        """Show all photographs again, then the first tab, or leave."""
        if self._tab != "mistakes":
            self.action_show_tab("mistakes")
        elif self._is_filtered:
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
        return "the predictions for single photographs appear after the first epoch"
    remedy = f"train a new one with: {shell_command(folder.root, 'train')}"
    return f"{commands.REASONS['predictions']}: an earlier version trained it; {remedy}"
