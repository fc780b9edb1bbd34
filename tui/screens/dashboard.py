"""The dashboard: the curves, numbers and log of one run, and the feature maps of its network."""

from __future__ import annotations

import asyncio
import time
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace
from rich.style import Style
from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.geometry import Size
from textual.timer import Timer
from textual.widgets import Static

from facegender.runs.events import HealthMeasured
from facegender.runs.folder import RunFolder
from facegender.support.errors import UserError
from facegender.support.text import counted, one_line, printable
from tui import commands
from tui import format as fmt
from tui.graphics.context import context_of
from tui.graphics.textual_internals import Column, Row, notify_about, retract
from tui.graphics.widget import PictureView
from tui.host.access import access_of
from tui.host.processes import ClassifierProcess, RunPatches
from tui.host.run_control import request_topic
from tui.host.thumbnails import ThumbnailProcess
from tui.inspect.browser import LayerBrowser
from tui.inspect.modes import MODES
from tui.inspect.request import LayerRequest
from tui.messages import ClassifyFile, RunEnded, SettingsChanged, ShowRunPage
from tui.run.follow import Follower, FollowFailed, RunUpdated
from tui.run.state import RunState
from tui.screens.base import PictureScreen, lacks_of_state, unmet, whole_number
from tui.settings import settings_of
from tui.widgets.chart import Chart
from tui.widgets.facts import CELL, Facts, machine_facts, run_facts
from tui.widgets.filter_line import FilterLine
from tui.widgets.keys import KeyHints
from tui.widgets.layers import HealthList, LayerChosen, LayerList
from tui.widgets.log import RunLog
from tui.widgets.pane import ListPane, Pane
from tui.widgets.run_charts import RunCharts
from tui.widgets.scrubber import EpochScrubber
from tui.widgets.status import NO_RUN, StatusLines

if TYPE_CHECKING:
    from facegender.runs.health import Finding
    from tui.inspect.overview import LayerOverview
    from tui.run.curves import StepCurves

REFRESH_S = 0.1
EPOCH_BYTES = 4000
EPOCH_WITHIN_S = 0.03
"""What it takes to show another epoch on the charts and in the facts, and how long a link may be busy with that."""
EPOCH_AFTER_S = 0.25
"""On a slower link they follow when no key has been pressed for so long."""
PICTURE_WITHIN_S = 0.04
"""On a fast link they change together with the picture, in one update of the screen, or else after this time."""
CLOCK_S = 1.0
PREPARE_AFTER_S = 2.0
"""How long after the first screen the mistakes screen is prepared."""
WIDE_FROM = (110, 30)
"""Columns and rows of the smallest terminal in which all panes are shown."""
OVERVIEW_FROM = (200, 50)
"""Columns and rows of the smallest terminal in which several layers are shown at once."""
OVERVIEW_SHARE = 0.4
"""Of the width beside the charts."""
LISTS_COLUMNS = 38
"""Width of the explorer's lists."""
CHARTS = ("loss", "accuracy")
MIN_LOG_ROWS, LOG_SHARE = 9, 0.22
"""Rows of the log with its border, and its share of a high terminal."""
LOW_PANES = ("run", "machine", "log")
"""Panes that take only the height of their content, unless they are shown alone."""


class Dashboard(PictureScreen):
    """Shows one run folder."""

    AUTO_FOCUS = "#layers"
    PAINTS_FIRST_LAYOUT = True
    VERTICAL_BREAKPOINTS = [(0, "-short"), (10, "-tall")]
    SCREEN_COMMANDS = commands.DASHBOARD
    FOOTER = commands.DASHBOARD_FOOTER

    def __init__(
        self, root: Path, folder: RunFolder | None, classifier: ClassifierProcess, thumbnails: ThumbnailProcess
    ) -> None:
        super().__init__(root, LayerBrowser("feature maps appear after the first epoch", id="layers"))
        # The class for most terminal sizes, so that the first screen is not styled and painted twice.
        self.add_class("-tall")
        self.folder = folder
        self._classifier = classifier
        self._thumbnails = thumbnails
        self.state: RunState | None = RunState(folder.name, process_state=folder.state()) if folder else None
        self._steps: StepCurves | None = None
        # Held, because finding them anew costs more than showing an epoch.
        self._charts = RunCharts()
        self._run_facts, self._machine_facts = Facts(run_facts), Facts(machine_facts)
        self._run = Pane("Run", self._run_facts, id="run")
        self._layer_list, self._health_list = LayerList(), HealthList()
        self._layer_pane = ListPane("Layers", self._layer_list, id="layer-list")
        self._health_pane = ListPane("Health", self._health_list, id="health")
        self._log = RunLog()
        self._log_pane = Pane("Log", self._log, id="log")
        self._filter_line = FilterLine()
        self._scrubber = EpochScrubber(id="scrubber")
        self._overview: LayerOverview | None = None
        self._overview_begun = False
        self._epoch_timer: Timer | None = None
        self._with_picture = False
        self._follower: Follower | None = None
        self._pane = "layers"
        self._enlarged = False
        self._explorer = False
        self._arranged: tuple[Size, bool, bool | str] | None = None
        self._health: tuple[HealthMeasured | None, list[Finding]] = (None, [])
        self._stale = True
        self._writable = True
        self._rest_until = 0.0

    def compose(self) -> ComposeResult:
        """The panes that a terminal of some size shows at first; `_arrange` decides which are visible."""
        yield StatusLines(self.state, id="status")
        yield Static(id="tabs", markup=False)
        with Row(id="panes"):
            with Column(id="left"):
                yield self._charts.loss
                yield self._charts.second
                yield self._run
                yield Pane("Machine", self._machine_facts, id="machine")
            with Column(id="right"):
                yield self.browser
                yield self._scrubber
                yield self._log_pane
        yield self._filter_line
        yield KeyHints(*self.hints())

    def on_mount(self) -> None:
        """Start to follow the run, and the timers."""
        self.set_interval(REFRESH_S, self._refresh_if_stale)
        self.set_interval(CLOCK_S, self._tick)
        self.set_timer(PREPARE_AFTER_S, self._prepare_mistakes)
        self._charts.use_settings(settings_of(self.app))
        self._arrange()
        self.call_after_refresh(self._begin)

    async def _begin(self) -> None:
        """Mount the explorer's lists and open the run, whose first steps import numpy: after the first paint."""
        left = self.query_one("#left")
        if not left.is_attached:  # the program ends already
            return
        await left.mount(self._layer_pane, self._health_pane)
        if self.folder is not None:
            self.open_run(self.folder)

    @on(SettingsChanged)
    def _use_settings(self) -> None:
        self._charts.use_settings(settings_of(self.app))
        if self._follower is not None:
            self._follower.smoothing = settings_of(self.app).smoothing
        self._stale = True

    def on_unmount(self) -> None:
        """Stop the thread that follows the run."""
        self._stop_following()

    def _stop_following(self) -> None:
        if self._follower is not None:
            self._follower.stop()
            self._follower = None

    # The run

    def open_run(self, folder: RunFolder) -> None:
        """Show another run, or the same one from its beginning."""
        self._stop_following()
        retract(self.app, "lost run")
        if self.folder is None or self.folder.path != folder.path or self.state is None:
            self.state, self._steps = RunState(folder.name), None
        self.folder = folder
        self.browser.open(folder.frame_path)
        self.browser.patches.source = RunPatches(self._classifier, folder.name)
        self._follower = Follower(folder, self.post_message, settings_of(self.app).smoothing)
        self._stale = True
        self._rest_until = time.monotonic() + REFRESH_S  # most runs are read by then, and are shown once, complete
        self._check_access(folder)

    @work(group="access", exclusive=True)
    async def _check_access(self, folder: RunFolder) -> None:
        """Say in the header if the run may not be changed."""
        problem = await asyncio.to_thread(access_of(self.app).problem, folder)
        for status in self.query(StatusLines):  # none once the program ends
            self._writable = not problem
            status.read_only = bool(problem)
            self.update_keys()

    @on(RunUpdated)
    def _run_updated(self, event: RunUpdated) -> None:
        if self.state is None or event.state.name != self.state.name:
            return
        if self.state.read and (event.state.log != self.state.log or event.state.state != self.state.state):
            retract(self.app, request_topic(event.state.name))  # it has happened
        self._tell_news(self.state, event.state)
        if self._steps is None or (event.state.read and not self.state.read):
            self._rest_until = 0.0  # the first of it, or all of it, can be shown now
        self.state, self._steps, self._stale = event.state, event.curves, True
        if not event.state.exists:
            notify_about(self.app, "lost run", f"the folder of run {event.state.name} is gone", severity="warning")
            self._stop_following()
            self.folder = self.state = self._steps = None
            self.browser.open(None)
        self._refresh_if_stale()

    def _tell_news(self, before: RunState, after: RunState) -> None:
        """Tell of warnings that were not there before, and of the end of the run."""
        if not before.read or not before.live or self.folder is None:
            return
        topic = f"silent {after.name}"
        if not (after.silent and after.live):
            retract(self.app, topic)
        elif not before.silent:
            text = f"no sign of life from the trainer of {after.name} for a minute: it was suspended, or its disk hangs"
            notify_about(self.app, topic, text, severity="warning", timeout=60)
        if after.live:
            last = before.log[-1] if before.log else None
            for line in reversed(list(takewhile(lambda line: line is not last, reversed(after.log)))):
                if line.level != "info":
                    self.app.notify(line.text, title=after.name, severity=line.level, markup=False, timeout=10)
        elif after.exists:
            best, error = after.best, after.finished.error if after.finished else ""
            reached = f"best accuracy {fmt.figure(best.validation_accuracy)} in epoch {best.epoch + 1}" if best else ""
            self.app.post_message(RunEnded(self.folder, after.state, error or reached))

    @on(FollowFailed)
    def _follow_failed(self, event: FollowFailed) -> None:
        text = f"run {event.run} is no longer followed ({event.why}); open it again with r and Enter"
        notify_about(self.app, "lost run", text, severity="error", timeout=20)

    # Keys

    def footer(self) -> str:
        """Return the keys of the explorer while it is open."""
        return commands.EXPLORER_FOOTER if self._explorer else self.FOOTER

    def lacks(self) -> frozenset[str]:
        """Return what the run and the shown view do not have."""
        state = self.state
        if state is None:
            return super().lacks() | {"run", "pictures", "predictions", "health"}
        needs = {
            "recipe": state.started is None or bool(state.started.recipe),
            "predictions": bool(state.predicted),
            "health": bool(state.health),
            "writable": self._writable,
        }
        return super().lacks() | lacks_of_state(state.state) | unmet(needs)

    def action_close(self) -> None:
        """Leave the explorer, or the program: one level back, as on every screen."""
        if self._explorer:
            self._open_explorer(False)
        else:
            self.app.action_detach()  # type: ignore[attr-defined]  # of our application

    # Showing it

    def _tick(self) -> None:
        if self.state is not None and self.state.live:
            self.query_one(StatusLines).show(self.state, time.time())

    def _refresh_if_stale(self) -> None:
        if self._overview is not None and not self._overview_begun and self.browser.is_shown:
            # On a slow link the selected layer comes first, and what that took tells how much the others may send.
            self._overview_begun = not context_of(self.app).link.in_flight_bytes
            if self._overview_begun:
                self._show_overview()
        now = time.monotonic()
        if self._stale and self.is_current and now >= self._rest_until and self._layer_list.is_mounted:
            self._stale = False
            self._show()
            # Never spend more than a tenth of the time on this, even on a slow machine.
            self._rest_until = time.monotonic() + min(1.0, 9 * (time.monotonic() - now))

    def _show(self) -> None:
        state = self.state
        self.query_one(StatusLines).show(state, time.time())
        if state is None:
            state = RunState("", process_state="completed", read=True)
        self._charts.show(state, self._steps)
        self._machine_facts.show(state)
        self._log.show(state)
        self._show_filters()
        layers = tuple(layer.name for layer in state.started.layers) if state.started else ()
        self.browser.update_frames(
            state.frames,
            layers,
            state.frame_times,
            live=state.live,
            placeholder=self._placeholder(state),
            finished=tuple(epoch.epoch for epoch in state.epochs),
            within=state.frames_within,
        )
        self._show_epoch(state)

    @on(LayerBrowser.Selected)
    def _selected(self) -> None:
        if self._epoch_timer is not None:
            self._epoch_timer.stop()
        is_slow = context_of(self.app).link.seconds_for(EPOCH_BYTES) > EPOCH_WITHIN_S
        self._with_picture = not is_slow
        if self._with_picture and self.browser.is_shown:
            self._show_selected()
        else:
            self._epoch_timer = self.set_timer(EPOCH_AFTER_S if is_slow else PICTURE_WITHIN_S, self._show_selected)

    @on(PictureView.Shown)
    def _picture_shown(self) -> None:
        self.update_keys()
        if self._epoch_timer is not None and self._with_picture:
            self._show_selected()

    def _show_selected(self) -> None:
        if self._epoch_timer is not None:
            self._epoch_timer.stop()
            self._epoch_timer = None
        if self.is_current and self.state is not None:
            self._show_epoch(self.state)

    def _show_epoch(self, state: RunState) -> None:
        """Show which epoch is selected, on the charts and in the facts."""
        epoch, following = self.browser.epoch, self.browser.selection.follows_live
        self._run_facts.show(state, None if following else epoch)
        found = self._show_lists(state, epoch)
        self._scrubber.show(self.browser.epochs, self.browser.frames, epoch, self.browser.is_playing)
        is_earlier = not following and epoch is not None
        title = "  not the latest epoch" if is_earlier else ""
        summary = f"{counted(found, 'finding')} about the layers: H" if found else ""
        self._run.show_notes(Text(title, "$warning"), Text(summary, "$warning"))
        self._charts.show_epoch(epoch, latest=following)
        self.update_keys()
        self._show_overview()

    def _show_overview(self) -> None:
        """Show several layers at once, if there is room and something to show."""
        large = self.size.width >= OVERVIEW_FROM[0] and self.size.height >= OVERVIEW_FROM[1]
        shows = large and not self._enlarged and not self._explorer and bool(self.browser.frames)
        shows = shows and len(self.browser.layers) > 1
        if shows and self._overview is None:
            from tui.inspect.overview import LayerOverview

            self._overview = LayerOverview()
            self.query_one("#panes").mount(self._overview)
        if self._overview is not None:
            self._overview.display = shows
            self._overview.styles.width = round(OVERVIEW_SHARE * (self.size.width - self.query_one("#left").size.width))
            if shows and self._overview_begun:
                self._overview.follow(self.browser)

    def _show_lists(self, state: RunState, epoch: int | None) -> int:
        """Show the layers, and what is unhealthy about them after the selected epoch; return how much that is."""
        until = [one for one in state.health if epoch is None or one.epoch <= epoch]
        latest = until[-1] if until else None
        if latest is not self._health[0]:
            from facegender.runs.health import findings

            self._health = latest, findings(latest, until[:-1]) if latest else []
        found = self._health[1]
        layers = state.started.layers if state.started else []
        self._layer_list.show(layers, found, self.browser.selection.layer)
        self._health_list.show(found, [layer.name for layer in layers])
        if self._explorer and bool(found) != self._health_pane.display:
            if not found and self.focused is self._health_list:
                self.set_focus(self.browser)
            self._arrange()
        return len(found)

    def _placeholder(self, state: RunState) -> str:
        if not state.name:
            return NO_RUN
        if not state.read:
            return "reading the run"
        if state.started is not None and not state.started.visualize_every:
            return "this run keeps no feature maps (--visualize-every 0)" if not state.frames else ""
        if not state.live:
            return f"this run {state.state} before its first pictures were saved" if not state.frames else ""
        left = state.left_s()
        if left is None or state.started is None or not state.epochs_done:
            return "feature maps appear after the first epoch"
        first = left * (1 - state.epochs_done) / max(1e-9, state.started.epochs - state.epochs_done)
        if first < 1:
            return "the first epoch is done: its feature maps are being drawn"
        return f"feature maps appear after the first epoch, in about {fmt.duration(first)}"

    # Panes

    def on_resize(self) -> None:
        """Show all panes, or one if there is little room."""
        self._arrange()

    def _arrange(self) -> None:
        """Show what belongs to the mode and the size; nothing is laid out if it is what was arranged last."""
        self._show_overview()
        wide = self.size.width >= WIDE_FROM[0] and self.size.height >= WIDE_FROM[1]
        single = self._enlarged or not wide
        arranged: tuple[Size, bool, bool | str] = self.size, self._enlarged, self._pane if single else ""
        if self._explorer:
            arranged = self.size, bool(self._health[1]), self.focused is self._health_list
        if arranged == self._arranged:
            return
        self._arranged = arranged
        if self._explorer:
            self._arrange_explorer(wide)
            return
        self.query_one(StatusLines).one_row = False
        for hidden in (self._layer_pane, self._health_pane, self._scrubber):
            hidden.display = False
        left, column = self.query_one("#left"), self.query_one(f"#{self._pane}").parent
        for side in (left, self.query_one("#right")):
            side.display = not single or side is column
        left.styles.width = left.styles.max_width = "100%" if single else None
        left.styles.min_width = None
        # Styles of single panes instead of a class of the screen, which would restyle and repaint all of it. What does
        # not change is not repainted, even if its column was hidden meanwhile.
        for name in commands.PANES:
            alone = single and name == self._pane
            pane = self.query_one(f"#{name}")
            pane.display = alone or not single or pane.parent is not column
            if name in LOW_PANES:
                pane.styles.height = "1fr" if alone else None
            if name == "log" and not alone:
                pane.styles.height = max(MIN_LOG_ROWS, round(LOG_SHARE * self.size.height))
        self.query_one("#tabs").set_class(single, "-needed")
        tabs = Text(" ")
        for number, name in enumerate(commands.PANES, 1):
            selected = name == self._pane
            tabs.append(f" {number} {name} ", Style(reverse=selected, dim=not selected, meta={"pane": name}))
        if self._enlarged:
            tabs.append("  _ shows all panes", "dim")
        self.query_one("#tabs", Static).update(tabs, layout=False)

    def _arrange_explorer(self, wide: bool) -> None:
        """Show the pictures and the epochs, with the lists beside them, or alone if there is little room."""
        health = self._health_pane
        health.display = bool(self._health[1])
        alone = not wide and self.focused is self._health_list
        left = self.query_one("#left")
        left.display, self.query_one("#right").display = wide or alone, not alone
        left.styles.width = left.styles.min_width = left.styles.max_width = "100%" if alone else LISTS_COLUMNS
        self.query_one(StatusLines).one_row = not wide  # a row more for the picture
        self._layer_pane.display = not alone
        health.styles.max_height = "100%" if alone else "50%"
        for name in commands.PANES:
            self.query_one(f"#{name}").display = name == "layers"
        self._scrubber.display = True
        self.query_one("#tabs").remove_class("-needed")

    def _open_explorer(self, open_: bool) -> None:
        """Open the explorer, or go back to all panes."""
        self._explorer, self._pane = open_, "layers"
        self.update_keys()
        self._arrange()
        self.set_focus(self.browser)

    def action_focus_pane(self, pane: str) -> None:
        """Focus a pane, and show it where only one is shown."""
        if self._explorer:
            self._open_explorer(False)
        self._pane = pane
        self._arrange()
        self.set_focus(self.query_one(f"#{pane}"))  # at once: `focus` would take it from a filter opened next

    async def on_click(self, event: events.Click) -> None:
        """Focus the pane whose tab was clicked, or show the photographs that were counted."""
        if (pane := event.style.meta.get("pane")) is not None:
            self.action_focus_pane(pane)
        elif (cell := event.style.meta.get(CELL)) is not None:
            await self._open_mistakes(cell)

    def action_next_pane(self, by: int) -> None:
        """Focus the next pane, or the previous one."""
        if self._explorer:
            self._focus_health(self.focused is not self._health_list and bool(self._health[1]))
            return
        panes = commands.PANES
        self.action_focus_pane(panes[(panes.index(self._pane) + by) % len(panes)])

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Remember which pane has the focus, e.g. after a click; the line of the filter is left by Tab or a click."""
        filter_line = self._filter_line
        if filter_line.is_open and self.focused not in (None, filter_line.input) and not self.palette_is_open:
            filter_line.action_close(True)
        if self._explorer:
            self._arrange()
        elif event.widget.id in commands.PANES and event.widget.id != self._pane:
            self._pane = event.widget.id
            self._arrange()

    def action_enlarge(self, enlarged: bool) -> None:
        """Show only the focused pane, or all of them again; of the run there is a page."""
        if enlarged and self._pane == "run" and not self._explorer and self.folder is not None:
            self.app.post_message(ShowRunPage(self.folder))
            return
        if self._explorer and not enlarged:
            self._open_explorer(False)
        self._enlarged = enlarged
        self._arrange()

    def action_scroll_log(self, by: int) -> None:
        """Scroll the log by a page."""
        log = self._log
        log.scroll_relative(y=by * log.size.height)

    # Filters

    async def action_filter(self) -> None:
        """Filter the lines of the log, or in the explorer the layers."""
        if not self._explorer:
            if not self._log_pane.display:
                self.action_focus_pane("log")
            await self._filter_line.open("the log", self._log.filter_text)
        elif self._layer_pane.display and self.query_one("#left").display:
            await self._filter_line.open("layers", self._layer_list.filter_text)
        else:  # there is no room for the list
            await self.run_action("app.palette('layer ')")
        self.query_one(KeyHints).display = not self._filter_line.is_open  # nothing moves up to make room

    @on(FilterLine.Changed)
    def _filter_changed(self, event: FilterLine.Changed) -> None:
        self._set_filter(event.text)

    def _set_filter(self, text: str) -> None:
        (self._layer_list if self._explorer else self._log).filter_text = text
        if self.state is not None:
            self._log.show(self.state)
            self._show_lists(self.state, self.browser.epoch)
        self._show_filters()

    def _show_filters(self) -> None:
        """Say in the titles what is filtered."""
        layers, log = self._layer_list.filter_text, self._log.filter_text
        count = counted(len(self._layer_list.listed), "layer")
        self._layer_pane.show_notes(Text(f"  {count} with “{one_line(layers)}”" if layers else "", "$warning"), Text())
        shown, all_ = self._log.counts
        about = f"  {shown} of {counted(all_, 'line')} with “{one_line(log)}”"
        self._log_pane.show_notes(Text(about if log else "", "$warning"), Text("Esc shows all" if log else "", "dim"))

    @on(FilterLine.Closed)
    def _filter_closed(self, event: FilterLine.Closed) -> None:
        """Show the first layer that is listed, unless the shown one is."""
        self.query_one(KeyHints).display = True
        listed = self._layer_list.listed
        if event.kept and self._explorer and listed and self.browser.selection.layer not in listed:
            self.browser.select_layer(listed[0])

    # Curves

    def action_curves(self, change: str) -> None:
        """Change how curves are shown, by a method of `RunCharts`."""
        getattr(self._charts, change)()
        self._stale = True

    def action_next_metric(self) -> None:
        """Show another metric in the second chart."""
        if self.state is not None:
            self._charts.next_metric(self.state)
            self._stale = True

    # Epochs

    def action_move_epoch(self, by: int) -> None:
        """Move by ``by`` epochs: on the charts of all finished epochs, elsewhere of those that have pictures."""
        with self.prevent(LayerBrowser.Selected):  # the message may come after the screen was updated
            self.browser.move_epoch(by, every=self._pane in CHARTS)
        self._selected()

    def action_show_epoch(self, text: str) -> None:
        """Show an epoch by its number, the first one being 1; 0 stands for the initial weights.

        Raises:
            UserError: There is no such epoch.
        """
        epochs = self.browser.epochs
        number = whole_number(text, "epoch")
        if number - 1 not in epochs:
            known = f"epochs {epochs[0] + 1} to {epochs[-1] + 1}" if epochs else "no epoch yet"
            raise UserError(f"epoch {number}: the run has {known}")
        self.browser.select_epoch(number - 1)

    def action_first_epoch(self) -> None:
        """Show the first epoch."""
        self.browser.first_epoch(every=self._pane in CHARTS)

    @on(Chart.Scrolled)
    def _chart_scrolled(self, event: Chart.Scrolled) -> None:
        self.browser.move_epoch(event.by, every=True)

    @on(Chart.Clicked)
    def _chart_clicked(self, event: Chart.Clicked) -> None:
        if (epoch := self._charts.epoch_near(event.x)) is not None:
            self.browser.select_epoch(epoch)

    # Pictures

    def action_enter(self) -> None:
        """Go one step further in: into the explorer, to a channel, into that channel."""
        if not self._explorer:
            self._open_explorer(True)
        elif self.browser.selection.channel is None:
            self.browser.move_channel(0)
            return
        if self.browser.selection.channel is not None:
            self.browser.zoom()

    def action_back(self) -> None:
        """Leave the list of findings, the channel, the cursor, the filter, the explorer or the enlarged pane."""
        filtered = self._layer_list if self._explorer else self._log
        if self.focused is self._health_list:
            self._focus_health(False)
        elif filtered.filter_text and self.browser.selection.channel is None:
            self._set_filter("")
        elif self.browser.back():
            return
        elif self._explorer:
            self._open_explorer(False)
        else:
            self.action_enlarge(False)

    def action_show_layer(self, text: str) -> None:
        """Show a layer by its name, the end of its name, or its number, the first one being 1.

        Raises:
            UserError: There is no such layer, or several.
        """
        names = self.choices("layer")
        if text in (numbers := [str(number) for number in range(1, len(names) + 1)]):
            self.browser.select_layer(numbers.index(text))
            return
        found = [name for name in names if name == text] or [name for name in names if name.endswith(text)]
        if len(found) != 1:
            meant = f"which of {', '.join(found)}?" if found else f"the layers are {', '.join(names)}"
            raise UserError(one_line(f"layer {text}: {meant}"))
        self.browser.select_layer(names.index(found[0]))

    def action_show_channel(self, text: str) -> None:
        """Put the cursor on a channel by its number, the first one being 1.

        Raises:
            UserError: The layer has no such channel.
        """
        number, count = whole_number(text, "channel"), self.browser.channels
        if not 1 <= number <= count:
            raise UserError(f"channel {number}: the layer has {counted(count, 'channel')}")
        self.browser.select_layer(self.browser.selection.layer, number - 1)

    def action_show_view(self, text: str) -> None:
        """Show a view by its name.

        Raises:
            UserError: There is no such view.
        """
        mode = next((mode for mode in MODES if mode.view == text), None)
        if mode is None:
            raise UserError(one_line(f"view {text}: the views are {', '.join(self.choices('view'))}"))
        self.browser.select_mode(mode)

    def choices(self, argument: str) -> list[str]:
        """Return what may follow a command in the palette."""
        if argument == "view":
            return [mode.view for mode in MODES]
        return list(self.browser.layers) if argument == "layer" else super().choices(argument)

    def action_health(self) -> None:
        """Show what is unhealthy about the layers, in the explorer."""
        measured, found = self._health
        if found:
            if not self._explorer:
                self._open_explorer(True)
            self._focus_health(True)
        elif measured is None:
            self.notify("nothing is known of the layers' health yet: it is measured after each epoch", markup=False)
        else:
            self.notify(f"all layers are healthy after {fmt.epoch_name(measured.epoch)}", markup=False)

    async def action_beside(self) -> None:
        """Show the selected epoch beside the frozen one, or beside the first one if none is frozen."""
        shown = self.browser.shown
        if self.folder is None or shown is None or (reference := self.browser.reference) is None:
            self.notify("there are no two epochs with pictures yet", markup=False)
            return
        from tui.screens.beside import Beside

        selection = self.browser.selection
        selections = replace(selection, epoch=reference), selection
        await self.app.push_screen(Beside((self.folder, self.folder), selections, self._classifier))

    def action_export(self, animated: bool) -> None:
        """Write the view, or its epochs, as a file."""
        if self.folder is None or (request := self.browser.shown) is None:
            self.notify("there is no picture to write yet", severity="error")
            return
        if any(worker.group == "export" and not worker.is_finished for worker in self.workers):
            notify_about(self.app, "export", "the last file is still being written")
            return
        if animated:
            notify_about(self.app, "export", "writing the epochs as a GIF…", timeout=60)
        self._export(self.folder, request, animated)

    @work(group="export")
    async def _export(self, folder: RunFolder, request: LayerRequest, animated: bool) -> None:
        from tui.inspect.export import export_view

        try:
            await asyncio.to_thread(access_of(self.app).require, folder)
            path = await asyncio.to_thread(export_view, folder, request, animated=animated)
        except UserError as error:
            notify_about(self.app, "export", one_line(f"not written: {error}"), severity="error")
        else:
            notify_about(self.app, "export", f"written to {printable(path)}", timeout=10)

    async def action_mistakes(self) -> None:
        """Show what the network gets wrong in the selected epoch."""
        await self._open_mistakes()

    async def _open_mistakes(self, cell: tuple[int, int] | None = None) -> None:
        if self.folder is None:
            self.notify(commands.REASONS["run"], severity="error")
            return
        await self._thumbnails.start()  # it starts while the screen is imported
        from tui.screens.mistakes import Mistakes

        epoch = None if self.browser.selection.follows_live else self.browser.epoch
        screen = Mistakes(self.folder, lambda: self.state, epoch, self._thumbnails, self._classifier, cell)
        await self.app.push_screen(screen, self._mistakes_left)

    @work
    async def _prepare_mistakes(self) -> None:
        """Start what the mistakes screen needs and import it in a thread, so that its key need not wait for that."""
        if self.state is not None and self.state.predicted:
            await self._thumbnails.start()
            await asyncio.to_thread(import_module, "tui.screens.mistakes")

    def _mistakes_left(self, epoch: int | None) -> None:
        """Show the epoch that the mistakes screen showed last."""
        if epoch is not None:
            self.browser.select_epoch(epoch)

    def _focus_health(self, focus: bool) -> None:
        self.set_focus(self._health_list if focus else self.browser)

    @on(LayerChosen)
    def _layer_chosen(self, event: LayerChosen) -> None:
        self.browser.select_layer(event.layer, event.channel)
        self.set_focus(self.browser)

    @on(EpochScrubber.Clicked)
    def _scrubber_clicked(self, event: EpochScrubber.Clicked) -> None:
        self.browser.select_epoch(event.epoch)

    # Photographs

    def classify(self, text: str) -> None:
        """Classify a file, and show the same layer of its feature maps."""
        self.post_message(ClassifyFile(text, self.browser.selection.layer))
