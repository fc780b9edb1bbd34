"""Which checkpoint answers for a run, and which run answers when none is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import recorded

from facegender.runs.checkpoints import checkpoint_of, find_checkpoint
from facegender.runs.config import TrainConfig
from facegender.runs.folder import RunFolder
from facegender.support.errors import UserError


def make_run(root: Path, name: str, *, checkpoints: str = "best last", **more: Any) -> RunFolder:
    """A run with empty checkpoint files; ended unless ``end`` says otherwise. Runs made later are newer."""
    more.setdefault("end", "completed")
    more.setdefault("created", 1000.0 + len(list(root.glob("checkpoints/*"))))
    folder = recorded.write_run(root, name, **more)
    for stem in checkpoints.split():
        (folder.path / f"{stem}.ckpt").touch()
    return folder


def test_the_best_checkpoint_of_a_run_answers_once_it_has_ended(tmp_path: Path) -> None:
    run = make_run(tmp_path, "done")
    assert checkpoint_of(run) == run.best_checkpoint
    assert checkpoint_of(run, "last") == run.last_checkpoint


def test_the_newest_checkpoint_of_a_run_answers_while_it_trains(tmp_path: Path) -> None:
    run = make_run(tmp_path, "live", end=None)
    assert checkpoint_of(run) == run.last_checkpoint
    assert checkpoint_of(run, "best") == run.best_checkpoint


@pytest.mark.parametrize("end", [None, "stopped"])
@pytest.mark.parametrize("only", ["best", "last"])
def test_a_run_with_a_single_checkpoint_answers_with_that_one(tmp_path: Path, end: Any, only: Any) -> None:
    run = make_run(tmp_path, "young", end=end, checkpoints=only)
    assert checkpoint_of(run) == run.path / f"{only}.ckpt"
    other: Any = "last" if only == "best" else "best"
    with pytest.raises(UserError, match=rf"^run young has no {other}\.ckpt yet: it saves the first one at the end of"):
        checkpoint_of(run, other)


def test_the_newest_run_with_a_checkpoint_answers_when_none_is_named(tmp_path: Path) -> None:
    make_run(tmp_path, "older")
    newer = make_run(tmp_path, "newer")
    make_run(tmp_path, "without", checkpoints="")
    assert find_checkpoint(tmp_path).path == newer.best_checkpoint


def test_a_run_on_demo_faces_or_a_failed_one_answers_only_if_there_is_no_better_one(tmp_path: Path) -> None:
    demo = make_run(tmp_path, "demo", config=TrainConfig(demo=True))
    failed_demo = make_run(tmp_path, "failed-demo", config=TrainConfig(demo=True), end="failed")
    assert find_checkpoint(tmp_path).run.path == demo.path
    failed = make_run(tmp_path, "failed", end="failed")
    assert find_checkpoint(tmp_path).run.path == failed.path
    good = make_run(tmp_path, "good", created=1.0)
    assert find_checkpoint(tmp_path).run.path == good.path
    assert find_checkpoint(tmp_path, "failed-demo").path == failed_demo.best_checkpoint


def test_a_run_without_a_manifest_answers_only_if_there_is_no_better_one(tmp_path: Path) -> None:
    known = make_run(tmp_path, "known")
    make_run(tmp_path, "unknown").manifest_path.unlink()
    assert find_checkpoint(tmp_path).run.path == known.path


def test_the_description_names_run_file_and_epoch_counted_from_1(tmp_path: Path) -> None:
    make_run(tmp_path, "otter-3", config=TrainConfig(epochs=10))
    assert find_checkpoint(tmp_path).describe(2) == "run otter-3, best.ckpt, epoch 3 of 10"
    file = tmp_path / "checkpoints" / "otter-3" / "last.ckpt"
    assert find_checkpoint(tmp_path, str(file)).describe(2) == "run otter-3, last.ckpt, epoch 3 of 10"


def test_the_description_says_what_speaks_against_the_answer(tmp_path: Path) -> None:
    make_run(tmp_path, "a", config=TrainConfig(demo=True, epochs=10), end="failed")
    text = find_checkpoint(tmp_path).describe(0)
    assert text == "run a, best.ckpt, epoch 1 of 10, trained on demo faces, the run has failed"


def test_a_file_outside_a_run_is_named_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "x\x1b.ckpt").touch()
    assert find_checkpoint(tmp_path, f"{tmp_path}/x\x1b.ckpt").describe(2) == f"{tmp_path}/x\ufffd.ckpt, epoch 3"


def test_a_damaged_manifest_leaves_out_the_number_of_epochs(tmp_path: Path) -> None:
    run = make_run(tmp_path, "a")
    run.manifest_path.write_bytes(b"{")
    assert find_checkpoint(tmp_path, "a").describe(2) == "run a, best.ckpt, epoch 3"


def test_without_any_checkpoint_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="train one"):
        find_checkpoint(tmp_path)
    make_run(tmp_path, "done")
    make_run(tmp_path, "young", checkpoints="")
    for name, problem in (
        ("other", "known runs: young, done"),
        ("missing.ckpt", r"^missing\.ckpt: no such file"),
        ("young", "has no checkpoint yet"),
    ):
        with pytest.raises(UserError, match=problem):
            find_checkpoint(tmp_path, name)


def test_the_message_of_a_request_has_the_rule_as_its_default() -> None:
    from facegender.runs.protocol import Request

    assert msgspec.json.decode(b'{"id": 1, "path": "a", "run": "b"}', type=Request).checkpoint == "auto"
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"id": 1, "path": "a", "run": "b", "checkpoint": "worst"}', type=Request)
