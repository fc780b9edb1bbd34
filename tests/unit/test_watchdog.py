"""What a run warns of by itself: once when it begins, and once when it is over."""

from __future__ import annotations

import math
from typing import Any

import pytest
import recorded

from facegender.runs.events import Event, Gpu, Level, RunFinished, System
from facegender.training.threads import watchdog
from facegender.training.threads.watchdog import Watchdog

GIB = 1 << 30


class Watched:
    """A watchdog and a clock."""

    def __init__(self, **started: Any) -> None:
        self.told: list[tuple[Level, str]] = []
        self.now = 100.0
        self.dog = Watchdog(lambda text, level: self.told.append((level, text)))
        self.see(recorded.run_started(**started), recorded.epoch_started(0))

    def see(self, *events: Event) -> None:
        for event in events:
            self.dog.observe(event, self.now)

    def wait(self, seconds: float) -> None:
        """Let time pass, and look twice a second as the journal's thread does."""
        for _ in range(int(2 * seconds)):
            self.now += 0.5
            self.dog.poll(self.now)

    def take(self) -> list[tuple[Level, str]]:
        told, self.told = self.told, []
        return told


def system(**changes: Any) -> System:
    values = {"memory_used_bytes": GIB, "memory_total_bytes": 32 * GIB, "process_memory_bytes": GIB}
    return System(time=1.0, cpu_percent=10.0, **(values | changes))


# No progress


def test_a_run_that_makes_no_step_for_long_says_so_once_and_says_when_it_goes_on() -> None:
    run = Watched()
    run.see(recorded.steps(0, 3))
    run.wait(59)
    assert run.take() == []
    run.wait(300)
    assert run.take() == [
        (
            "warning",
            "no step for 1 min, and a step usually takes 0.1 s: check the disk that has the photographs, and the GPU",
        )
    ]
    run.see(recorded.steps(0, 4))
    assert run.take() == [("info", "training continues after 5 min without a step")]
    run.wait(50)
    assert run.take() == []


def test_a_process_that_was_suspended_has_not_been_silent() -> None:
    run = Watched()
    run.see(recorded.steps(0, 3))
    run.wait(2)
    run.now += 500
    run.wait(50)
    assert run.take() == []
    run.wait(11)
    assert len(run.take()) == 1


def test_how_long_a_step_takes_is_known_from_steps_that_are_reported_one_by_one() -> None:
    run = Watched()
    for end in (10.0, 15.0, 20.0):
        run.see(recorded.steps(0, 1, seconds=[end]))
    run.wait(99)
    assert run.take() == []
    run.wait(2)
    assert "a step usually takes 5 s" in run.take()[0][1]


def test_slow_steps_are_no_silence() -> None:
    run = Watched()
    run.see(recorded.steps(0, 3, seconds=[0.0, 30.0, 60.0]))
    run.wait(500)
    assert run.take() == []
    run.wait(101)
    assert len(run.take()) == 1


def test_a_validation_may_take_longer_than_a_step_and_as_long_as_earlier_ones() -> None:
    run = Watched()
    run.see(recorded.steps(0))
    run.wait(500)
    run.see(recorded.epoch_finished(0), recorded.epoch_started(1), recorded.steps(1))
    run.wait(2000)
    assert run.take() == []
    run.wait(501)
    assert run.take()[0][1].startswith("validation has not ended for 41 min")


def test_a_script_that_validates_within_an_epoch_is_warned_of_once() -> None:
    run = Watched(recipe="")
    for batch in (1, 2, 3):
        run.see(recorded.steps(0, batch))
        run.wait(200)
    assert [level for level, _ in run.take()] == ["warning", "info"]


def test_a_run_that_has_ended_is_silent_for_a_reason() -> None:
    run = Watched()
    run.see(recorded.steps(0, 3), RunFinished(time=1.0, status="stopped"))
    run.wait(600)
    assert run.take() == []


# Waiting for data


@pytest.mark.parametrize(
    ("recipe", "remedy"), [("tuned", "more --workers"), ("", "raise num_workers of its DataLoader")]
)
def test_waiting_for_data_most_of_the_time_is_a_warning_with_its_remedy(recipe: str, remedy: str) -> None:
    run = Watched(recipe=recipe)
    for waited_s in (0.02, 0.15):
        for _ in range(2 * watchdog.WAITS_OF):
            run.dog.add_step(waited_s, 0.2)
            run.see(recorded.steps(0, 3))
    ((level, text),) = run.take()
    assert level == "warning"
    assert text.startswith("waiting for data takes 5")
    assert text.endswith(remedy)
    for _ in range(watchdog.WAITS_OF):
        run.dog.add_step(0.0, 0.2)
        run.see(recorded.steps(0, 3))
    assert run.take()[0] == ("info", "waiting for data takes 25% of a step now")


def test_waiting_for_data_in_very_short_steps_is_nothing_to_speak_of() -> None:
    run = Watched()
    for _ in range(2 * watchdog.WAITS_OF):
        run.dog.add_step(0.009, 0.01)
        run.see(recorded.steps(0, 3))
    assert run.take() == []


# Losses of somebody's own training


def test_a_loss_that_becomes_nan_or_explodes_in_a_script_is_a_warning() -> None:
    run = Watched(recipe="")
    losses = [5000.0] * 16 + [0.5] * 16 + [9.0] * 32 + [math.nan] * 8
    for first in range(0, len(losses), 8):
        part = losses[first : first + 8]
        steps = list(range(first + 1, first + 9))
        run.see(recorded.steps(0, 8, step=steps, batch=steps, seconds=[0.0] * 8, loss=part, accuracy=[0.5] * 8))
    assert [text for _, text in run.take()] == [
        "the loss has exploded: its median over 16 steps is 9 at step 48 (epoch 1): a lower learning rate may help",
        "the loss has not been finite since step 65 (epoch 1): a lower learning rate may help",
    ]


@pytest.mark.parametrize("changes", [{"recipe": ""}, {"recipe": "tuned"}])
def test_a_loss_that_is_not_known_and_the_programs_own_losses_are_left_to_others(changes: dict[str, str]) -> None:
    run = Watched(**changes)
    nan = [math.nan] * 20
    steps = list(range(1, 21))
    run.see(recorded.steps(0, 20, step=steps, batch=steps, seconds=[0.0] * 20, loss=nan, accuracy=nan))
    assert run.take() == []


def test_single_steps_of_a_script_whose_loss_is_not_known_are_no_nan() -> None:
    run = Watched(recipe="")
    for step in range(1, 40):
        loss = [math.nan if step % 3 else 0.5]
        run.see(recorded.steps(0, 1, step=[step], batch=[step], seconds=[0.0], loss=loss, accuracy=[0.5]))
    assert run.take() == []


# The machine


def test_a_disk_that_is_nearly_full_is_a_warning_before_a_checkpoint_fails() -> None:
    run = Watched(parameters=30_000_000)
    run.dog.poll(run.now, 10 * GIB)
    assert run.take() == []
    run.dog.poll(run.now, 380 << 20)
    run.dog.poll(run.now, 370 << 20)
    run.dog.poll(run.now, 500 << 20)
    why = "380 MiB left on the disk of the run, and a checkpoint takes 343 MiB"
    assert run.take() == [("warning", f"{why}: make room, or what is saved next may be lost")]
    run.dog.poll(run.now, 2 * GIB)
    assert run.take() == [("info", "2.0 GiB left on the disk of the run")]
    run.dog.poll(run.now, 400 << 20, checkpoint_bytes=500 << 20)
    assert "a checkpoint takes 500 MiB" in run.take()[0][1]


def test_memory_of_a_gpu_and_of_the_machine_that_is_nearly_full_is_a_warning_until_there_is_room() -> None:
    run = Watched()

    def gpu(used_gib: float) -> Gpu:
        used, total = int(used_gib * GIB), 80 * GIB
        return Gpu(index=0, name="H100\n", utilisation_percent=1, memory_used_bytes=used, memory_total_bytes=total)

    run.see(system(gpus=[gpu(70)]), system(gpus=[gpu(79)]), system(gpus=[gpu(76)]), system(gpus=[gpu(79)]))
    run.see(system(gpus=[gpu(40)], memory_used_bytes=int(31.5 * GIB)))
    warned, over, machine = run.take()
    assert warned == (
        "warning", "GPU 0 (H100) has 1.0 GiB of 80.0 GiB of its memory left: a smaller batch or image size needs less"
    )  # fmt: skip
    assert over == ("info", "GPU 0 (H100) has 40.0 GiB of 80.0 GiB of its memory left now")
    assert machine[1] == "the machine has 512 MiB of 32.0 GiB of its memory left: the system may end the training"


def test_what_comes_and_goes_is_said_three_times() -> None:
    run = Watched()
    for _ in range(9):
        run.see(system(memory_used_bytes=32 * GIB), system())
    assert len(run.take()) == 2 * watchdog.MAX_EPISODES
