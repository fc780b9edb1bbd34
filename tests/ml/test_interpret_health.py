from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from facegender.interpret.activations import compute_activations, layer_frames
from facegender.interpret.health import (
    MAX_PAIRS,
    UpdateSampler,
    dead_channels,
    layer_health,
    sampled_steps,
    saturated_channels,
    similar_filters,
    weight_health,
)
from facegender.interpret.layers import trace
from facegender.network.model import FaceGenderNet


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def network() -> nn.Module:
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)]
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 6, 3), nn.ReLU(), *head)


IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("steps", "expected"), [(1, {0}), (2, {0, 1}), (3, {0, 1, 2}), (10, {0, 3, 6, 9}), (1000, {0, 333, 666, 999})]
)
def test_the_first_the_last_and_some_steps_between_are_measured(steps: int, expected: set[int]) -> None:
    assert sampled_steps(steps) == expected


def test_of_an_unknown_number_of_steps_fewer_and_fewer_are_measured() -> None:
    assert sorted(sampled_steps(math.inf))[:6] == [0, 1, 4, 16, 64, 256]


def test_gradient_norm_and_update_ratio_are_means_over_the_measured_steps() -> None:
    model = network()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    sampler = UpdateSampler(["0", "2"])
    expected = []
    for step in range(4):
        optimiser.zero_grad()
        model(IMAGES)[:, 0].sum().backward()
        if step % 2 == 0:
            sampler.before_step(model)
            weights = [model.get_parameter(f"{name}.weight") for name in ("0", "2")]
            norms = [(float(w.grad.norm()), float(w.detach().norm())) for w in weights if w.grad is not None]
            expected.append([(gradient, 0.1 * gradient / weight) for gradient, weight in norms])
        optimiser.step()
        sampler.after_step(model)
    health = sampler.take()
    assert health is not None
    measured = torch.stack([health.gradient_norm, health.update_ratio], 1)
    assert torch.allclose(measured, torch.tensor(expected).mean(0), rtol=1e-3)
    assert health.finite.all()
    assert sampler.take() is None


def test_weights_without_gradient_and_frozen_ones_are_told_apart() -> None:
    model = network()
    model[0].requires_grad_(False)
    sampler = UpdateSampler(["0", "2"])
    sampler.before_step(model)
    sampler.after_step(model)
    health = sampler.take()
    assert health is not None
    assert health.gradient_norm.isnan().tolist() == [True, False]
    assert health.update_ratio.isnan().tolist() == [True, False]
    assert float(health.gradient_norm[1]) == float(health.update_ratio[1]) == 0
    assert health.finite.all()


def test_similar_filters_are_found_whatever_their_length_and_not_mirrored_ones() -> None:
    filters = torch.randn(600, 8, 3, 3)
    filters[599] = filters[3] * 7
    filters[300] = filters[20] + 0.01 * torch.randn(8, 3, 3)
    filters[400] = -filters[50]
    filters[7:9] = 0
    filters[9] = math.nan
    similarity, pairs = similar_filters(filters)
    assert similarity.shape == (MAX_PAIRS,)
    assert pairs[:2].tolist() == [[3, 599], [20, 300]]
    assert float(similarity[0]) == pytest.approx(1)
    assert float(similarity[2]) < 0.9


def test_the_most_similar_pairs_are_the_same_as_of_all_at_once() -> None:
    filters = torch.randn(530, 1, 2, 2)
    unit = nn.functional.normalize(filters.flatten(1), dim=1)
    expected = (unit @ unit.T).triu(1).flatten().topk(MAX_PAIRS).values
    similarity, pairs = similar_filters(filters)
    assert torch.allclose(similarity, expected, atol=1e-5)
    assert torch.allclose((unit[pairs[:, 0]] * unit[pairs[:, 1]]).sum(1), expected, atol=1e-5)


def test_filters_of_different_groups_are_not_compared() -> None:
    same = torch.ones(4, 2, 3, 3)
    assert similar_filters(same, groups=2)[1][:2].tolist() == [[0, 1], [2, 3]]
    assert (similar_filters(same, groups=2)[0] > 0).sum() == 2
    assert (similar_filters(same, groups=4)[0] < -1).all()


def stats_of(activation: nn.Module, *channels: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Statistics of two probes, of which each channel has these values before the activation."""
    values = activation(torch.stack(channels).expand(2, -1, -1))
    zero = (values == 0).float().mean(2)
    stats = torch.stack([values.mean(2), values.std(2), values.amin(2), values.amax(2), zero], 2)
    return np.asarray(stats.numpy(), np.float32)


BOTH = torch.linspace(-8, 8, 50)
HIGH = torch.linspace(7, 30, 50)
LOW = -HIGH


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (nn.ReLU6(), [1]),
        (nn.Hardtanh(), [1, 2]),
        (nn.Sigmoid(), [1, 2]),
        (nn.Hardsigmoid(), [1]),  # the low one is zero and therefore dead
        (nn.Tanh(), [1, 2]),
        (nn.ReLU(), []),
        (nn.Identity(), []),
    ],
)
def test_saturated_channels_are_stuck_at_a_bound_of_their_activation(
    activation: nn.Module, expected: list[int]
) -> None:
    assert saturated_channels(stats_of(activation, BOTH, HIGH, LOW), activation) == expected


def test_a_channel_that_is_stuck_on_one_probe_alone_is_not_saturated() -> None:
    stats = np.concatenate([stats_of(nn.Tanh(), HIGH)[:1], stats_of(nn.Tanh(), BOTH)[:1]])
    assert saturated_channels(stats, nn.Tanh()) == []


def test_dead_channels_are_zero_on_every_photograph() -> None:
    units = np.array([[0.5, 2, 1], [0, 0, 0], [-1, 0, 0.1]], np.float32)
    assert dead_channels(units) == [1]


def test_the_health_of_all_layers() -> None:
    model = network()
    layers = trace(model, IMAGES)
    with torch.no_grad():
        model[0].weight[1] = model[0].weight[0]
    stats = {frame.name: frame.stats for frame in layer_frames(compute_activations(model, IMAGES, layers)[1])}
    units = {"0": np.ones((4, 3), np.float32), "2": np.zeros((6, 3), np.float32)}
    first, second = layer_health(layers, weight_health(layers), None, units, stats)[0]
    assert (first.name, first.channels, first.dead_count, first.dead) == ("0", 4, 0, [])
    assert (second.name, second.channels, second.dead_count, second.dead) == ("2", 6, 6, list(range(6)))
    assert [pair[:2] for pair in first.duplicates] == [(0, 1)]
    assert first.duplicates[0][2] == pytest.approx(1)
    assert second.duplicates == []
    assert math.isnan(first.gradient_norm)


@pytest.mark.parametrize("what", ["nothing", "weight", "gradient", "activation"])
def test_the_first_layer_that_is_not_finite_is_named(what: str) -> None:
    model = FaceGenderNet(16, (4, 4, 4))
    layers = trace(model, IMAGES)
    names = [layer.name for layer in layers]
    model(IMAGES).sum().backward()
    stats = {name: np.ones((2, 4, 5), np.float32) for name in names}
    if what == "weight":
        with torch.no_grad():
            model.conv2.weight[0, 0, 0, 0] = math.inf
            model.conv3.weight[:] = math.nan
    elif what == "gradient":
        assert model.conv2.weight.grad is not None
        model.conv2.weight.grad[1] = math.nan
    elif what == "activation":
        stats["conv2"][0, 3, 3] = math.inf
    sampler = UpdateSampler(names)
    sampler.before_step(model)
    sampler.after_step(model)
    first_not_finite = layer_health(layers, weight_health(layers), sampler.take(), {}, stats)[1]
    assert first_not_finite == ("" if what == "nothing" else "conv2")
