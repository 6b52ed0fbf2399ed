"""The terms of the loss, against values computed by hand and by scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from slimfront.search.recovery.loss import attention_loss, distillation_loss, hidden_loss
from slimfront.studies.data import UNLABELLED


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


def test_logistic_regression_is_a_special_case() -> None:
    """The cross entropy against soft targets of one logit, as scikit-learn computes it from weighted rows."""
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=40), rng.normal(size=40) * 2
    target = 1 / (1 + np.exp(-teacher))
    entropy = -(target * np.log(target) + (1 - target) * np.log(1 - target)).mean()
    both = np.concatenate([np.ones(40), np.zeros(40)])
    rows = 1 / (1 + np.exp(-np.concatenate([student, student])))
    expected = log_loss(both, rows, sample_weight=np.concatenate([target, 1 - target])) - entropy
    logits = [torch.stack([torch.zeros(40), torch.tensor(values).float()], 1) for values in (student, teacher)]
    found = distillation_loss(logits[0], logits[1], torch.zeros(40, dtype=torch.long), 1.0, 1.0).item()
    assert found == pytest.approx(expected, abs=1e-5)


def test_rows_without_a_label_have_soft_targets_only() -> None:
    student, teacher = torch.randn(4, 3), torch.randn(4, 3)
    none = torch.full((4,), UNLABELLED)
    soft = distillation_loss(student, teacher, torch.zeros(4, dtype=torch.long), 2.0, 1.0)
    assert torch.isclose(distillation_loss(student, teacher, none, 2.0, 0.25), soft)
    mixed = distillation_loss(student, teacher, torch.tensor([0, -100, -100, -100]), 2.0, 0.25)
    first = distillation_loss(student[:1], teacher[:1], torch.tensor([0]), 2.0, 0.25)
    rest = distillation_loss(student[1:], teacher[1:], none[1:], 2.0, 1.0)
    assert torch.isclose(mixed, (first + 3 * rest) / 4)


MASK = torch.tensor([[True, True, True, False], [True, True, False, False]])


def test_hidden_states_of_padding_do_not_count() -> None:
    student, teacher = torch.randn(2, 4, 6), torch.randn(2, 4, 6)
    found = hidden_loss(student, teacher, MASK)
    assert found.item() == pytest.approx(((student - teacher)[MASK] ** 2).mean().item(), rel=1e-5)
    student[~MASK] = 1e3
    assert torch.isclose(hidden_loss(student, teacher, MASK), found)


def test_attention_relations_by_hand() -> None:
    """Two heads of the student against four of the teacher: two relation heads."""
    student, teacher = torch.randn(2, 4, 6), torch.randn(2, 4, 12)

    def relation(states: torch.Tensor, row: int, head: int, width: int) -> np.ndarray:
        part = states[row, MASK[row], head * width : (head + 1) * width].double().numpy()
        scores = part @ part.T / math.sqrt(width)
        weights = np.exp(scores - scores.max(1, keepdims=True))
        return weights / weights.sum(1, keepdims=True)

    found = []
    for row in range(2):
        heads = [(relation(student, row, h, 3), relation(teacher, row, h, 6)) for h in range(2)]
        found.append(np.mean([(taught * np.log(taught / own)).sum(1) for own, taught in heads], axis=0))
    assert attention_loss(student, teacher, (2, 4), MASK).item() == pytest.approx(
        np.concatenate(found).mean(), rel=1e-4
    )
    assert attention_loss(teacher, teacher, (4, 4), MASK).item() == pytest.approx(0, abs=1e-6)
