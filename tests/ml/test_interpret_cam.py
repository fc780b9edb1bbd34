from __future__ import annotations

import gc
from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import convnext_tiny, mobilenet_v3_small, resnet18

from facegender.interpret.activations import compute_activations
from facegender.interpret.cam import ClassCams, cams_by_class, compute_activations_and_cams, layer_cam
from facegender.interpret.layers import trace
from facegender.interpret.logits import logits_of
from facegender.network.model import FaceGenderNet
from facegender.network.residual import ResidualNet


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(2)) * 2 - 1


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def head(channels: int, classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, classes)]


def grouped(activation: nn.Module | None = None, classes: int = 3) -> nn.Module:
    """Grouped and dilated convolutions."""
    convolutions = [nn.Conv2d(3, 6, 3, dilation=2), nn.ReLU(), nn.Conv2d(6, 8, 3, groups=2, dilation=3)]
    return nn.Sequential(*convolutions, activation or nn.ReLU(), *head(8, classes))


NETWORKS = {
    "reference": lambda: FaceGenderNet(64, (4, 8, 8), classes=4),
    "tuned": lambda: ResidualNet((4, 8, 8), 2),
    "resnet18": lambda: resnet18(weights=None, num_classes=3),
    "grouped and dilated": grouped,
}


def cams_of(model: nn.Module, images: Tensor, labels: list[int] | None = None) -> ClassCams:
    known = torch.tensor(labels or [0] * len(images))
    cams = compute_activations_and_cams(model, images, trace(model, images), known)[2]
    assert cams is not None
    return cams


@pytest.mark.parametrize("name", NETWORKS)
def test_heatmaps_equal_what_captum_computes(name: str, images: Tensor) -> None:
    """captum has no LayerCAM, but gradient × activation, of which positive gradients have the activation's sign."""
    attr = pytest.importorskip("captum.attr")
    model = NETWORKS[name]().eval()
    layer = trace(model, images)[-1]
    cams = cams_of(model, images)
    with torch.no_grad():
        activation = attr.LayerActivation(model, layer.shown).attribute(images)
    for label in range(len(cams.classes)):
        product = attr.LayerGradientXActivation(model, layer.shown).attribute(images, target=label).detach()
        positive = torch.where(activation > 0, product.clamp(min=0), product.clamp(max=0))
        assert torch.allclose(cams.heat[label], positive.sum(1).relu(), atol=1e-5)
    assert cams.heat.max() > 0
    assert cams.heat.dtype == torch.float32


@pytest.mark.parametrize("name", NETWORKS)
def test_one_pass_gives_the_same_as_one_pass_for_each(name: str, images: Tensor) -> None:
    model = NETWORKS[name]()
    layers = trace(model, images)
    logits, activations, cams = compute_activations_and_cams(model, images, layers, torch.tensor([0, 1, 0]))
    alone_logits, alone = compute_activations(model, images, layers)
    assert torch.allclose(logits, alone_logits, atol=1e-5)
    for both, one in zip(activations, alone, strict=True):
        assert torch.allclose(both.maps, one.maps, atol=1e-5)
        assert torch.allclose(both.stats, one.stats, atol=1e-5)
    assert cams is not None
    for label in cams.classes.tolist():
        heat = cams.heat[label][:1, None]
        heat = nn.functional.interpolate(heat, (64, 64), mode="bilinear")[0, 0]
        expected = layer_cam(model, images[0], label)
        assert torch.allclose(heat / heat.max().clamp_min(1e-30), expected, atol=1e-4)


def test_the_network_runs_once_and_nothing_before_the_last_convolution_is_differentiated(images: Tensor) -> None:
    model = FaceGenderNet(64, (4, 8, 8))
    layers = trace(model, images)
    recorded: dict[str, list[bool]] = {"bn2": [], "pool": []}
    for name, seen in recorded.items():
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, seen=seen: seen.append(output.requires_grad)
        )
    compute_activations_and_cams(model, images, layers, torch.tensor([0, 1, 0]))
    assert recorded == {"bn2": [False], "pool": [True]}


def test_it_works_in_inference_mode_as_validation_runs(images: Tensor) -> None:
    model = NETWORKS["tuned"]()
    expected = cams_of(model, images)
    with torch.inference_mode():
        cams = cams_of(model, images.clone())
        assert torch.is_inference_mode_enabled()
    assert torch.equal(cams.heat, expected.heat)


def test_it_works_for_frozen_weights_and_channels_last(images: Tensor) -> None:
    model = grouped(nn.ReLU(inplace=True))
    expected = cams_of(model, images)
    model.requires_grad_(False).to(memory_format=torch.channels_last)
    cams = cams_of(model, images.to(memory_format=torch.channels_last))
    assert torch.allclose(cams.heat, expected.heat, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_it_works_for_weights_in_half_precision(dtype: torch.dtype, images: Tensor) -> None:
    model = grouped()
    expected = cams_of(model, images)
    cams = cams_of(model.to(dtype), images.to(dtype))
    assert cams.heat.dtype == torch.float32
    assert torch.allclose(cams.heat, expected.heat, atol=0.05 * float(expected.heat.max()))


@pytest.mark.parametrize("build", [mobilenet_v3_small, convnext_tiny])
def test_it_works_for_networks_of_torchvision(build: Any, images: Tensor) -> None:
    cams = cams_of(build(weights=None, num_classes=3), images)
    assert cams.classes.tolist() == [0, 1, 2]
    assert cams.heat.shape[:2] == (3, 3)
    assert cams.heat.isfinite().all()


def test_of_many_classes_only_labels_and_predictions_have_a_heatmap(images: Tensor) -> None:
    model = grouped(classes=40)
    predictions = model.eval()(images).argmax(1).tolist()
    cams = cams_of(model, images, [7, -1, 3])
    by_class = cams_by_class(cams, [f"class {label}" for label in range(40)])
    assert set(by_class) == {f"class {label}" for label in (7, 3, *predictions)}
    assert all(heat.shape == (3, *cams.heat.shape[2:]) for heat in by_class.values())
    sixteen = cams_by_class(cams_of(grouped(classes=16), images), [str(label) for label in range(16)])
    assert set(sixteen) == {str(label) for label in range(16)}


class Wrapped(nn.Module):
    def __init__(self, wrap: Any) -> None:
        super().__init__()
        self.network, self.wrap = grouped(), wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(self.network(x))


WRAPPED = {
    "tuple": lambda logits: (logits, logits.mean()),
    "list": lambda logits: [torch.zeros(3, 2, dtype=torch.long), logits],
    "dictionary": lambda logits: OrderedDict(features=logits.sum(), out=logits),
    "object": lambda logits: SimpleNamespace(loss=None, logits=logits),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_logits_are_found_in_what_the_forward_pass_returns(name: str, images: Tensor) -> None:
    model = Wrapped(WRAPPED[name])
    assert torch.equal(logits_of(model.eval()(images)), model.network(images))
    assert torch.equal(cams_of(model, images).heat, cams_of(model.network, images).heat)


def test_an_output_without_logits_is_an_error_that_names_its_type() -> None:
    with pytest.raises(TypeError, match="returns dict without logits"):
        logits_of({"loss": torch.zeros(()), "labels": torch.zeros(2, 2, dtype=torch.long)})


def test_a_network_that_computes_its_logits_without_gradients_has_no_heatmaps(images: Tensor) -> None:
    model = Wrapped(lambda logits: logits.detach())
    logits, activations, cams = compute_activations_and_cams(model, images, trace(model, images), torch.zeros(3))
    assert cams is None
    assert len(activations) == 2
    assert logits.shape == (3, 3)


def test_a_network_without_convolutions_has_logits_alone(images: Tensor) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 2))
    logits, activations, cams = compute_activations_and_cams(model, images, [], torch.zeros(3))
    assert torch.allclose(logits, model(images))
    assert activations == []
    assert cams is None


def live_tensors() -> int:
    gc.collect()
    return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())


def test_nothing_is_kept_from_epoch_to_epoch(images: Tensor) -> None:
    model = NETWORKS["tuned"]()
    layers = trace(model, images)
    labels = torch.tensor([0, 1, 0])
    compute_activations_and_cams(model, images, layers, labels)
    before = live_tensors()
    for _ in range(3):
        compute_activations_and_cams(model, images, layers, labels)
    assert live_tensors() == before
    logits, activations, cams = compute_activations_and_cams(model, images, layers, labels)
    assert cams is not None
    results = [logits, cams.heat, *(tensor for layer in activations for tensor in (layer.maps, layer.filters))]
    assert not any(tensor.requires_grad for tensor in results)
