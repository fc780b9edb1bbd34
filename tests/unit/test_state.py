"""Folding events into what is shown, without a screen."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import recorded
from msgspec.structs import replace

from facegender.runs.events import AnyEvent, Event, Heartbeat, Notice, RequestDone, RunFinished, System
from tui.inspect.modes import MODES
from tui.inspect.selection import Selection
from tui.run import series
from tui.run.curves import StepCurves
from tui.run.series import StepColumns
from tui.run.state import LOG_LINES, RunState, apply, apply_all

NEW = RunState("otter-3", process_state="training")


def after(*events: AnyEvent, state: RunState = NEW) -> RunState:
    return apply_all(state, events)


def after_epochs(count: int) -> RunState:
    return after(recorded.run_started(), *(event for epoch in range(count) for event in recorded.epoch_events(epoch)))


# Every event


def test_a_new_state_is_empty() -> None:
    state = RunState("otter-3")
    assert (state.state, state.live, state.epochs_done) == ("starting", True, 0.0)
    assert state.best is None
    assert state.left_s() is None
    assert state.elapsed_s(1e9) == 0.0


def test_run_started_sets_the_clock_and_logs_where_it_trains() -> None:
    state = after(recorded.run_started(time=77.0))
    assert state.started is not None
    assert (state.since, state.epoch, state.epochs_done) == (77.0, -1, 0.0)
    assert [line.text for line in state.log] == ["started on CPU, 160 photographs to train, 40 to validate"]


def test_run_started_logs_demo_faces() -> None:
    (line,) = after(recorded.run_started(demo=True)).log
    assert "160 demo faces" in line.text


def test_epoch_started_begins_at_batch_zero_with_its_learning_rate() -> None:
    state = after(recorded.run_started(), recorded.epoch_started(0), recorded.steps(0, 3))
    state = apply(state, recorded.epoch_started(1, learning_rate=1e-4))
    assert (state.epoch, state.batch, state.learning_rate) == (1, 0, 1e-4)


def test_steps_add_to_the_curves_and_move_the_progress() -> None:
    state = after(recorded.run_started(), recorded.epoch_started(0), recorded.steps(0, 2))
    assert state.steps.step.tolist() == [1, 2]
    assert state.steps.loss.tolist() == [1.0, 0.5]
    assert state.steps.accuracy.tolist() == [0.5, 0.5]
    assert state.steps.seconds.tolist() == [1001.0, 1001.1]
    assert (state.batch, state.images_per_second) == (2, 320.0)
    assert state.epochs_done == pytest.approx(0.4)


def test_steps_that_do_not_know_their_speed_keep_the_last_one() -> None:
    state = after(recorded.steps(0, 2), recorded.steps(0, 2, images_per_second=0.0))
    assert state.images_per_second == 320.0


def test_steps_without_any_step_change_no_curve() -> None:
    state = after(recorded.run_started(), recorded.steps(0, 3))
    empty = recorded.steps(0, step=[], batch=[], seconds=[], loss=[], accuracy=[])
    assert apply(state, empty).steps.step.tolist() == [1, 2, 3]
    assert apply(state, empty).batch == 3


def test_columns_of_unequal_length_count_as_far_as_the_shortest() -> None:
    state = after(recorded.steps(0, 5, loss=[0.1, 0.2]))
    assert state.steps.step.tolist() == [1, 2]


def test_epoch_finished_completes_the_epoch_and_logs_it() -> None:
    state = after_epochs(2)
    assert [epoch.epoch for epoch in state.epochs] == [0, 1]
    assert state.epochs_done == 2.0
    assert state.log[-1].text == ("epoch 2: loss 0.490, validation loss 0.590, accuracy 0.610, best so far")


def test_frame_saved_adds_its_epoch_once_and_in_order() -> None:
    state = after(*(recorded.frame_saved(epoch) for epoch in (4, 0, 2, 4)))
    assert state.frames == (0, 2, 4)


def test_the_load_is_the_newest() -> None:
    first = System(time=1.0, cpu_percent=1, memory_used_bytes=1, memory_total_bytes=2, process_memory_bytes=3)
    second = System(time=2.0, cpu_percent=2, memory_used_bytes=1, memory_total_bytes=2, process_memory_bytes=3)
    assert after(first, second).system is second


def test_a_notice_is_logged_with_its_level() -> None:
    state = after(Notice(time=5.0, level="warning", text="skipped [red]x[/]"))
    assert [(line.level, line.text, line.time) for line in state.log] == [("warning", "skipped [red]x[/]", 5.0)]


def test_a_heartbeat_changes_nothing() -> None:
    state = after_epochs(1)
    assert apply(state, Heartbeat(time=9999.0)) == state


@pytest.mark.parametrize(
    ("status", "level", "text"),
    [
        ("completed", "info", "training is complete"),
        ("stopped", "warning", "training was stopped; resume continues from here"),
        ("failed", "error", "training failed: out of memory"),
    ],
)
def test_run_finished_is_the_last_word(status: str, level: str, text: str) -> None:
    state = after(recorded.run_started(), RunFinished(time=2000.0, status=status, error="out of memory"))
    assert (state.state, state.live) == (status, False)
    assert (state.log[-1].level, state.log[-1].text) == (level, text)


def test_of_a_script_that_was_stopped_no_resuming_is_promised() -> None:
    state = after(recorded.run_started(recipe=""), RunFinished(time=2000.0, status="stopped"))
    assert state.log[-1].text == "training was stopped"


def test_the_journal_takes_precedence_over_the_process_state() -> None:
    state = replace(after(RunFinished(time=1.0, status="completed")), process_state="crashed")
    assert state.state == "completed"


def test_the_log_forgets_its_beginning_and_not_its_end() -> None:
    state = after(*(Notice(time=float(n), level="info", text=f"line {n}") for n in range(LOG_LINES + 20)))
    assert len(state.log) == LOG_LINES
    assert state.log[-1].text == f"line {LOG_LINES + 19}"
    assert state.log[0].text == "line 20"


@pytest.mark.parametrize("event", recorded.one_of_each(), ids=lambda event: type(event).__name__)
def test_no_event_changes_its_arguments(event: Event) -> None:
    state = after_epochs(3)
    loss, before, event_before = state.steps.loss.copy(), copy.copy(state), copy.deepcopy(event)
    first, second = apply(state, event), apply(state, event)
    assert state == before
    np.testing.assert_array_equal(state.steps.loss, loss)
    assert event == event_before
    assert replace(first, steps=state.steps) == replace(second, steps=state.steps)
    np.testing.assert_array_equal(first.steps.loss, second.steps.loss)


@pytest.mark.parametrize("event", recorded.one_of_each(), ids=lambda event: type(event).__name__)
def test_any_event_can_come_first(event: Event) -> None:
    state = apply(RunState("otter-3"), event)
    assert state.epochs_done >= 0
    assert state.elapsed_s(0.0) >= 0


def test_time_never_runs_backwards() -> None:
    assert after(recorded.frame_saved(0, time=50.0), recorded.frame_saved(1, time=40.0)).trained_until == 50.0


# Resumed runs


def test_a_resumed_run_drops_steps_and_epochs_beyond_its_checkpoint() -> None:
    state = after_epochs(3)
    resumed = apply(state, recorded.run_started(time=5000.0, start_epoch=1, start_step=5, resumed=True))
    assert resumed.steps.step.tolist() == [1, 2, 3, 4, 5]
    assert [epoch.epoch for epoch in resumed.epochs] == [0]
    assert (resumed.epoch, resumed.batch, resumed.epochs_done) == (0, 0, 1.0)
    assert resumed.log[-1].text.startswith("resumed on CPU, ")
    assert resumed.since == 5000.0


def test_what_is_trained_again_replaces_what_was_dropped_and_the_old_state_keeps_it() -> None:
    state = after_epochs(3)
    old_loss = state.steps.loss.copy()
    resumed = after(
        recorded.run_started(time=5000.0, start_epoch=1, start_step=5, resumed=True),
        recorded.epoch_started(1),
        recorded.steps(1, loss=[9.0] * 5),
        recorded.epoch_finished(1, 0.99),
        state=state,
    )
    assert resumed.steps.step.tolist() == list(range(1, 11))
    assert resumed.steps.loss.tolist()[5:] == [9.0] * 5
    assert resumed.best is not None
    assert resumed.best.validation_accuracy == 0.99
    np.testing.assert_array_equal(state.steps.loss, old_loss)


def test_a_run_that_had_ended_is_live_again_when_it_is_resumed() -> None:
    stopped = after(recorded.run_started(), RunFinished(time=2000.0, status="stopped"))
    assert not stopped.live
    for event in (recorded.run_started(resumed=True), recorded.epoch_started(1), Notice(time=1, level="info", text="")):
        assert apply(stopped, event).state == "training"


def test_the_log_tail_of_a_crash_is_dropped_when_the_run_is_resumed() -> None:
    crashed = replace(after_epochs(1), process_state="crashed", log_tail=("RuntimeError",))
    assert apply(crashed, recorded.run_started(resumed=True, start_epoch=1, start_step=5)).log_tail == ()


# Columns


def test_longer_columns_share_their_memory_with_shorter_ones() -> None:
    short = StepColumns().extended(recorded.steps(0))
    long = short.extended(recorded.steps(1))
    assert np.shares_memory(next(short.parts()), next(long.parts()))
    assert (len(short), len(long)) == (5, 10)


def test_old_columns_never_change_whatever_is_made_from_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "BLOCK_STEPS", 100)
    random = np.random.default_rng(0)
    known = [(StepColumns(), np.empty(0))]
    for number in range(400):
        source, losses = known[random.integers(len(known))]
        if random.random() < 0.2 and len(source):
            cut = int(random.integers(0, len(source) + 1))
            made, expected = source.until(cut), losses[:cut]
        else:
            count = int(random.integers(0, 300))
            first = len(source) + 1
            loss = [float(number) + step / 1000 for step in range(count)]
            event = recorded.steps(0, step=list(range(first, first + count)), loss=loss)
            event = recorded.steps(0, step=event.step, loss=loss, batch=event.step, seconds=loss, accuracy=loss)
            made, expected = source.extended(event), np.concatenate([losses, loss])
        known.append((made, expected))
    for columns, expected in known:
        np.testing.assert_array_equal(columns.loss, expected)
        np.testing.assert_array_equal(columns.step, np.arange(1, len(expected) + 1))
        for begin in (0, 99, 100, 250, len(expected)):
            parts = [part[2] for part in columns.parts(begin)]
            np.testing.assert_array_equal(np.concatenate([np.empty(0), *parts]), expected[begin:])
        if len(expected):
            assert columns.latest == (expected[-1], expected[-1])


def test_two_extensions_of_the_same_columns_are_independent() -> None:
    base = StepColumns().extended(recorded.steps(0))
    one = base.extended(recorded.steps(1, loss=[1.0] * 5))
    other = base.extended(recorded.steps(1, loss=[2.0] * 5))
    assert one.loss.tolist()[5:] == [1.0] * 5
    assert other.loss.tolist()[5:] == [2.0] * 5


def test_until_keeps_the_step_it_names() -> None:
    columns = StepColumns().extended(recorded.steps(0))
    assert columns.until(3).step.tolist() == [1, 2, 3]
    assert columns.until(0).step.tolist() == []
    assert columns.until(99) is columns


def test_metrics_that_are_not_finite_are_kept_as_they_are() -> None:
    columns = StepColumns().extended(recorded.steps(0, loss=[math.nan, math.inf, -math.inf, 0.0, 1.0]))
    assert list(map(str, columns.loss.tolist())) == ["nan", "inf", "-inf", "0.0", "1.0"]


# Best, elapsed, left


def test_a_nan_accuracy_is_never_the_best() -> None:
    state = after(*(recorded.epoch_finished(n, value) for n, value in enumerate([math.nan, 0.7, math.nan, 0.6])))
    assert state.best is not None
    assert state.best.epoch == 1
    assert after(recorded.epoch_finished(0, math.nan)).best is None


def test_the_first_of_equally_good_epochs_is_the_best() -> None:
    state = after(*(recorded.epoch_finished(epoch, 0.8) for epoch in range(3)))
    assert state.best is not None
    assert state.best.epoch == 0


def test_elapsed_time_grows_only_while_a_run_is_live() -> None:
    state = after(recorded.run_started(time=1000.0), recorded.epoch_started(0, time=1003.0))
    assert state.elapsed_s(1010.0) == 10.0
    assert state.elapsed_s(900.0) == 0.0
    ended = apply(state, RunFinished(time=1008.0, status="completed"))
    assert ended.elapsed_s(5000.0) == 8.0
    assert replace(state, process_state="crashed").elapsed_s(5000.0) == 3.0


def goes_on(time: float) -> AnyEvent:
    return recorded.run_started(time=time, start_epoch=1, start_step=5, resumed=True)


def test_elapsed_time_is_the_sum_of_all_segments_without_the_time_between_them() -> None:
    state = after(
        recorded.run_started(time=1000.0),
        *recorded.epoch_events(0),
        RunFinished(time=1017.0, status="stopped"),
        Notice(time=5000.0, level="info", text="photographs are read"),
        System(time=5001.0, cpu_percent=1, memory_used_bytes=1, memory_total_bytes=2, process_memory_bytes=3),
        goes_on(5003.0),
    )
    assert state.elapsed_s(5005.0) == 19.0
    assert state.since == 5003.0
    ended = apply(state, RunFinished(time=5011.0, status="completed"))
    assert ended.elapsed_s(9999.0) == 25.0
    assert after(goes_on(20_000.0), state=ended).elapsed_s(20_001.0) == 26.0


def test_a_run_that_died_has_trained_until_its_last_training_event_however_late_it_is_resumed() -> None:
    state = after(recorded.run_started(time=1000.0), recorded.epoch_started(0), recorded.steps(0, time=1017.0))
    starting = after(
        Notice(time=90_000.0, level="info", text="photographs are read"), Heartbeat(time=90_005.0), state=state
    )
    assert apply(starting, goes_on(90_006.0)).elapsed_s(90_008.0) == 19.0


def test_a_run_that_failed_before_it_began_has_not_trained() -> None:
    notice = Notice(time=990.0, level="info", text="photographs are read")
    state = after(RunFinished(time=900.0, status="failed"), notice)
    assert apply(state, recorded.run_started(time=1000.0)).elapsed_s(1002.0) == 2.0


def test_time_left_is_estimated_from_the_epochs_of_this_process() -> None:
    state = after_epochs(2)
    assert state.left_s() == pytest.approx(3 * 2.0)
    resumed = after(
        recorded.run_started(time=9000.0, start_epoch=2, start_step=10, resumed=True, epochs=10),
        recorded.epoch_started(2, time=9001.0),
        recorded.steps(2, time=9002.0, images_per_second=80.0),
        state=state,
    )
    # Seven epochs of 160 images at 80 a second: the epochs of the earlier, perhaps faster process do not count.
    assert resumed.left_s() == pytest.approx(7 * 2.0)
    assert apply(resumed, recorded.epoch_finished(2, time=9050.0, seconds=49.0)).left_s() == pytest.approx(7 * 49.0)


def test_time_left_is_estimated_from_the_speed_in_the_first_epoch() -> None:
    state = after(recorded.run_started(), recorded.epoch_started(0), recorded.steps(0, 1, images_per_second=16.0))
    assert state.left_s() == pytest.approx(4.8 * 160 / 16)
    assert after(recorded.run_started()).left_s() is None


def test_a_run_that_ended_has_no_time_left() -> None:
    state = apply(after_epochs(2), RunFinished(time=3000.0, status="stopped"))
    assert state.left_s() is None
    assert replace(after_epochs(2), process_state="crashed").left_s() is None


def test_more_batches_than_announced_are_not_more_than_an_epoch() -> None:
    state = after(recorded.run_started(), recorded.epoch_started(0), recorded.steps(0, 9))
    assert state.epochs_done == 1.0


# Progress of the epoch


def test_an_epoch_is_complete_until_the_next_begins() -> None:
    state = after(recorded.run_started(), recorded.epoch_started(0), recorded.steps(0, 2))
    assert state.epoch_progress == pytest.approx((0, 0.4))
    state = apply(state, recorded.steps(0))
    assert (state.epoch_progress, state.batch) == ((0, 1.0), 5)
    state = apply(state, recorded.epoch_finished(0))
    assert (state.epoch_progress, state.batch) == ((0, 1.0), 5)
    state = apply(state, recorded.epoch_started(1))
    assert (state.epoch_progress, state.batch) == ((1, 0.0), 0)


def test_a_started_or_resumed_run_is_at_the_beginning_of_an_epoch() -> None:
    assert NEW.epoch_progress == after(recorded.run_started()).epoch_progress == (0, 0.0)
    goes_on = recorded.run_started(time=5000.0, start_epoch=2, start_step=10, resumed=True)
    resumed = apply(after_epochs(2), goes_on)
    assert (resumed.epoch_progress, resumed.batch) == ((2, 0.0), 0)


# Patience


def after_waiting(patience: int, *waited: int) -> RunState:
    """A run of five epochs of which some are done, each with what it has waited for a better one."""
    epochs = [
        recorded.epoch_finished(epoch, epochs_since_best=count, best=not count) for epoch, count in enumerate(waited)
    ]
    return after(recorded.run_started(patience=patience), *epochs)


def test_patience_comes_from_the_run_and_its_progress_from_the_last_epoch() -> None:
    assert (NEW.patience, NEW.epochs_since_best) == (0, 0)
    state = after_waiting(3)
    assert (state.patience, state.epochs_since_best, state.ended_early) == (3, 0, False)
    state = after_waiting(3, 0, 1, 2)
    assert (state.patience, state.epochs_since_best, state.ended_early) == (3, 2, False)
    assert after_waiting(3, 0, 1, 0).epochs_since_best == 0


def test_a_run_that_used_up_its_patience_has_ended_early() -> None:
    completed = RunFinished(time=2000.0, status="completed")
    assert not after_waiting(2, 0, 1, 2).ended_early
    assert apply(after_waiting(2, 0, 1, 2), completed).ended_early


@pytest.mark.parametrize(
    ("patience", "waited", "status"),
    [
        (2, (0, 1), "completed"),
        (2, (0, 1, 2), "stopped"),
        (2, (0, 1, 2), "failed"),
        (2, (0, 0, 0, 1, 2), "completed"),
        (0, (0, 0, 0), "completed"),
    ],
)
def test_a_run_that_ended_for_another_reason_has_not_ended_early(
    patience: int, waited: tuple[int, ...], status: str
) -> None:
    state = apply(after_waiting(patience, *waited), RunFinished(time=2000.0, status=status))
    assert not state.ended_early


def test_a_resumed_run_with_more_patience_continues_its_count() -> None:
    ended = apply(after_waiting(2, 0, 1, 2), RunFinished(time=2000.0, status="completed"))
    resumed = apply(ended, recorded.run_started(time=5000.0, start_epoch=3, start_step=15, resumed=True, patience=4))
    assert (resumed.patience, resumed.epochs_since_best, resumed.ended_early) == (4, 2, False)


# What is looked at


FRAMES = (0, 2, 4, 6)


def test_a_view_that_follows_shows_the_newest_epoch_with_pictures() -> None:
    view = Selection()
    assert view.follows_live
    assert view.epoch_in(FRAMES) == 6
    assert view.epoch_in((*FRAMES, 8)) == 8
    assert view.epoch_in(()) is None


def test_a_view_that_does_not_follow_stays_where_it_is() -> None:
    view = Selection(epoch=4)
    assert not view.follows_live
    assert view.epoch_in((*FRAMES, 8)) == 4


def test_an_epoch_without_pictures_shows_the_nearest_earlier_one() -> None:
    assert Selection(epoch=5).epoch_in(FRAMES) == 4
    assert Selection(epoch=1).epoch_in((2, 4)) == 2


def test_moving_past_the_last_epoch_follows_live_again_and_before_the_first_stays() -> None:
    view = Selection().moved_epoch(FRAMES, -1)
    assert view.epoch == 4
    assert view.moved_epoch(FRAMES, 1).follows_live
    assert view.moved_epoch(FRAMES, 10).follows_live
    assert view.moved_epoch(FRAMES, -10).epoch == 0
    assert Selection(epoch=0).moved_epoch(FRAMES, -1).epoch == 0
    assert Selection(epoch=0).moved_epoch(FRAMES, 2).epoch == 4
    assert Selection().moved_epoch((), -1) == Selection()
    assert Selection().moved_epoch((3,), -1).epoch == 3


def test_layers_stop_at_either_end_and_the_cursor_stays_at_its_channel() -> None:
    view = Selection(channel=7, zoomed=True)
    assert view.moved_layer(3, -1) is view
    moved = view.moved_layer(3, 1)
    assert (moved.layer, moved.channel, moved.zoomed) == (1, 7, True)
    assert moved.moved_layer(3, 99).layer == 2
    assert Selection().moved_layer(0, 1) == Selection()


def test_probes_wrap_around() -> None:
    assert Selection().moved_probe(3, -1).probe == 2
    assert Selection(probe=2).moved_probe(3, 1).probe == 0
    assert Selection().moved_probe(0, 1).probe == 0


def test_the_first_move_shows_the_cursor_and_channels_stop_at_either_end() -> None:
    view = Selection().moved_channel(8, 1)
    assert view.channel == 0
    assert view.moved_channel(8, -1).channel == 0
    assert view.moved_channel(8, 5).channel == 5
    assert view.moved_channel(8, 99).channel == 7
    assert view.moved_channel(0, 1).channel == 0


def test_modes_wrap_around_and_leave_the_zoom() -> None:
    view = Selection(zoomed=True, channel=2)
    seen = []
    for _ in MODES:
        seen.append(view.mode)
        view = view.next_mode()
        assert not view.zoomed
    assert tuple(seen) == MODES
    assert view.mode.title == "feature maps"


def test_a_frame_within_an_epoch_is_told_from_the_one_at_its_end() -> None:
    events = [recorded.run_started(), recorded.epoch_finished(0), recorded.frame_saved(0)]
    state = apply_all(RunState("otter-3"), [*events, recorded.epoch_started(1), recorded.frame_saved(1, step=7)])
    assert state.frames_within == {1: 7}
    state = apply_all(state, [recorded.epoch_finished(1), recorded.frame_saved(1)])
    assert state.frames_within == {}


def test_a_run_of_unknown_length_has_no_end_and_is_no_error() -> None:
    events = [recorded.run_started(epochs=0, steps_per_epoch=0), recorded.epoch_started(0), recorded.steps(0)]
    state = apply_all(RunState("otter-3", process_state="training"), events)
    assert state.left_s() is None
    assert state.epochs_done == 0
    assert apply(state, recorded.epoch_finished(0)).epochs_done == 1


def test_the_log_leaves_out_what_was_not_measured() -> None:
    event = recorded.epoch_finished(0, math.nan, validation_loss=math.nan, best=False)
    assert apply(RunState("otter-3"), event).log[-1].text == "epoch 1: loss 0.500"


def changed(step: int, **changes: Any) -> RequestDone:
    return RequestDone(time=1500.0, request="set", done=True, outcome="changed", epoch=0, step=step, **changes)


def test_what_a_request_changed_is_that_of_the_run_from_then_on() -> None:
    events = [recorded.run_started(), recorded.epoch_started(0), recorded.steps(0)]
    state = apply_all(RunState("otter-3", process_state="training"), events)
    state = apply_all(state, [changed(3, epochs=8, learning_rate=1e-3), changed(4, learning_rate=1e-4)])
    assert state.started is not None
    assert (state.started.epochs, state.learning_rate) == (8, 1e-4)
    assert [line.text for line in state.log][-2:] == ["changed", "changed"]
    curves = StepCurves()
    curves.update(state.steps)
    assert curves.curves(state, "steps", 0.0).marks == ((3.0, "8 epochs"), (4.0, "lr 0.0001"))
    assert curves.curves(state, "epochs", 0.0).marks == ((0.6, "8 epochs"), (0.8, "lr 0.0001"))
    assert curves.curves(state, "steps", 0.0).x_range == (0.0, 40.0)


def test_changes_after_the_step_that_a_run_resumes_from_are_no_longer_shown() -> None:
    events = [recorded.run_started(), changed(3, learning_rate=1e-4), changed(9, learning_rate=1e-5)]
    state = apply_all(RunState("otter-3"), [*events, recorded.run_started(start_step=5, start_epoch=1, resumed=True)])
    assert [change.step for change in state.changes] == [3]


def test_the_last_epochs_that_were_set_after_the_step_that_a_run_resumes_from_are_a_mark_at_that_step() -> None:
    events = [recorded.run_started(), changed(8, epochs=15), changed(9, learning_rate=1e-5, epochs=20)]
    state = apply_all(RunState("otter-3"), [*events, recorded.run_started(start_step=5, start_epoch=1, resumed=True)])
    assert [(change.step, change.epochs, change.learning_rate) for change in state.changes] == [(5, 20, None)]


def test_a_refused_change_is_a_warning_in_the_log_and_no_mark() -> None:
    refused = RequestDone(time=1500.0, request="set", done=False, outcome="epochs must be at least 3", epochs=None)
    state = apply_all(RunState("otter-3"), [recorded.run_started(), refused])
    assert state.changes == ()
    assert (state.log[-1].level, state.log[-1].text) == ("warning", "epochs must be at least 3")
