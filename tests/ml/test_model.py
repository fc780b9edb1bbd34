from __future__ import annotations

import pytest
import torch

from facegender.network.model import FaceGenderNet, normalise, parameter_count
from facegender.network.recipes import RECIPES, build_network


def test_the_reference_network_has_the_specified_number_of_parameters() -> None:
    with torch.device("meta"):
        assert parameter_count(FaceGenderNet()) == 33_685_506


def test_the_reference_network_has_the_specified_sizes_after_each_stage() -> None:
    with torch.device("meta"):
        network = FaceGenderNet()
        x = torch.zeros(1, 3, 512, 512)
    sizes = []
    for conv in (network.conv1, network.conv2, network.conv3):
        x = conv(x)
        sizes.append((x.shape[1], x.shape[2], conv.kernel_size[0], conv.stride[0], conv.padding[0]))
    assert sizes == [(32, 256, 7, 2, 3), (64, 128, 5, 2, 2), (128, 64, 3, 2, 1)]
    assert network.pool(x).shape == (1, 128, 32, 32)
    assert (network.fc1.in_features, network.fc1.out_features, network.fc2.out_features) == (128 * 32 * 32, 256, 2)
    assert network.dropout.p == 0.5


@pytest.mark.parametrize("side", [9, 16, 17, 33, 100, 101])
def test_every_size_that_leaves_a_pixel_gives_logits(side: int) -> None:
    network = FaceGenderNet(side, (4, 8, 8), classes=3)
    assert network(torch.zeros(2, 3, side, side)).shape == (2, 3)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("widths", [(4, 8), (4, 0, 8)])
def test_widths_that_are_not_three_positive_numbers_are_refused(recipe: str, widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="three positive numbers"):
        build_network(recipe, 32, widths, 2)


def test_photographs_are_scaled_to_minus_one_to_one_in_a_copy() -> None:
    images = torch.tensor([0, 127, 128, 255], dtype=torch.uint8).reshape(1, 1, 2, 2).repeat(1, 3, 1, 1)
    before = images.clone()
    normalised = normalise(images)
    assert normalised.dtype == torch.float32
    assert normalised[0, 0].flatten().tolist() == pytest.approx([-1, -1 / 255, 1 / 255, 1], abs=1e-6)
    assert normalised.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)
