"""Optimal brain surgeon for whole units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from slimfront.spaces.criteria.criterion import CRITERIA, Criterion, LabelledBatch
from slimfront.spaces.moments import second_moments
from slimfront.spaces.repair import inverse
from slimfront.spaces.structure import Structure
from torch import nn

# Units go in so many steps at most.
STEPS = 64


@CRITERIA.register("optimal-brain-surgeon")
class OptimalBrainSurgeon(Criterion):
    """Squared error of the reader's output that removing a unit leaves when the weights that stay make up for it.

    Units go one at a time, the cheapest first, each at the price ``sum_i W_iM ((H^-1)_MM)^-1 W_iM^T`` over the rows
    ``i``, with ``M`` the unit's columns and ``H`` the second moments of what the layer reads; then weights and ``H^-1``
    are brought up to date (Hassibi and Stork 1992, "Second Order Derivatives for Network Pruning: Optimal Brain
    Surgeon"; Kurtic, Frantar and Alistarh 2023, "ZipLM", equations 2 to 4). A unit's score is the price of all that had
    gone when it went. Of many units some go at once. The weights that stay are updated when a model is stitched.
    """

    repairs = True

    def scores(
        self, module: nn.Module, structures: Sequence[Structure], batches: Iterable[LabelledBatch]
    ) -> dict[str, torch.Tensor]:
        """See :meth:`Criterion.scores`."""
        moments = second_moments(module, [s.consumer for s in structures], batches)
        return {s.name: _prices(s.reader(module).detach(), moments[s.consumer], s.size) for s in structures}


def _prices(weight: torch.Tensor, moment: torch.Tensor, size: int) -> torch.Tensor:
    """Return the price of all that had gone when each unit went, ``(units,)``."""
    weight, left = weight.double().clone(), inverse(moment)
    units = weight.shape[1] // size
    prices, paid = torch.zeros(units, dtype=torch.float64), 0.0
    alive = torch.ones(units, dtype=torch.bool)
    while alive.any():
        own = weight.reshape(len(weight), units, size).permute(1, 2, 0)
        price = (own * torch.linalg.solve(_blocks(left, size), own)).sum((1, 2)).clamp_min(0)
        wanted = min(max(1, units // STEPS), int(alive.sum()))
        chosen = torch.where(alive, price, torch.inf).argsort(stable=True)[:wanted]
        for unit in chosen.tolist():
            paid += float(price[unit])
            prices[unit] = paid
        alive[chosen] = False
        gone = (chosen[:, None] * size + torch.arange(size)).reshape(-1)
        solved = torch.linalg.solve(left[gone][:, gone], left[gone])
        weight -= weight[:, gone] @ solved
        left -= left[:, gone] @ solved
        # What went stays zero, and its block solvable.
        weight[:, gone] = 0
        left[gone], left[:, gone] = 0, 0
        left[gone, gone] = 1
    return prices.float()


def _blocks(matrix: torch.Tensor, size: int) -> torch.Tensor:
    """Return the blocks along the diagonal, ``(units, size, size)``."""
    units = len(matrix) // size
    return matrix.reshape(units, size, units, size).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
