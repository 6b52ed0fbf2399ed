"""Weights that stay make up for those that go."""

from __future__ import annotations

import torch

# Share of the mean of the diagonal that is added to it, so that the matrix can be inverted (Frantar et al. 2023).
DAMPING = 0.01


def damped(moment: torch.Tensor) -> torch.Tensor:
    """Return second moments ``(columns, columns)`` in float64 with a diagonal that lets them be inverted."""
    wide = moment.double()
    mean = float(wide.diagonal().mean())
    return wide + torch.eye(len(wide), dtype=wide.dtype) * (DAMPING * mean if mean > 0 else 1.0)


def inverse(moment: torch.Tensor) -> torch.Tensor:
    """Return the inverse of the damped second moments, ``(columns, columns)`` float64."""
    return torch.cholesky_inverse(torch.linalg.cholesky(damped(moment)))


def repaired(weight: torch.Tensor, moment: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Return the columns that are kept, changed so that the layer's output changes least in the mean square.

    ``W H_:S (H_SS)^-1``: the least-squares solution, at which optimal brain surgeon arrives one column after the other
    (Frantar and Alistarh 2023, "SparseGPT", equation 2).

    Args:
        weight: ``(rows, columns)``.
        moment: Second moments of what the layer reads, ``(columns, columns)``.
        kept: Ascending indices of the columns that are kept.
    """
    wide = damped(moment)
    factor = torch.linalg.cholesky(wide[kept][:, kept])
    target = weight.double() @ wide[:, kept]
    return torch.cholesky_solve(target.T, factor).T.to(weight.dtype).contiguous()
