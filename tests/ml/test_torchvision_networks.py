"""Networks of torchvision: the table agrees with the library, and each family trains, resumes, predicts and exports."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.models import list_models

from facegender.__main__ import run
from facegender.classifier import load_classifier
from facegender.classify_server import ClassifyServer
from facegender.interpret.cam import layer_cam
from facegender.interpret.layers import trace
from facegender.network.checkpoint_file import network_weights
from facegender.network.model import parameter_count
from facegender.network.recipes import RECIPES, build_network, training_side
from facegender.runs.config import RECIPES as RECIPE_NAMES
from facegender.runs.events import EpochFinished
from facegender.runs.folder import RunFolder
from facegender.runs.networks import NETWORKS
from facegender.runs.protocol import Request
from facegender.training.run import train
from tests.ml.conftest import events_of, tiny

Capture = pytest.CaptureFixture[str]

FAMILIES = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3", "mnasnet0_5",
    "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1",
    "swin_t", "vgg11", "vit_b_16",
)  # fmt: skip
SMALL = ("mnasnet0_5", "mobilenet_v3_small", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1")


def built(name: str, image_size: int | None = None) -> torch.nn.Module:
    return build_network("reference", image_size or NETWORKS[name].min_image_size, (4, 8, 8), 2, name)


def test_every_network_of_the_table_is_in_torchvision_and_no_other_is_missing() -> None:
    assert set(NETWORKS) == set(list_models(module=torchvision.models))


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "vit_b_16"])
def test_the_table_has_the_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        assert parameter_count(built(name)) == NETWORKS[name].parameters


def test_the_parameters_of_a_transformer_are_those_at_224_pixels() -> None:
    with torch.device("meta"):
        assert parameter_count(built("vit_b_16", 224)) == NETWORKS["vit_b_16"].parameters


@pytest.mark.parametrize("name", SMALL)
def test_below_the_smallest_image_size_a_single_photograph_cannot_be_trained(name: str) -> None:
    least = NETWORKS[name].min_image_size
    network = built(name).train()
    assert network(torch.zeros(1, 3, least, least)).shape == (1, 2)
    with pytest.raises((RuntimeError, ValueError)):
        network(torch.zeros(1, 3, least - 8, least - 8))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_of_each_family_learns_at_its_smallest_image_size_and_shows_its_convolutions(name: str) -> None:
    torch.manual_seed(0)
    network, side = built(name), NETWORKS[name].min_image_size
    images = torch.rand(2, 3, side, side) * 2 - 1
    torch.nn.functional.cross_entropy(network.train()(images), torch.tensor([0, 1])).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    layers = trace(network, images[:1])
    convolutions = [part for part in network.modules() if isinstance(part, torch.nn.Conv2d)]
    assert [layer.conv for layer in layers] == convolutions
    assert layer_cam(network, images[0], 1).shape == (side, side)


@pytest.mark.parametrize("name", ["mnasnet0_5", "regnet_x_400mf", "vit_b_16"])
def test_weights_are_loaded_into_a_network_that_was_built_without_memory(name: str) -> None:
    weights = built(name).state_dict()
    with torch.device("meta"):
        network = built(name)
    assert all(parameter.is_meta for parameter in network.parameters())
    network.load_state_dict(network_weights(weights, network), assign=True)
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("recipe", RECIPE_NAMES)
def test_training_images_are_never_smaller_than_the_network_takes(recipe: str) -> None:
    config = tiny(recipe=recipe, network="densenet121", image_size=72, epochs=10)
    sides = [training_side(config, epoch) or config.image_size for epoch in range(10)]
    assert sides[-1] == 72
    assert min(sides) >= 64
    assert (min(sides) < 72) == (RECIPES[recipe].side is not None)
    # A transformer is built for one size.
    assert training_side(msgspec.structs.replace(config, network="vit_b_16", image_size=64), 0) is None


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a run "net" of resnet18, which has trained one epoch and was resumed for a second."""
    root = tmp_path_factory.mktemp("networks")
    config = tiny(network="resnet18", image_size=64, epochs=1)
    assert train(config, root, "net", show=False) == "completed"
    assert train(config, root, resume="net", changes={"epochs": 2}, show=False) == "completed"
    Image.effect_noise((90, 90), 60).convert("RGB").save(root / "a.png")
    return root


def test_a_network_of_torchvision_is_trained_and_resumed(resnet: Path) -> None:
    epochs = [event.epoch for event in events_of(resnet, "net") if isinstance(event, EpochFinished)]
    assert epochs == [0, 1]
    manifest = RunFolder(resnet, "net").read_manifest()
    assert manifest is not None
    assert (manifest.config.network, manifest.parameters) == ("resnet18", NETWORKS["resnet18"].parameters)


def test_it_predicts_explains_and_answers_the_interface(resnet: Path, tmp_path: Path, capsys: Capture) -> None:
    photograph, heat = resnet / "a.png", tmp_path / "heat"
    assert run(["predict", str(photograph), "--root", str(resnet), "--heatmap", str(heat)]) == 0
    assert capsys.readouterr().out.startswith("Predicted: ")
    assert (heat / "a.png.png").exists()
    answer = ClassifyServer(resnet, tmp_path / "frames").answer(Request(id=1, path=str(photograph), run="net"))
    assert answer.ok, answer.error
    assert load_classifier(RunFolder(resnet, "net").last_checkpoint).network_name == "resnet18"


@pytest.mark.parametrize("form", ["pth", "safetensors", "onnx"])
def test_it_is_exported(resnet: Path, tmp_path: Path, form: str) -> None:
    if form == "onnx":
        pytest.importorskip("onnxscript")
    target = tmp_path / f"out.{form}"
    assert run(["export", "net", "--format", form, "--output", str(target), "--root", str(resnet)]) == 0
    assert target.stat().st_size > 40_000_000


def test_a_checkpoint_or_a_manifest_of_an_unknown_network_is_refused_by_its_name(
    resnet: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = RunFolder(resnet, "net")
    content = torch.load(folder.last_checkpoint, weights_only=True)
    for network, problem in (
        ("resnet19\x1b[2J", "which this version does not know"),
        ("resnet34", "not a checkpoint of this network"),
        (["resnet18"], "not a checkpoint of this network"),
        ("vit_h_14", "not a checkpoint of this network"),
    ):
        content["hyper_parameters"]["network"] = network
        torch.save(content, tmp_path / "x.ckpt")
        assert run(["export", str(tmp_path / "x.ckpt"), "--root", str(tmp_path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.isprintable()
        assert problem in line
    other = RunFolder(tmp_path, "net")
    other.path.mkdir(parents=True)
    text = folder.manifest_path.read_text()
    other.manifest_path.write_text(text.replace('"network": "resnet18"', '"network": "resnet19"'))
    assert other.manifest_path.read_text() != text
    assert run(["train", "--resume", "net", "--root", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'resnet19'; did you mean resnet18" in line


def test_a_checkpoint_of_an_earlier_version_names_no_network(trained: Path, tmp_path: Path) -> None:
    content = torch.load(RunFolder(trained, "done").best_checkpoint, weights_only=True)
    del content["hyper_parameters"]["network"]
    torch.save(content, tmp_path / "x.ckpt")
    assert load_classifier(tmp_path / "x.ckpt").network_name == "recipe"


@pytest.mark.parametrize("recipe", RECIPE_NAMES)
def test_a_network_that_needs_its_version_to_be_loaded_is_resumed_with_each_recipe(recipe: str, tmp_path: Path) -> None:
    config = tiny(recipe=recipe, network="mnasnet0_5", image_size=48, epochs=1, visualize_every=0)
    assert train(config, tmp_path, "a", show=False) == "completed"
    assert train(config, tmp_path, resume="a", changes={"epochs": 2}, show=False) == "completed"
    load_classifier(RunFolder(tmp_path, "a").last_checkpoint)
