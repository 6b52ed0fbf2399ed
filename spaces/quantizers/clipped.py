"""Ranges narrower than from minimum to maximum, and symmetric ones."""

from __future__ import annotations

import torch
from slimfront.spaces.quantizers.affine import Affine, grid, nearest
from slimfront.spaces.quantizers.quantizer import QUANTIZERS

# Shares of the full range that are tried, and of the weights that lie outside on either side.
SHARES, OUTSIDE = tuple(1 - step / 40 for step in range(25)), 0.005


@QUANTIZERS.register("affine-mse")
class LeastSquares(Affine):
    """The share of each group's range at which the squared error is least.

    Of the ranges from minimum to maximum, shrunk towards zero, the best is found by trying (Banner et al. 2019,
    "Post Training 4-bit Quantization of Convolutional Networks for Rapid-Deployment", section 3, finds it in closed
    form under a supposed distribution).
    """

    def range(self, grouped: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
        """See :meth:`Affine.range`."""
        low, high = super().range(grouped, bits)
        best, least = torch.ones_like(low), torch.full_like(low, torch.inf)
        for share in SHARES:
            scales, zero_points = grid(low * share, high * share, bits)
            codes = nearest(grouped, scales, zero_points, bits)
            errors = (((codes.float() - zero_points.float()) * scales.float() - grouped) ** 2).sum(-1, keepdim=True)
            better = errors < least
            best, least = torch.where(better, share, best), torch.where(better, errors, least)
        return low * best, high * best


@QUANTIZERS.register("affine-percentile")
class Percentile(Affine):
    """The range that leaves out half a percent of each group's weights on either side.

    Quantiles are interpolated between weights (McKinstry et al. 2019, "Discovering Low-Precision Networks Close to
    Full-Precision Networks for Efficient Embedded Inference", section 3, clip at percentiles of whole layers).
    """

    def range(self, grouped: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ARG002
        """See :meth:`Affine.range`."""
        ends = torch.quantile(grouped, torch.tensor([OUTSIDE, 1 - OUTSIDE]), dim=-1, keepdim=True)
        return ends[0], ends[1]


@QUANTIZERS.register("symmetric")
class Symmetric(Affine):
    """A range that reaches as far below zero as above it, so that every zero point is the same.

    ``scale = 2 max|w| / (2**bits - 1)`` (Krishnamoorthi 2018, "Quantizing deep convolutional networks for efficient
    inference", section 2.2); one code more lies below zero than above.
    """

    def range(self, grouped: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
        """See :meth:`Affine.range`."""
        reach = grouped.abs().amax(-1, keepdim=True)
        # The middle of an even number of codes lies between two of them: the zero point is the upper one.
        step = 2 * reach / (2**bits - 1)
        return -step * 2 ** (bits - 1), step * (2 ** (bits - 1) - 1)
