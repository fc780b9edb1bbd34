from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import densenet121, efficientnet_b0, resnet18, vit_b_16

from facegender.interpret.activations import compute_activations
from facegender.interpret.layers import Layer, trace
from facegender.interpret.receptive_field import ReceptiveField, receptive_field
from facegender.network.model import FaceGenderNet


def field_of(model: nn.Module, name: str, size: int, channels: int = 3) -> ReceptiveField:
    layers = {layer.name: layer for layer in trace(model, torch.rand(1, channels, size, size))}
    return receptive_field(model, layers[name], size, channels)


def square(top: int, size: int, stride: int) -> ReceptiveField:
    return ReceptiveField(top, top, size, size, stride, stride)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("conv1", square(-3, 7, 2)),  # 7×7, stride 2, padding 3
        ("conv2", square(-3 - 2 * 2, 7 + 4 * 2, 4)),  # 5×5, stride 2, padding 2
        ("conv3", square(-7 - 1 * 4, 15 + 2 * 4, 8)),  # 3×3, stride 2, padding 1
    ],
)
def test_the_reference_network_sees_what_its_kernels_say(name: str, expected: ReceptiveField) -> None:
    assert field_of(FaceGenderNet(64, (4, 8, 8)), name, 64) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("conv1", square(-3, 7, 2)),
        ("layer1.0.conv1", square(-3 - 2 - 4, 7 + 2 * 2 + 2 * 4, 4)),  # a max-pool 3×3 of stride 2 comes before
        ("layer1.1.conv2", square(-5 - 4 * 4, 11 + 4 * 8, 4)),
        ("layer2.0.conv1", square(-21 - 4, 43 + 8, 8)),
        ("layer2.0.downsample.0", square(-21, 43, 8)),
        ("layer4.1.conv2", square(-217, 435, 32)),
    ],
)
def test_residual_connections_and_max_pooling(name: str, expected: ReceptiveField) -> None:
    torch.manual_seed(0)
    assert field_of(resnet18(weights=None, num_classes=2), name, 64) == expected


def sequence(*convolutions: nn.Module) -> nn.Module:
    return nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten())


NETWORKS: dict[str, tuple[Callable[[], nn.Module], str, ReceptiveField]] = {
    "dilated": (
        lambda: sequence(nn.Conv2d(3, 4, 3, dilation=3), nn.Conv2d(4, 4, 3, dilation=2)),
        "1",
        square(0, 11, 1),
    ),
    "grouped": (
        lambda: sequence(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 5, 2, 2, groups=4)),
        "2",
        square(-2, 7, 2),
    ),
    "not square": (
        lambda: sequence(nn.Conv2d(3, 4, (3, 7), (1, 2), (1, 0))),
        "0",
        ReceptiveField(-1, 0, 3, 7, 1, 2),
    ),
    "average pooling": (
        lambda: sequence(nn.Conv2d(3, 4, 3), nn.AvgPool2d(2), nn.Conv2d(4, 4, 3)),
        "2",
        square(0, 8, 2),
    ),
    "bounded activations": (
        lambda: sequence(nn.Conv2d(3, 4, 3), nn.ReLU6(), nn.MaxPool2d(3), nn.Conv2d(4, 4, 3), nn.Sigmoid()),
        "3",
        square(0, 11, 3),
    ),
    "pixels left out": (lambda: sequence(nn.Conv2d(3, 4, 1, 4)), "0", square(0, 1, 4)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_it_equals_what_is_computed_by_hand(name: str) -> None:
    build, layer, expected = NETWORKS[name]
    assert field_of(build(), layer, 48) == expected


def test_the_box_of_a_unit_can_reach_beyond_the_image() -> None:
    field = field_of(FaceGenderNet(64, (4, 8, 8)), "conv2", 64)
    assert field.box(0, 0) == (-7, -7, 15, 15)
    assert field.box(2, 15) == (1, 53, 15, 15)


def test_only_what_is_inside_the_box_changes_a_unit() -> None:
    torch.manual_seed(0)
    model = resnet18(weights=None, num_classes=2).eval()
    layer = {layer.name: layer for layer in trace(model, torch.rand(1, 3, 96, 96))}["layer2.0.conv1"]
    top, left, height, width = receptive_field(model, layer, 96).box(6, 5)
    image = torch.rand(1, 3, 96, 96)
    inside = torch.zeros(96, 96, dtype=torch.bool)
    inside[max(0, top) : top + height, max(0, left) : left + width] = True
    assert not inside.all()
    changed_outside, changed_inside = torch.where(inside, image, -image), torch.where(inside, -image, image)
    unit, same, other = (unit_of(model, layer, one)[:, 6, 5] for one in (image, changed_outside, changed_inside))
    assert torch.equal(same, unit)
    assert not torch.equal(other, unit)


def unit_of(model: nn.Module, layer: Layer, image: Tensor) -> Tensor:
    return compute_activations(model, image, [layer])[1][0].maps[0]


@pytest.mark.parametrize(
    ("build", "layer", "size"),
    [(efficientnet_b0, "features.3.0.block.1.0", 64), (densenet121, "features.denseblock1.denselayer6.conv2", 64)],
)
def test_squeeze_and_excitation_has_an_effective_field(build: Callable[..., nn.Module], layer: str, size: int) -> None:
    field = field_of(build(weights=None, num_classes=2), layer, size)
    assert field.effective == (build is efficientnet_b0)
    assert 3 < field.height < size
    assert field.vertical_stride in (4, 8)


def test_a_network_of_one_image_size_is_examined_at_that_size() -> None:
    field = field_of(vit_b_16(weights=None, num_classes=2), "conv_proj", 224)
    assert field == ReceptiveField(0, 0, 16, 16, 16, 16, effective=True)


def test_weights_modes_and_hooks_stay_as_they_were() -> None:
    model = FaceGenderNet(64, (4, 8, 8), 2)
    layer = trace(model, torch.rand(1, 3, 64, 64))[1]
    model.half().conv1.requires_grad_(False)
    model.bn2.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.inference_mode():
        assert receptive_field(model, layer, 64) == square(-7, 15, 4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [model.training, model.bn1.training, model.bn2.training] == [True, True, False]
    assert [parameter.requires_grad for parameter in model.parameters()][:3] == [False, False, True]
    assert not any(module._forward_hooks for module in model.modules())
