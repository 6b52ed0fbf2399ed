"""Half-quadratic quantization: no data, and outliers count less."""

from __future__ import annotations

import torch
from slimfront.spaces.quantizers.affine import Affine, nearest
from slimfront.spaces.quantizers.quantizer import QUANTIZERS

# An error that falls by less has stopped falling.
SAME = 1 - 1e-7
# As the authors' own: norm, weight of the quadratic term and its growth, steps.
NORM, WEIGHT, GROWTH, STEPS = 0.7, 10.0, 1.01, 20


@QUANTIZERS.register("hqq")
class HQQ(Affine):
    """Moves the zero points until a norm below one of the errors is least.

    The error is split into a sparse part and a rest, and two steps alternate: the sparse part is shrunk
    (``sign(x) relu(|x| - |x|**(p-1) / beta)``), and the zero point becomes the mean of what is left (Badri and Shaji
    2023, "Half-Quadratic Quantization of Large Machine Learning Models", equations 3 to 5). Targets hold integer zero
    points: they are rounded at the end, and a group keeps its first one where that is no worse.
    """

    def shifted(
        self, grouped: torch.Tensor, scales: torch.Tensor, zero_points: torch.Tensor, bits: int
    ) -> torch.Tensor:
        """See :meth:`Affine.shifted`."""
        moved = zero_point(grouped, scales.float(), zero_points.float(), bits).round().clamp(0, 2**bits - 1)
        candidates = (zero_points, moved.to(torch.uint8))
        before, after = (_lost(grouped, scales, points, bits) for points in candidates)
        return torch.where(after < before, candidates[1], zero_points)


def zero_point(grouped: torch.Tensor, scales: torch.Tensor, zero: torch.Tensor, bits: int) -> torch.Tensor:
    """Return the zero points, not rounded, ``(rows, groups, 1)``.

    Args:
        grouped: The weights, ``(rows, groups, group)``.
        scales: ``(rows, groups, 1)``.
        zero: The zero points to begin with, ``(rows, groups, 1)``.
        bits: Width of a code.
    """
    beta, best = WEIGHT, torch.full_like(zero, torch.inf)
    falling = torch.ones_like(zero, dtype=torch.bool)
    for _ in range(STEPS):
        codes = torch.round(grouped / scales + zero).clamp(0, 2**bits - 1)
        error = grouped - (codes - zero) * scales
        moved = (codes - (grouped - _shrunk(error, beta)) / scales).mean(-1, keepdim=True)
        zero = torch.where(falling, moved, zero)
        size = error.abs().mean(-1, keepdim=True)
        falling, best = falling & (size < best * SAME), torch.minimum(best, size)
        beta *= GROWTH
    return zero


def _shrunk(error: torch.Tensor, beta: float) -> torch.Tensor:
    size = error.abs()
    return error.sign() * torch.relu(size - size.clamp_min(1e-12) ** (NORM - 1) / beta)


def _lost(grouped: torch.Tensor, scales: torch.Tensor, points: torch.Tensor, bits: int) -> torch.Tensor:
    """Return the error of each group in the norm, ``(rows, groups, 1)``."""
    codes = nearest(grouped, scales, points, bits)
    error = (codes.float() - points.float()) * scales.float() - grouped
    return (error.abs() ** NORM).sum(-1, keepdim=True)
