"""Brings the outputs of a trained classifier into the order of the data's labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from slimfront.studies.dense import last_linear
from slimfront.studies.errors import StudyError
from slimfront.studies.matching import places
from slimfront.studies.schema import Study
from torch import nn


def align_classes(module: nn.Module, names: Sequence[str], labels: Sequence[str], study: Study) -> None:
    """Reorder a trained head in place, so that output ``i`` is the data's label ``i``.

    Names that are equal but for capitals decide. Otherwise the outputs are taken to be in the order of ``data.labels``,
    or of labels that are the numbers of the outputs.

    Args:
        module: The classifier.
        names: What the checkpoint calls its outputs; nothing where it only numbers them.
        labels: The data's labels.
        study: The study.

    Raises:
        StudyError: the checkpoint's classes have other names than the data's, and nothing tells which is which.
    """
    order = places(labels, names)
    if order is not None:
        _permute(last_linear(module), order)
    elif names and study.data.labels is None and list(labels) != [str(number) for number in range(len(labels))]:
        raise StudyError(
            "the checkpoint's classes have other names than the data's labels",
            where="data.labels",
            given=", ".join(labels),
            allowed=f"your labels in the order of its classes, {', '.join(names)}",
            hint="list the data's labels at data.labels in the order of the checkpoint's classes",
        )


def _permute(head: nn.Linear, order: list[int]) -> None:
    if order == sorted(order):
        return
    if head.out_features != len(order):
        raise StudyError(
            "it cannot be seen which layer makes the classes, whose order is not that of the labels",
            where="data.labels",
            given=f"a last linear layer with {head.out_features} outputs",
            allowed=f"{len(order)} outputs",
            hint="list data.labels in the order of the checkpoint's classes",
        )
    with torch.no_grad():
        head.weight.copy_(head.weight[order].clone())
        if head.bias is not None:
            head.bias.copy_(head.bias[order].clone())
