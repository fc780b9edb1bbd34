"""The tuned recipe: everything that works for the reference network works for its own."""

from __future__ import annotations

import math
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from facegender.__main__ import run
from facegender.classifier import load_classifier
from facegender.classify_server import ClassifyServer
from facegender.interpret.cam import layer_cam
from facegender.network.augment import Augmentation, generator_for
from facegender.network.ema import EmaNetwork
from facegender.network.module import FaceGenderModule
from facegender.network.recipes import MIN_LR_FACTOR, RECIPES, growing_side, lr_factor
from facegender.network.residual import ResidualNet
from facegender.runs.config import TrainConfig
from facegender.runs.events import EpochFinished, EpochStarted
from facegender.runs.folder import RunFolder
from facegender.runs.frames import open_frame
from facegender.runs.protocol import Request
from facegender.training.run import train
from tests.ml.conftest import STEPS_PER_EPOCH, events_of, losses_of, tiny

Capture = pytest.CaptureFixture[str]


def small(**changes: Any) -> TrainConfig:
    return tiny(recipe="tuned", learning_rate=2e-3, **changes)


def checkpoint_of(root: Path, name: str, file: str = "last.ckpt") -> dict[str, Any]:
    content: dict[str, Any] = torch.load(RunFolder(root, name).path / file, weights_only=True)
    return content


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with one completed run, "done", of the tuned recipe."""
    root = tmp_path_factory.mktemp("tuned")
    assert train(small(), root, "done", show=False) == "completed"
    return root


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    Image.effect_noise((40, 50), 60).convert("RGB").save(tmp_path / "a.png")
    return tmp_path / "a.png"


# Going on


@pytest.mark.parametrize("step", [1, STEPS_PER_EPOCH - 1, STEPS_PER_EPOCH + 2])
def test_interrupted_and_resumed_is_the_same_as_uninterrupted(
    tmp_path: Path, tuned: Path, step: int, at_step: Callable[[int, Callable[[], None]], None]
) -> None:
    at_step(step, lambda: signal.raise_signal(signal.SIGTERM))
    assert train(small(), tmp_path, "a", show=False) == "stopped"
    assert train(small(), tmp_path, resume="a", show=False) == "completed"
    straight, resumed = events_of(tuned, "done"), events_of(tmp_path, "a")
    assert losses_of(resumed) == losses_of(straight)
    fields = ("epoch", "train_loss", "train_accuracy", "validation_loss", "confusion", "best")

    def epochs(events: list[Any]) -> list[list[Any]]:
        return [[getattr(event, name) for name in fields] for event in events if isinstance(event, EpochFinished)]

    assert epochs(resumed) == epochs(straight)
    expected, found = checkpoint_of(tuned, "done"), checkpoint_of(tmp_path, "a")
    assert found["averaged_steps"] == expected["averaged_steps"] == 3 * STEPS_PER_EPOCH
    for part in ("state_dict", "trained_weights"):
        assert found[part].keys() == expected[part].keys()
        assert all(torch.equal(value, expected[part][name]) for name, value in found[part].items())


def test_the_learning_rate_rises_and_falls_and_continues_on_a_longer_cycle(tmp_path: Path) -> None:
    train(small(epochs=2, visualize_every=0), tmp_path, "a", show=False)
    changes = {"epochs": 4}
    assert train(small(), tmp_path, resume="a", changes=changes, show=False) == "completed"
    rates = [event.learning_rate for event in events_of(tmp_path, "a") if isinstance(event, EpochStarted)]
    shares = [lr_factor(epoch * STEPS_PER_EPOCH, (2, 2, 4, 4)[epoch] * STEPS_PER_EPOCH) for epoch in range(4)]
    # The optimiser keeps the rate that it had until its next step.
    assert rates[:2] == pytest.approx([2e-3 * share for share in shares[:2]])
    assert rates[3] == pytest.approx(2e-3 * shares[3])


def test_a_cycle_begins_and_ends_low_and_is_highest_after_its_warm_up() -> None:
    assert lr_factor(0, 100) == pytest.approx(MIN_LR_FACTOR)
    assert lr_factor(15, 100) == pytest.approx(1)
    assert lr_factor(100, 100) == pytest.approx(MIN_LR_FACTOR)
    assert lr_factor(500, 100) == pytest.approx(MIN_LR_FACTOR)
    shares = [lr_factor(step, 100) for step in range(101)]
    assert shares[:16] == sorted(shares[:16])
    assert shares[15:] == sorted(shares[15:], reverse=True)
    assert all(math.isfinite(lr_factor(step, 1)) for step in range(3))


SPOILED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no trained weights": lambda content: content.pop("trained_weights"),
    "a trained weight less": lambda content: content["trained_weights"].pop("network.stem.weight"),
    "trained weights of another shape": lambda content: content["trained_weights"].update(
        {"network.stem.weight": torch.zeros(5, 3, 3, 3)}
    ),
    "no count": lambda content: content.pop("averaged_steps"),
    "a count of a string": lambda content: content.update(averaged_steps="many"),
    "more averaged than trained": lambda content: content.update(averaged_steps=10**6),
    "moments of another shape": lambda content: content["optimizer_states"][0]["state"][0].update(
        exp_avg=torch.zeros(2)
    ),
    "rate of a string": lambda content: content["lr_schedulers"][0].update(base_lrs=["fast", "fast"]),
    "nan rate": lambda content: content["lr_schedulers"][0].update(base_lrs=[math.nan, math.nan]),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_a_checkpoint_whose_average_or_schedule_makes_no_sense_is_refused(
    tuned: Path, tmp_path: Path, capsys: Capture, spoil: Callable[[dict[str, Any]], Any]
) -> None:
    shutil.copytree(tuned, tmp_path, dirs_exist_ok=True)
    content = checkpoint_of(tmp_path, "done")
    spoil(content)
    torch.save(content, RunFolder(tmp_path, "done").last_checkpoint)
    assert run(["train", "--resume=done", "--epochs=4", "--root", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no checkpoint to resume from" in line


# Looking inside, and asking


def test_the_frames_show_every_convolution_of_the_averaged_network(tuned: Path) -> None:
    with open_frame(RunFolder(tuned, "done").frame_path(2)) as frame:
        layers = frame.info.layers
        assert len(layers) == 1 + 12 + 3 + 1
        assert (layers[0], layers[-1]) == ("stem", "head")
        assert frame.info.maps_of["stage1.0.conv1"] == "stage1.0.conv1, stage1.0.bn1, stage1.0.relu1"
        assert frame.info.maps_of["stage1.0.shortcut.conv"] == "stage1.0.shortcut.conv, stage1.0.shortcut.bn"
        saved = checkpoint_of(tuned, "done")["state_dict"]["network.stem.weight"]
        assert torch.equal(torch.tensor(frame.tensor("filters/stem")), saved)


def test_validation_and_checkpoints_are_those_of_the_averaged_weights(tuned: Path) -> None:
    content = checkpoint_of(tuned, "done")
    averaged, trained = content["state_dict"], content["trained_weights"]
    assert not torch.equal(averaged["network.stem.weight"], trained["network.stem.weight"])
    assert not torch.equal(averaged["network.stem_bn.running_mean"], trained["network.stem_bn.running_mean"])
    assert not any(name.startswith("averaged") for name in averaged)
    best = checkpoint_of(tuned, "done", "best.ckpt")
    assert best["state_dict"].keys() == averaged.keys()
    assert "trained_weights" not in best


def test_a_tuned_network_classifies_explains_and_is_shown(
    tuned: Path, photograph: Path, tmp_path: Path, capsys: Capture
) -> None:
    heat = tmp_path / "heat"
    assert run(["predict", str(photograph), "--root", str(tuned), "--heatmap", str(heat)]) == 0
    assert capsys.readouterr().out.startswith("Predicted: ")
    assert (heat / "a.png.png").exists()
    answer = ClassifyServer(tuned, tmp_path / "frames").answer(Request(id=1, path=str(photograph), run="done"))
    assert answer.ok, answer.error
    with open_frame(Path(answer.frame)) as frame:
        assert frame.info.layers[-1] == "head"


@pytest.mark.parametrize("form", ["pth", "safetensors", "onnx"])
def test_a_tuned_network_is_exported(tuned: Path, tmp_path: Path, capsys: Capture, form: str) -> None:
    if form == "onnx":
        pytest.importorskip("onnxscript")
    target = tmp_path / f"out.{form}"
    assert run(["export", "done", "--format", form, "--output", str(target), "--root", str(tuned)]) == 0
    assert target.stat().st_size > 10_000


def test_a_checkpoint_of_an_unknown_recipe_is_refused_by_its_name(tuned: Path, tmp_path: Path, capsys: Capture) -> None:
    content = checkpoint_of(tuned, "done")
    for recipe in ("magic\x1b[2J", 7, ["tuned"], "reference"):
        content["hyper_parameters"]["recipe"] = recipe
        torch.save(content, tmp_path / "x.ckpt")
        assert run(["export", str(tmp_path / "x.ckpt"), "--root", str(tmp_path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.isprintable()
        assert ("does not know" if recipe == "magic\x1b[2J" else "not a checkpoint of this network") in line


def test_a_loaded_network_answers_as_the_one_in_training_did(tuned: Path) -> None:
    classifier = load_classifier(RunFolder(tuned, "done").last_checkpoint)
    assert isinstance(classifier.network, ResidualNet)
    with open_frame(RunFolder(tuned, "done").frame_path(2)) as frame:
        expected = frame.tensor("probe/probabilities")
        pixels = [frame.probe_image(probe) for probe in range(len(expected))]
    for image, shares in zip(pixels, expected, strict=True):
        logits = classifier.activations(image)[0]
        assert logits.softmax(1)[0].tolist() == pytest.approx(shares.tolist(), abs=1e-4)


# The network


@pytest.mark.parametrize("side", [16, 17, 33, 100])
def test_every_size_gives_logits_and_heat(side: int) -> None:
    network = ResidualNet((4, 8, 8), classes=3).eval()
    assert network(torch.zeros(2, 3, side, side)).shape == (2, 3)
    assert layer_cam(network, torch.rand(1, 3, side, side), 1).shape == (side, side)


# The average


def test_an_average_begins_with_the_first_step_and_then_follows_slowly() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1))
    averaged = EmaNetwork(network, decay=0.9)
    assert not any(parameter.requires_grad for parameter in averaged.parameters())
    expected = None
    for step in range(200):
        with torch.no_grad():
            network[0].weight.fill_(float(step))
            network[1].running_mean.fill_(float(step))
            network[1].num_batches_tracked.fill_(step)
        averaged.update(network)
        decay = min(0.9, (1 + step) / (10 + step)) if step else 0.0
        expected = step if expected is None else decay * expected + (1 - decay) * step
    assert expected is not None
    assert float(averaged.network[0].weight) == pytest.approx(expected)
    assert float(averaged.network[1].running_mean) == pytest.approx(expected)
    assert int(averaged.network[1].num_batches_tracked) == 199
    assert averaged.count == 200


# The augmentation


def photographs(count: int = 8, side: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(count, 3, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, side, mode="bilinear") * 2 - 1
    return smooth.contiguous(memory_format=torch.channels_last)


def drawn(*place: int) -> torch.Generator:
    seed, epoch, batch, rank = place
    return generator_for(seed, epoch, batch, rank, torch.device("cpu"))


def test_augmentation_depends_on_seed_epoch_batch_and_rank_alone() -> None:
    images = photographs()
    before = images.clone()
    torch.manual_seed(1)
    once = Augmentation()(images, drawn(1, 2, 3, 0))
    state = torch.get_rng_state()
    again = Augmentation()(images, drawn(1, 2, 3, 0))
    assert torch.equal(once, again)
    assert torch.equal(images, before)
    assert torch.equal(state, torch.get_rng_state())
    for place in ((2, 2, 3, 0), (1, 3, 3, 0), (1, 2, 4, 0), (1, 2, 3, 1)):
        assert not torch.equal(once, Augmentation()(images, drawn(*place)))


def test_augmented_photographs_stay_in_range_and_layout_and_differ() -> None:
    same = photographs(1).repeat(8, 1, 1, 1)
    changed = Augmentation()(same, drawn(1, 0, 0, 0))
    assert changed.shape == same.shape
    assert changed.is_contiguous(memory_format=torch.channels_last)
    assert float(changed.abs().max()) <= 1
    assert len({float(image.mean()) for image in changed}) == 8


NOTHING = Augmentation(
    flip=0, min_crop=1, max_crop=1, stretch=0, degrees=0, brightness=0, contrast=0, saturation=0, grey=0, blur=0,
    erase=0,
)  # fmt: skip


def test_augmentation_by_zero_changes_nothing() -> None:
    images = photographs()
    assert torch.allclose(NOTHING(images, drawn(1, 0, 0, 0)), images, atol=1e-4)


def test_a_flip_mirrors_the_photograph() -> None:
    images = photographs()
    assert torch.allclose(replace(NOTHING, flip=1)(images, drawn(1, 0, 0, 0)), images.flip(3), atol=1e-4)


def test_a_photograph_that_is_shrunk_has_its_mirror_images_around_it() -> None:
    images = photographs()
    smaller = replace(NOTHING, min_crop=2, max_crop=2)(images, drawn(1, 0, 0, 0))
    assert not torch.allclose(smaller, images, atol=0.1)
    # Two sides of a picture and its mirror images have all of it, wherever they begin.
    assert torch.allclose(smaller.mean((2, 3)), images.mean((2, 3)), atol=0.02)


def test_a_photograph_without_its_colours_is_grey() -> None:
    grey = replace(NOTHING, grey=1.1)(photographs(), drawn(1, 0, 0, 0))
    assert torch.allclose(grey[:, 0], grey[:, 1], atol=1e-5)
    assert torch.allclose(grey[:, 0], grey[:, 2], atol=1e-5)


def test_an_erased_rectangle_is_grey_and_no_larger_than_asked_for() -> None:
    images = torch.ones(8, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    erased = replace(NOTHING, erase=1.1, max_erased=0.5)(images, drawn(1, 0, 0, 0)) == 0
    share = erased.float().mean((1, 2, 3))
    assert float(share.max()) <= 0.27
    assert float(share.max()) > 0


def test_a_smaller_copy_is_the_whole_photograph() -> None:
    images = photographs()
    small = NOTHING(images, drawn(1, 0, 0, 0), 16)
    assert small.shape == (8, 3, 16, 16)
    assert small.is_contiguous(memory_format=torch.channels_last)
    means = torch.nn.functional.avg_pool2d(images, 2)
    assert float((small - means).abs().mean()) < 0.02
    assert torch.equal(NOTHING(images, drawn(1, 0, 0, 0), 64), NOTHING(images, drawn(1, 0, 0, 0))), "never enlarged"


@pytest.mark.parametrize(("image_size", "epochs"), [(160, 80), (128, 1), (64, 7), (8, 3), (4, 3)])
def test_training_images_grow_to_the_image_size_and_stay_there(image_size: int, epochs: int) -> None:
    sides = [growing_side(image_size, epoch, epochs) for epoch in range(epochs)]
    assert sides == sorted(sides)
    assert min(sides) > 0.5 * image_size
    assert min(sides) >= min(image_size, 32)  # a batch of one photograph must leave batch norm more than one value
    assert max(sides) <= image_size
    assert growing_side(image_size, epochs, epochs) == image_size
    if epochs > 6:
        assert sides[-1] == image_size


def test_validation_does_not_augment() -> None:
    torch.manual_seed(0)
    module = FaceGenderModule(small(), ["female", "male"]).eval()
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(module(images), module(images))


def test_the_reference_recipe_augments_smooths_and_averages_nothing() -> None:
    recipe = RECIPES["reference"]
    assert (recipe.augmentation, recipe.label_smoothing, recipe.ema_decay, recipe.interval) == (None, 0, None, "epoch")
    assert FaceGenderModule(tiny(), ["female", "male"]).ema is None
