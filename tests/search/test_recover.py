"""The distillation loss, against values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from slimfront.search.recover import distillation_loss


def test_two_classes_by_hand() -> None:
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    labels = torch.tensor([1])
    for temperature in (1.0, 2.0, 4.0):
        p = 1 / (1 + math.exp(-2 / temperature))
        kl = p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5)
        soft = distillation_loss(student, teacher, labels, temperature, 1.0).item()
        assert soft == pytest.approx(temperature**2 * kl, rel=1e-5)
    assert distillation_loss(student, teacher, labels, 2.0, 0.0).item() == pytest.approx(math.log(2), rel=1e-6)


def test_equal_logits_cost_nothing_and_temperature_matters() -> None:
    logits = torch.randn(5, 3)
    labels = torch.tensor([0, 1, 2, 0, 1])
    assert distillation_loss(logits, logits, labels, 3.0, 1.0).item() == pytest.approx(0, abs=1e-6)
    gradients = []
    for temperature in (1.0, 4.0):
        student = torch.zeros(5, 3, requires_grad=True)
        distillation_loss(student, logits * 3, labels, temperature, 1.0).backward()
        assert student.grad is not None
        gradients.append(student.grad)
    assert not torch.allclose(gradients[0], gradients[1], rtol=0.05)
