"""Sensitivity: gradient times weight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from slimfront.spaces.criteria.criterion import CRITERIA, Criterion, LabelledBatch
from slimfront.spaces.structure import Structure
from torch import nn
from torch.nn import functional


@CRITERIA.register("gradient-weight")
class GradientWeight(Criterion):
    """First-order change of the loss when a unit is removed.

    The score of a unit is the mean over batches of ``|sum of dz/dw * w|`` over the weights that read it, with
    ``z`` the cross-entropy: the first term of the Taylor series of removing it (Molchanov et al. 2017, "Pruning
    Convolutional Neural Networks for Resource Efficient Inference", equation 8; Mozer and Smolensky 1989).
    """

    def scores(
        self, module: nn.Module, structures: Sequence[Structure], batches: Iterable[LabelledBatch]
    ) -> dict[str, torch.Tensor]:
        """See :meth:`Criterion.scores`."""
        weights = {s.name: s.reader(module) for s in structures}
        totals = {s.name: torch.zeros(s.units) for s in structures}
        count = 0
        for inputs, labels in batches:
            loss = functional.cross_entropy(module(**inputs).logits.float(), labels)
            gradients = torch.autograd.grad(loss, list(weights.values()))
            for structure, gradient in zip(structures, gradients, strict=True):
                columns = (gradient * weights[structure.name].detach()).sum(0)
                totals[structure.name] += columns.reshape(structure.units, structure.size).sum(1).abs()
            count += 1
        return {name: total / max(count, 1) for name, total in totals.items()}
