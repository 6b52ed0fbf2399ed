"""Weights and activations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from slimfront.spaces.criteria.criterion import CRITERIA, Criterion, LabelledBatch
from slimfront.spaces.moments import second_moments
from slimfront.spaces.structure import Structure
from torch import nn


@CRITERIA.register("wanda")
class Wanda(Criterion):
    """Magnitude of the weights that read a unit times the norm of what they read.

    ``S_ij = |W_ij| ||X_j||_2`` (Sun et al. 2024, "A Simple and Effective Pruning Approach for Large Language Models",
    equation 1), summed over the weights of a unit; the norm is the root of the mean square.
    """

    def scores(
        self, module: nn.Module, structures: Sequence[Structure], batches: Iterable[LabelledBatch]
    ) -> dict[str, torch.Tensor]:
        """See :meth:`Criterion.scores`."""
        moments = second_moments(module, [s.consumer for s in structures], batches)
        found = {}
        for structure in structures:
            columns = structure.reader(module).detach().abs().sum(0) * moments[structure.consumer].diagonal().sqrt()
            found[structure.name] = columns.reshape(structure.units, structure.size).sum(1)
        return found
