"""Quantization that makes later columns pay for the errors of earlier ones."""

from __future__ import annotations

import torch
from slimfront.spaces.quantizers.affine import Affine, grid, nearest
from slimfront.spaces.quantizers.quantizer import QUANTIZERS
from slimfront.spaces.repair import inverse
from slimfront.studies.compressed import QuantizedTensor

# Columns whose updates are gathered before the rest of the matrix is touched.
BLOCK = 128


@QUANTIZERS.register("gptq")
class GPTQ(Affine):
    """Quantizes column by column; what a column loses is made up for by the columns that follow.

    With ``U`` the upper Cholesky factor of the inverse second moments, the error ``e = (w_j - q_j) / U_jj`` of column
    ``j`` is taken off the later columns times ``U_j,j+1:`` (Frantar et al. 2023, "GPTQ: Accurate Post-Training
    Quantization for Generative Pre-trained Transformers", algorithm 1). A group's range is that of its weights as they
    are when its first column is reached. Without second moments, as of an embedding table, it rounds to nearest.
    """

    calibrated = True

    def quantize(
        self, weight: torch.Tensor, bits: int, group: int, moment: torch.Tensor | None = None
    ) -> QuantizedTensor:
        """See :meth:`Quantizer.quantize`."""
        if moment is None:
            return super().quantize(weight, bits, group)
        left, zeros = weight.double().clone(), weight == 0
        upper = torch.linalg.cholesky(inverse(moment), upper=True)
        columns = left.shape[1]
        codes = torch.empty(left.shape, dtype=torch.uint8)
        scales: list[torch.Tensor] = []
        zero_points: list[torch.Tensor] = []
        # Groups begin where blocks do, so that their weights are up to date.
        block = group if group <= BLOCK else BLOCK
        for start in range(0, columns, block):
            end = min(start + block, columns)
            if start % group == 0:
                low, high = self.range(left[:, None, start : start + group].float(), bits)
                scale, zero_point = grid(low, high, bits)
                scales.append(scale)
                zero_points.append(zero_point)
            errors = torch.empty(len(left), end - start, dtype=left.dtype)
            for column in range(start, end):
                own = nearest(left[:, column].float(), scale[:, 0, 0], zero_point[:, 0, 0], bits)
                codes[:, column] = torch.where(zeros[:, column], zero_point[:, 0, 0], own)
                value = (codes[:, column].double() - zero_point[:, 0, 0].double()) * scale[:, 0, 0].double()
                error = (left[:, column] - value) / upper[column, column]
                left[:, column + 1 : end] -= error[:, None] * upper[column, column + 1 : end]
                errors[:, column - start] = error
            left[:, end:] -= errors @ upper[start:end, end:]
        grouped = codes.reshape(len(left), columns // group, group)
        return QuantizedTensor(grouped, torch.cat(scales, 1), torch.cat(zero_points, 1), bits)
