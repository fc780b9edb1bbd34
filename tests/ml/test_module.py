from __future__ import annotations

import pytest
import torch

from facegender.network.module import FaceGenderModule
from tests.ml.conftest import tiny

CLASSES = ("female", "male")


def batch(count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return images, torch.arange(count) % 2


def test_a_training_step_returns_detached_loss_sum_and_correct_photographs() -> None:
    torch.manual_seed(0)
    module = FaceGenderModule(tiny(), CLASSES)
    images, labels = batch()
    output = module.training_step((images, labels), 0)
    assert output["loss"].requires_grad
    assert not output["loss_sum_and_correct"].requires_grad
    summed, correct = output["loss_sum_and_correct"].tolist()
    assert summed / 6 == pytest.approx(float(output["loss"].detach()), rel=1e-6)
    assert correct in range(7)


def test_a_few_steps_lower_the_loss_of_one_batch() -> None:
    torch.manual_seed(0)
    module = FaceGenderModule(tiny(learning_rate=3e-3), CLASSES)
    optimiser = module.configure_optimizers()["optimizer"]  # type: ignore[call-overload,index]  # of Lightning's many forms, the dict
    losses = []
    for _ in range(15):
        loss = module.training_step(batch(), 0)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2


def test_validation_metrics_are_those_of_all_batches_and_are_reset() -> None:
    module = FaceGenderModule(tiny(), CLASSES).eval()
    answers = {0: torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0]]), 1: torch.tensor([[0.0, 2.0]])}
    labels = {0: torch.tensor([0, 1, 1]), 1: torch.tensor([1])}
    for repeat in range(2):
        for index in (0, 1):
            module.forward = lambda images, index=index: answers[index]  # type: ignore[method-assign]  # a network that answers as told
            module.validation_step((torch.zeros(1), labels[index]), index)
        module.on_validation_epoch_end()
        results = {name: tensor.tolist() for name, tensor in module.validation_results.items()}
        assert results["confusion"] == [[1, 0], [1, 2]], repeat
        assert results["accuracy"] == pytest.approx(0.75)
        assert results["precision"] == pytest.approx([0.5, 1.0])
        assert results["recall"] == pytest.approx([1.0, 2 / 3])
        assert results["f1"] == pytest.approx([2 / 3, 0.8])
        assert results["macro_f1"] == pytest.approx((2 / 3 + 0.8) / 2)
        right, wrong = torch.nn.functional.softplus(torch.tensor([-2.0, 2.0])).tolist()
        assert results["loss"] == pytest.approx((3 * right + wrong) / 4)


def test_the_schedule_multiplies_the_learning_rate_every_step_size_epochs() -> None:
    module = FaceGenderModule(tiny(learning_rate=0.01, step_size=2, gamma=0.1), CLASSES)
    scheduler = module.configure_optimizers()["lr_scheduler"]["scheduler"]  # type: ignore[call-overload,index]
    rates = []
    for _ in range(4):
        rates.append(scheduler.get_last_lr()[0])
        scheduler.optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001])
