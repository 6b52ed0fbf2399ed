"""Asymmetric round-to-nearest quantization over the range of each group."""

from __future__ import annotations

import torch
from slimfront.spaces.quantizers.quantizer import QUANTIZERS, Quantizer
from slimfront.studies.compressed import QuantizedTensor

LARGEST = float(torch.finfo(torch.float16).max)


@QUANTIZERS.register("affine")
class Affine(Quantizer):
    """Minimum-maximum affine quantization.

    ``scale = (max - min) / (2**bits - 1)`` and ``zero_point = round(-min / scale)``, with zero inside the range
    so that it is exact (Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", equation 1). The scale is rounded to float16 before codes are made, so
    that codes are optimal for the scale that is stored.
    """

    def quantize(
        self,
        weight: torch.Tensor,
        bits: int,
        group: int,
        moment: torch.Tensor | None = None,  # noqa: ARG002
    ) -> QuantizedTensor:
        """See :meth:`Quantizer.quantize`."""
        rows, columns = weight.shape
        grouped = weight.to(torch.float32).reshape(rows, columns // group, group)
        scales, zero_points = grid(*self.range(grouped, bits), bits)
        zero_points = self.shifted(grouped, scales, zero_points, bits)
        return QuantizedTensor(nearest(grouped, scales, zero_points, bits), scales, zero_points, bits)

    def range(self, grouped: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ARG002
        """Return the ends of each group's range, ``(rows, groups, 1)`` each.

        Args:
            grouped: The weights, ``(rows, groups, group)``.
            bits: Width of a code.
        """
        return grouped.amin(-1, keepdim=True), grouped.amax(-1, keepdim=True)

    def shifted(
        self,
        grouped: torch.Tensor,  # noqa: ARG002
        scales: torch.Tensor,  # noqa: ARG002
        zero_points: torch.Tensor,
        bits: int,  # noqa: ARG002
    ) -> torch.Tensor:
        """Return the zero points (uint8) to be used instead of those of the range, ``(rows, groups, 1)``.

        Args:
            grouped: The weights, ``(rows, groups, group)``.
            scales: Scale of each group (float16), ``(rows, groups, 1)``.
            zero_points: Zero points of the range (uint8), ``(rows, groups, 1)``.
            bits: Width of a code.
        """
        return zero_points


def grid(low: torch.Tensor, high: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scales (float16) and zero points (uint8) of ranges, which are widened to hold zero."""
    low, high = low.clamp_max(0), high.clamp_min(0)
    top = 2**bits - 1
    scales = ((high - low) / top).clamp_max(LARGEST).to(torch.float16)
    scales = torch.where(scales == 0, torch.ones_like(scales), scales)
    return scales, torch.round(-low / scales.to(torch.float32)).clamp(0, top).to(torch.uint8)


def nearest(weight: torch.Tensor, scales: torch.Tensor, zero_points: torch.Tensor, bits: int) -> torch.Tensor:
    """Return the codes (uint8) whose values are nearest to the weights; shapes broadcast."""
    return nearest_levels(weight, scales.float(), zero_points.float(), bits).to(torch.uint8)


def nearest_levels(weight: torch.Tensor, scales: torch.Tensor, zero_points: torch.Tensor, bits: int) -> torch.Tensor:
    """Return the codes of :func:`nearest` as floats, from scales and zero points in floats, in a new tensor."""
    return (weight / scales).add_(zero_points).round_().clamp_(0, 2**bits - 1)
