"""The quantizers' contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from slimfront.studies.compressed import Capabilities, QuantizedTensor
from slimfront.studies.registry import Registry

# Fewer bits need narrower groups; 8 bits are near lossless with one scale per row, which also runs fastest.
ROW, FLOATING = 0, 16
SUITABLE = {8: ROW, 6: 128, 4: 64, 3: 32, 2: 32}


class Quantizer(ABC):
    """Turns a matrix into codes, scales and zero points.

    Attributes:
        calibrated: Whether it uses second moments of what the layer reads.
    """

    calibrated: ClassVar[bool] = False

    @abstractmethod
    def quantize(
        self, weight: torch.Tensor, bits: int, group: int, moment: torch.Tensor | None = None
    ) -> QuantizedTensor:
        """Quantize a matrix; the codes of a row do not depend on the other rows, and zeros stay zeros.

        Args:
            weight: ``(rows, columns)`` float32, ``columns`` a multiple of ``group``.
            bits: Width of a code, 2 to 8.
            group: Columns that share a scale and a zero point.
            moment: Second moments of what the layer reads, ``(columns, columns)``, or None where they are not known.
        """


QUANTIZERS: Registry[Quantizer] = Registry("quantizer", "slimfront.spaces.quantizers")


def group_size(columns: int, bits: int, capabilities: Capabilities, static: bool = False) -> int:
    """Return the group for a row: the widest that the target runs, that divides it and suits the bits; 0 for floats.

    Where activations lie in a fixed range it is the whole row: their products are then summed as integers.
    """
    if bits >= FLOATING:
        return 0
    if static:
        return columns
    widest = capabilities.groups.get(bits, SUITABLE.get(bits, ROW))
    if widest == ROW:
        return columns
    fitting = [size for size in capabilities.group_sizes if columns % size == 0 and size <= widest]
    return max(fitting, default=columns)
