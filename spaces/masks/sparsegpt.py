"""The weights that stay make up for those that become zero."""

from __future__ import annotations

import torch
from slimfront.spaces.masks.magnitude import Magnitude
from slimfront.spaces.masks.mask import MASKS
from slimfront.spaces.masks.pattern import Pattern
from slimfront.spaces.repair import inverse

# Columns among which zeros are chosen at once; a pattern's neighbours never lie on both sides of a border.
BLOCK = 128


@MASKS.register("sparsegpt")
class SparseGPT(Magnitude):
    """Goes through the columns from left to right; later ones make up for what earlier ones lose.

    With ``U`` the upper Cholesky factor of the inverse second moments, zeros are chosen block by block at the price
    ``w_ij^2 / U_jj^2``, and what column ``j`` loses, ``e = w_j / U_jj``, is taken off the later columns times
    ``U_j,j+1:`` (Frantar and Alistarh 2023, "SparseGPT", algorithm 1, with the choice made in each row by itself).
    Without second moments it is the magnitude.
    """

    calibrated = True

    def thin(self, weight: torch.Tensor, pattern: Pattern, moment: torch.Tensor | None = None) -> torch.Tensor:
        """See :meth:`Mask.thin`."""
        if moment is None:
            return super().thin(weight, pattern)
        left, columns = weight.double().clone(), weight.shape[1]
        upper = torch.linalg.cholesky(inverse(moment), upper=True)
        width = pattern.neighbours or BLOCK
        for start in range(0, columns, BLOCK):
            end = min(start + BLOCK, columns)
            errors = torch.zeros(len(left), end - start, dtype=left.dtype)
            for first in range(start, end, width):
                last = min(first + width, end)
                gone = pattern.cheapest((left[:, first:last] / upper.diagonal()[first:last]).square())
                for column in range(first, last):
                    error = torch.where(gone[:, column - first], left[:, column], 0.0) / upper[column, column]
                    left[:, column:end] -= error[:, None] * upper[column, column:end]
                    errors[:, column - start] = error
                # Exactly: the subtraction leaves what rounding leaves.
                left[:, first:last].masked_fill_(gone, 0.0)
            left[:, end:] -= errors @ upper[start:end, end:]
        return left.to(weight.dtype)
