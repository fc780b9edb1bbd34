from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from facegender.interpret.activations import compute_activations
from facegender.interpret.cam import compute_activations_and_cams, layer_cam
from facegender.interpret.layers import Layer, maps_of, trace
from facegender.network.model import FaceGenderNet
from facegender.runs import frames


@pytest.fixture
def network() -> FaceGenderNet:
    torch.manual_seed(0)
    return FaceGenderNet(32, (4, 8, 8))


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2)) * 2 - 1


def hooks_of(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_each_convolution_is_shown_after_its_normalisation_and_activation(
    network: FaceGenderNet, images: Tensor
) -> None:
    layers = trace(network, images)
    assert maps_of(layers) == {
        "conv1": "conv1, bn1, relu1",
        "conv2": "conv2, bn2, relu2",
        "conv3": "conv3, bn3, relu3",
    }
    assert [layer.size for layer in layers] == [(16, 16), (8, 8), (4, 4)]


def test_maps_are_the_activations_and_statistics_are_taken_before_pooling(
    network: FaceGenderNet, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "MAX_MAP_SIDE_PX", 8)
    _, seen = compute_activations(network, images, trace(network, images))
    network.eval()
    with torch.no_grad():
        expected = network.relu1(network.bn1(network.conv1(images)))
    first = seen[0]
    assert torch.allclose(first.maps, nn.functional.avg_pool2d(expected, 2), atol=1e-6)
    mean, std, low, high, zero = first.stats.unbind(2)
    assert torch.allclose(mean, expected.mean((2, 3)), atol=1e-6)
    assert torch.allclose(std, expected.std((2, 3), correction=0), atol=1e-5)
    assert torch.equal(low, expected.amin((2, 3)))
    assert torch.equal(high, expected.amax((2, 3)))
    assert torch.allclose(zero, (expected == 0).float().mean((2, 3)))
    assert torch.equal(seen[1].maps, network.relu2(network.bn2(network.conv2(expected))).detach())


def test_an_activation_in_place_directly_after_a_convolution_belongs_to_it(images: Tensor) -> None:
    convolutions = [nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3)]
    model = nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    layers = trace(model, images)
    assert maps_of(layers) == {"0": "0, 1", "2": "2"}
    _, seen = compute_activations(model, images, layers)
    assert float(seen[0].maps.min()) == 0.0
    assert float(seen[1].maps.min()) < 0.0


def test_a_residual_sum_in_place_ends_the_chain_and_does_not_reach_the_maps(images: Tensor) -> None:
    torch.manual_seed(0)
    model = resnet18(weights=None, num_classes=2)
    layers = {layer.name: layer for layer in trace(model, images)}
    assert len(layers) == 20
    assert layers["conv1"].chain == ("conv1", "bn1", "relu")
    # The block's one ReLU is called twice; the second call comes after the sum.
    assert layers["layer1.0.conv1"].chain == ("layer1.0.conv1", "layer1.0.bn1", "layer1.0.relu")
    assert layers["layer1.0.conv2"].chain == ("layer1.0.conv2", "layer1.0.bn2")
    captured: list[Tensor] = []
    handle = model.layer1[0].bn2.register_forward_hook(lambda module, inputs, output: captured.append(output.clone()))
    seen = {layer.name: layer for layer in compute_activations(model, images, list(layers.values()))[1]}
    handle.remove()
    assert torch.equal(seen["layer1.0.conv2"].maps, captured[-1])


def test_a_convolution_that_is_never_reached_is_left_out(images: Tensor) -> None:
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used = nn.Conv2d(3, 2, 3)
            self.unused = nn.Conv2d(3, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            used: Tensor = self.used(x)
            return used

    assert [layer.name for layer in trace(Partly(), images)] == ["used"]


def test_layers_are_in_the_order_of_the_forward_pass_and_layer_cam_takes_the_last(images: Tensor) -> None:
    class RegisteredBackwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Conv2d(8, 4, 3)
            self.fc = nn.Linear(4, 2)
            self.first = nn.Conv2d(3, 8, 3)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.fc(self.last(self.first(x)).mean((2, 3)))
            return logits

    torch.manual_seed(0)
    model = RegisteredBackwards()
    layers = trace(model, images)
    assert [layer.name for layer in layers] == ["first", "last"]
    with torch.no_grad():
        activation = model.last(model.first(images[:1]))
        heat = (model.fc.weight[1].relu()[:, None, None] * activation).sum(1, keepdim=True).relu()
        heat = nn.functional.interpolate(heat, images.shape[-2:], mode="bilinear")[0, 0]
    assert torch.allclose(layer_cam(model, images[0], 1), heat / heat.max(), atol=1e-5)


def test_looking_leaves_modes_gradients_statistics_and_hooks_as_they_were(
    network: FaceGenderNet, images: Tensor
) -> None:
    network.train()
    network.bn2.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    compute_activations(network, images, trace(network, images))
    compute_activations_and_cams(network, images, trace(network, images), torch.tensor([0, 1]))
    layer_cam(network, images[0], 1)
    assert network.training
    assert network.bn1.training
    assert not network.bn2.training
    assert hooks_of(network) == 0
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.is_grad_enabled()


Look = Callable[[nn.Module, Tensor, list[Layer]], object]
LOOKS: dict[str, tuple[int, Look]] = {
    "trace": (1, lambda model, images, layers: trace(model, images)),
    "activations": (1, compute_activations),
    "activations and cams": (
        1,
        lambda model, images, layers: compute_activations_and_cams(model, images, layers, torch.tensor([0, 1])),
    ),
    "layer_cam": (2, lambda model, images, layers: layer_cam(model, images[0], 0)),  # the first pass is that of `trace`
}


@pytest.mark.parametrize(("failing_pass", "look"), LOOKS.values(), ids=LOOKS)
def test_a_network_that_fails_midway_is_restored_too(
    failing_pass: int, look: Look, network: FaceGenderNet, images: Tensor
) -> None:
    layers = trace(network, images)
    network.train()
    passes = itertools.count(1)
    pool = network.pool

    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if next(passes) == failing_pass:
                raise ValueError("broken")
            pooled: Tensor = pool(x)
            return pooled

    network.pool = Broken()  # type: ignore[assignment]  # any module
    with pytest.raises(ValueError, match="broken"):
        look(network, images, layers)
    assert all(module.training for module in network.modules())
    assert hooks_of(network) == 0
    assert torch.is_grad_enabled()


def test_filters_are_copies(network: FaceGenderNet, images: Tensor) -> None:
    _, seen = compute_activations(network, images, trace(network, images))
    copied = seen[0].filters
    before = copied.clone()
    with torch.no_grad():
        network.conv1.weight.add_(1)
    assert copied.shape == (4, 3, 7, 7)
    assert torch.equal(copied, before)


def test_layer_cam_is_a_map_of_the_image_between_zero_and_one(network: FaceGenderNet, images: Tensor) -> None:
    for label in (0, 1):
        heat = layer_cam(network, images[0], label)
        assert heat.shape == (32, 32)
        assert heat.dtype == torch.float32
        assert float(heat.min()) >= 0
        assert float(heat.max()) in (0.0, pytest.approx(1.0))


def test_layer_cam_shines_where_the_class_is_decided() -> None:
    model = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    nn.init.ones_(model[0].weight)
    image = torch.zeros(3, 16, 16)
    image[:, 2:6, 9:13] = 1
    heat = layer_cam(model, image, 0)
    assert torch.equal(heat > 0.5, image[0] > 0.5)


def test_layer_cam_works_for_frozen_and_residual_networks_and_without_gradients(images: Tensor) -> None:
    torch.manual_seed(0)
    model = resnet18(weights=None, num_classes=2).requires_grad_(False)
    with torch.no_grad():
        heat = layer_cam(model, images[0], 0)
    assert heat.shape == (32, 32)
    assert not heat.requires_grad
