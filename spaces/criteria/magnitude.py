"""Magnitude of the weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from slimfront.spaces.criteria.criterion import CRITERIA, Criterion, LabelledBatch
from slimfront.spaces.structure import Structure
from torch import nn


@CRITERIA.register("magnitude")
class Magnitude(Criterion):
    """Euclidean norm of the weights that read a unit (Han et al. 2015, grouped by unit as in Li et al. 2017)."""

    def scores(
        self,
        module: nn.Module,
        structures: Sequence[Structure],
        batches: Iterable[LabelledBatch],  # noqa: ARG002
    ) -> dict[str, torch.Tensor]:
        """See :meth:`Criterion.scores`; the batches are not read."""
        found = {}
        for structure in structures:
            weight = structure.reader(module).detach()
            found[structure.name] = weight.reshape(len(weight), structure.units, structure.size).norm(dim=(0, 2))
        return found
