"""The quantizers' contract."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from slimfront.studies.compressed import Capabilities, QuantizedTensor
from slimfront.studies.registry import Registry

# Fewer bits need narrower groups; 8 bits are near lossless with one scale per row, which also runs fastest.
PREFERRED = {6: 128, 4: 64, 3: 32, 2: 32}


class Quantizer(ABC):
    """Turns a matrix into codes, scales and zero points."""

    @abstractmethod
    def quantize(self, weight: torch.Tensor, bits: int, group: int) -> QuantizedTensor:
        """Quantize a matrix.

        Args:
            weight: ``(rows, columns)`` float32, ``columns`` a multiple of ``group``.
            bits: Width of a code, 2 to 8.
            group: Columns that share a scale and a zero point.
        """


QUANTIZERS: Registry[Quantizer] = Registry("quantizer", "slimfront.spaces.quantizers")


def group_size(columns: int, bits: int, capabilities: Capabilities) -> int:
    """Return the group for a row: the widest that the target runs, that divides it and suits the bits."""
    if bits not in PREFERRED:
        return columns
    fitting = [size for size in capabilities.group_sizes if columns % size == 0 and size <= PREFERRED[bits]]
    return max(fitting, default=columns)
