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

    def quantize(self, weight: torch.Tensor, bits: int, group: int) -> QuantizedTensor:
        """See :meth:`Quantizer.quantize`."""
        rows, columns = weight.shape
        grouped = weight.to(torch.float32).reshape(rows, columns // group, group)
        low = grouped.amin(-1, keepdim=True).clamp_max(0)
        high = grouped.amax(-1, keepdim=True).clamp_min(0)
        top = 2**bits - 1
        scales = ((high - low) / top).clamp_max(LARGEST).to(torch.float16)
        scales = torch.where(scales == 0, torch.ones_like(scales), scales)
        wide = scales.to(torch.float32)
        zero_points = torch.round(-low / wide).clamp(0, top)
        codes = torch.round(grouped / wide + zero_points).clamp(0, top)
        return QuantizedTensor(codes.to(torch.uint8), scales, zero_points.to(torch.uint8), bits)
