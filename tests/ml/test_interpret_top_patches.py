from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data.distributed import DistributedSampler
from torchvision.models import resnet18

from facegender.interpret.layers import Layer, hooked, output_hook, trace
from facegender.interpret.top_patches import ChannelTracker, LayerUnits, merged
from facegender.network.model import FaceGenderNet
from facegender.network.residual import ResidualNet

COUNT = 22
BATCH = 8


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def photographs() -> Tensor:
    photographs = torch.rand(COUNT, 3, 48, 40) * 2 - 1
    photographs[13] = photographs[4]  # equal values: the photograph with the lower index comes first
    return photographs


class TwoCalls(nn.Module):
    """One activation in place, called twice, and a layer that overwrites its input; channels that are always zero."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, stride=2), nn.Conv2d(6, 5, 3)
        self.relu = nn.ReLU(inplace=True)
        nn.init.constant_(self.first.bias, -2.0)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.second(self.relu(self.first(x))))
        y += 1
        logits: Tensor = y.mean((2, 3))[:, :2]
        return logits


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "reference": lambda: nn.Sequential(*list(FaceGenderNet(48, (4, 8, 8)))[:10], nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "tuned": lambda: ResidualNet((4, 8, 8), 2),
    "resnet18": lambda: resnet18(weights=None, num_classes=2),
    "activation called twice": TwoCalls,
    "negative values": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.LogSigmoid(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ),
}


def plainly(model: nn.Module, layers: list[Layer], batches: list[Tensor]) -> dict[str, LayerUnits]:
    """A second pass that keeps the maps of all photographs and sorts them."""
    kept: dict[str, list[Tensor]] = {layer.name: [] for layer in layers}
    for batch in batches:
        hooks = [output_hook(layer, lambda layer, output: kept[layer.name].append(output.clone())) for layer in layers]
        with torch.no_grad(), hooked(model, batch, hooks):
            model(batch)
    return {name: plain_units(torch.cat(maps)) for name, maps in kept.items()}


def plain_units(maps: Tensor) -> LayerUnits:
    count, channels, _, width = maps.shape
    flat = maps.flatten(2)
    units = torch.stack([flat.mean((0, 2)), flat.amax((0, 2)), (flat != 0).any(2).float().mean(0)], 1)
    value, image = torch.full((channels, 9), math.nan), torch.full((channels, 9), -1)
    at = torch.zeros(channels, 9, 2, dtype=torch.long)
    for channel in range(channels):
        peaks = [flat[index, channel].max().item() for index in range(count)]
        order = sorted((-peak, index) for index, peak in enumerate(peaks) if not math.isnan(peak))
        for rank, (peak, index) in enumerate(order[:9]):
            place = int(flat[index, channel].eq(-peak).nonzero()[0])
            value[channel, rank], image[channel, rank] = -peak, index
            at[channel, rank] = torch.tensor(divmod(place, width))
    return LayerUnits(units, value, image, at)


def tracked(model: nn.Module, layers: list[Layer], batches: list[tuple[Tensor, Tensor]]) -> ChannelTracker:
    tracker = ChannelTracker(layers)
    model.eval()
    with torch.inference_mode(), tracker.watch():
        for indices, batch in batches:
            model(batch)
            tracker.add(indices)
    return tracker


def in_order(photographs: Tensor) -> list[tuple[Tensor, Tensor]]:
    numbers = torch.arange(len(photographs))
    return list(zip(numbers.split(BATCH), photographs.split(BATCH), strict=True))


def assert_same(results: dict[str, LayerUnits], expected: dict[str, LayerUnits]) -> None:
    assert list(results) == list(expected)
    for name, wanted in expected.items():
        result = results[name]
        assert torch.allclose(result.units, wanted.units, atol=1e-5, equal_nan=True), name
        assert torch.equal(result.image, wanted.image), name
        assert torch.equal(result.value.nan_to_num(-9e9), wanted.value.nan_to_num(-9e9)), name
        present = wanted.image >= 0
        assert torch.equal(result.at[present], wanted.at[present]), name


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", NETWORKS)
def test_it_equals_a_second_pass_that_keeps_everything(
    name: str, memory_format: torch.memory_format, photographs: Tensor
) -> None:
    model = NETWORKS[name]().to(memory_format=memory_format)
    photographs = photographs.contiguous(memory_format=memory_format)
    layers = trace(model, photographs[:1])
    batches = in_order(photographs)
    assert len(batches[-1][0]) < BATCH
    expected = plainly(model, layers, [batch for _, batch in batches])
    assert_same(tracked(model, layers, batches).result(), expected)


def test_the_order_of_the_batches_does_not_matter(photographs: Tensor) -> None:
    model = NETWORKS["activation called twice"]()
    layers = trace(model, photographs[:1])
    forwards, backwards = (
        tracked(model, layers, batches) for batches in (in_order(photographs), in_order(photographs)[::-1])
    )
    assert_same(backwards.result(), forwards.result())


@pytest.mark.parametrize("count", [COUNT, COUNT - 1])
def test_two_processes_together_see_what_one_sees(count: int, photographs: Tensor) -> None:
    """Of an odd number the sampler repeats one, which then counts once."""
    photographs = photographs[:count]
    model = NETWORKS["activation called twice"]()
    layers = trace(model, photographs[:1])
    trackers = []
    for rank in range(2):
        share = torch.tensor(list(DistributedSampler(photographs, 2, rank, shuffle=False)))
        numbers = torch.arange(len(share)) * 2 + rank
        numbers[numbers >= count] = -1
        batches = [(part, photographs[index]) for part, index in zip(numbers.split(4), share.split(4), strict=True)]
        trackers.append(tracked(model, layers, batches))
    alone = tracked(model, layers, in_order(photographs))
    together = ChannelTracker(layers)
    together.totals = merged([trackers[1].totals, trackers[0].totals, together.totals])
    assert int(together.totals.photographs) == count
    assert_same(together.result(), alone.result())


def test_with_fewer_than_nine_photographs_the_places_that_are_left_are_marked(photographs: Tensor) -> None:
    model = NETWORKS["tuned"]()
    layers = trace(model, photographs[:1])
    results = tracked(model, layers, in_order(photographs[:4])).result()
    assert_same(results, plainly(model, layers, [photographs[:4]]))
    units, top = results["stem"].arrays()
    assert units.shape == (4, 3)
    assert (top.image[:, 4:] == -1).all()
    assert (top.image[:, :4] >= 0).all()
    assert (str(units.dtype), str(top.value.dtype), str(top.image.dtype), str(top.at.dtype)) == (
        "float32",
        "float32",
        "int32",
        "int16",
    )


def test_nan_never_enters_the_list(photographs: Tensor) -> None:
    model = NETWORKS["activation called twice"]()
    photographs[3, :, 10, 10] = math.nan
    layers = trace(model, photographs[:1])
    results = tracked(model, layers, in_order(photographs)).result()
    assert_same(results, plainly(model, layers, [batch for _, batch in in_order(photographs)]))
    for result in results.values():
        assert result.value.isfinite().all()
        assert not (result.image == 3).any()
        assert result.units[:, 0].isnan().all()


def test_a_dead_channel_is_active_on_no_photograph(photographs: Tensor) -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([-100.0, 100.0]))
    units = tracked(model, trace(model, photographs[:1]), in_order(photographs)).result()["0"].units
    assert units[0].tolist() == [0, 0, 0]
    assert units[1, 2] == 1


def test_the_hooks_are_removed_and_other_batches_are_left_out(photographs: Tensor) -> None:
    model = NETWORKS["tuned"]()
    layers = trace(model, photographs[:1])
    tracker = ChannelTracker(layers)
    with pytest.raises(RuntimeError), tracker.watch():
        model(photographs[:, :1])
    assert not any(module._forward_hooks for module in model.modules())
    tracker.add(torch.arange(4))
    with tracker.watch():
        model.eval()(photographs[:0])
        assert not tracker.add(torch.arange(0))
        model(photographs[:3])
        assert not tracker.add(torch.arange(4))
    assert int(tracker.totals.photographs) == 0
    result = tracker.result()["stem"]
    assert (result.image == -1).all()
    assert result.value.isnan().all()
