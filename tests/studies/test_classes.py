"""Outputs of a trained checkpoint in the order of the data's labels."""

from __future__ import annotations

import pytest
import torch
from slimfront.studies.classes import align_classes
from slimfront.studies.errors import StudyError
from slimfront.studies.reader import parse_study
from slimfront.studies.schema import Study
from torch import nn


def study(labels: list[str] | None = None) -> Study:
    data = {"path": "x.csv", "text": "t", "label": "l", "splits": {"train": 1, "search": 1, "held_out": 1}}
    return parse_study({"name": "s", "model": {"path": "m"}, "data": data | ({"labels": labels} if labels else {})})


def head() -> nn.Linear:
    layer = nn.Linear(4, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(3.0)[:, None].expand(3, 4))
        layer.bias.copy_(torch.arange(3.0))
    return layer


def test_names_decide_whatever_the_order() -> None:
    layer = head()
    align_classes(layer, ("Negative", "neutral", "positive"), ("positive", "negative", "neutral"), study())
    assert layer.bias.tolist() == [2.0, 0.0, 1.0] and layer.weight[:, 0].tolist() == [2.0, 0.0, 1.0]


def test_numbers_and_labels_that_the_study_lists_are_the_outputs() -> None:
    for names, labels, given in (
        (("bad", "so", "good"), ("0", "1", "2"), None),
        (("bad", "so", "good"), ("x", "y", "z"), ["x", "y", "z"]),
        ((), ("x", "y", "z"), None),
    ):
        layer = head()
        align_classes(layer, names, labels, study(given))
        assert layer.bias.tolist() == [0.0, 1.0, 2.0]


def test_other_names_are_refused() -> None:
    with pytest.raises(StudyError, match="other names than the data's labels") as refused:
        align_classes(head(), ("negative", "neutral", "positive"), ("bad", "good", "neutral"), study())
    assert "bad, good, neutral" in str(refused.value) and "negative, neutral, positive" in str(refused.value)
