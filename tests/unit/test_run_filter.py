"""The language that filters runs."""

from __future__ import annotations

import pytest

from facegender.runs.run_filter import parse_filter
from facegender.runs.summary import RunSummary
from facegender.support.errors import UserError

NOW = 1_000_000.0
DAY_S = 86_400.0
RUNS = [
    RunSummary(
        run="otter-3", state="completed", recipe="tuned", network="resnet18", learning_rate=1e-3, batch_size=64,
        image_size=160, epochs_done=20, epochs=20, best_accuracy=0.95, best_epoch=9, validation_loss=0.2, seed=1,
        duration_s=7200.0, created=NOW - DAY_S, data="/faces", note="the best, so far",
    ),
    RunSummary(
        run="Heron-7", state="failed", recipe="reference", network="recipe", learning_rate=0.1, batch_size=32,
        image_size=512, epochs_done=1, epochs=10, best_accuracy=0.5, best_epoch=0, validation_loss=2.0, seed=2,
        duration_s=60.0, created=NOW - 3 * DAY_S, demo=True,
    ),
    RunSummary(run="script", state="training", network="MyNet", note="Übung"),
]  # fmt: skip
OTTER, HERON, SCRIPT = "otter-3", "Heron-7", "script"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [OTTER, HERON, SCRIPT]),
        ("   ", [OTTER, HERON, SCRIPT]),
        ("heron", [HERON]),
        ("BEST", [OTTER]),
        ("übung", [SCRIPT]),
        ("best far", [OTTER]),
        ('"so far"', [OTTER]),
        ('"far so"', []),
        ("-otter", [HERON, SCRIPT]),
        ("recipe:tuned lr<0.01 best>0.9", [OTTER]),
        ("recipe:tune", [OTTER]),
        ("recipe=tune", []),
        ("recipe=TUNED", [OTTER]),
        ("recipe!=tuned", [HERON, SCRIPT]),
        ("state:failed,completed", [OTTER, HERON]),
        ("state!=failed,completed", [SCRIPT]),
        ('note:"best, so"', [OTTER]),
        ('note=""', [HERON]),
        ('-note=""', [OTTER, SCRIPT]),
        ("network:resnet", [OTTER]),
        ("data:demo", [HERON]),
        ("size:160", [OTTER]),
        ("size>=160", [OTTER, HERON]),
        ("batch = 32", [HERON]),
        ("lr < 0.01", [OTTER]),
        ("learning_rate:1e-3", [OTTER]),
        ("epochs<20", [HERON, SCRIPT]),
        ("loss<=0.2", [OTTER]),
        ("best>90%", [OTTER]),
        ("at:10", [OTTER]),
        ("seed!=1", [HERON]),
        ("seed:1,2", [OTTER, HERON]),
        ("seed!=1,2", []),
        ("age<2d", [OTTER]),
        ("age>12h age<1w", [OTTER, HERON]),
        ("duration>90min", [OTTER]),
        ("duration:1m", [HERON]),
        ("-best>0.9", [HERON, SCRIPT]),
        ("best>0", [OTTER, HERON]),
        ("-", [OTTER, HERON]),
        ('"otter', [OTTER]),
    ],
)  # fmt: skip
def test_a_filter_finds(text: str, expected: list[str]) -> None:
    assert [run.run for run in parse_filter(text).select(RUNS, NOW)] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("otter bets>0.9", "filter 'bets>0.9': there is no column 'bets': the columns are run, state, epochs, best"),
        ("lr<", "filter 'lr<': needs a number such as 0.9"),
        ("lr<abc", "not 'abc'"),
        ("best>1.2.3", "not '1.2.3'"),
        ("age<2years", "not '2years'"),
        ("state<failed", "filter 'state<failed': state is a text: compare it with : or = or !="),
        ("x:" + "\x1b[2J", "filter 'x:\ufffd[2J'"),
    ],
)
def test_what_cannot_be_understood_is_named_with_what_is_possible(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_filter(text)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
