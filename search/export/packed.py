"""Layers whose weights stay as small as their codes, and are unpacked whenever they are read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from slimfront.studies.compressed import QuantizedTensor
from torch import nn

# So many codes of any width fill whole bytes.
RUN = 8


class Packed(nn.Module):
    """A matrix in codes without gaps: code ``i`` of a row stands in the bits from ``i * bits`` on, lowest first.

    Args:
        tensor: The matrix.
    """

    codes: torch.Tensor
    scales: torch.Tensor
    zero_points: torch.Tensor

    def __init__(self, tensor: QuantizedTensor) -> None:
        super().__init__()
        self.bits, (rows, self.columns) = tensor.bits, tensor.shape
        codes = tensor.codes.reshape(rows, self.columns).numpy()
        padded = np.pad(codes, ((0, 0), (0, -self.columns % RUN)))
        digits = (padded[..., None] >> np.arange(self.bits, dtype=np.uint8)) & 1
        self.register_buffer("codes", torch.from_numpy(np.packbits(digits.reshape(rows, -1), 1, "little")))
        self.register_buffer("scales", tensor.scales.clone())
        self.register_buffer("zero_points", tensor.zero_points.clone())

    def forward(self, rows: torch.Tensor | None = None) -> torch.Tensor:
        """Return the matrix ``(rows, columns)``, or the rows ``(..., columns)`` of some indices."""
        parts = (self.codes, self.scales, self.zero_points)
        codes, scales, zero_points = parts if rows is None else (part[rows] for part in parts)
        values = self._unpacked(codes).reshape(*codes.shape[:-1], scales.shape[-2], -1).float()
        found: torch.Tensor = ((values - zero_points.float()) * scales.float()).flatten(-2)
        return found

    def _unpacked(self, codes: torch.Tensor) -> torch.Tensor:
        mask = 2**self.bits - 1
        if RUN % self.bits == 0:
            # Codes that never lie in two bytes are unpacked faster.
            places = torch.arange(0, RUN, self.bits, dtype=torch.uint8)
            found = codes if self.bits == RUN else ((codes.unsqueeze(-1) >> places) & mask).flatten(-2)
            return found[..., : self.columns]
        starts = [place * self.bits for place in range(RUN)]
        first = [start // 8 for start in starts]
        # A code ends in the byte behind the one in which it begins, if not in the same.
        second = [min(byte + 1, self.bits - 1) for byte in first]
        runs = codes.reshape(*codes.shape[:-1], -1, self.bits).to(torch.int32)
        pairs = runs[..., first] | runs[..., second] << 8
        shifts = torch.tensor([start % 8 for start in starts], dtype=torch.int32)
        return torch.flatten((pairs >> shifts) & mask, -2)[..., : self.columns]


class Half(nn.Module):
    """A matrix in float16.

    Args:
        tensor: ``(rows, columns)``.
    """

    values: torch.Tensor

    def __init__(self, tensor: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("values", tensor.clone())

    def forward(self, rows: torch.Tensor | None = None) -> torch.Tensor:
        """See :meth:`Packed.forward`."""
        return (self.values if rows is None else self.values[rows]).float()


class PackedLinear(nn.Module):
    """A linear layer of a packed matrix ``(rows, columns)``."""

    def __init__(self, stored: nn.Module, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.stored, self.bias = stored, bias

    @property
    def weight(self) -> torch.Tensor:
        """The matrix, unpacked."""
        found: torch.Tensor = self.stored()
        return found

    def forward(self, read: torch.Tensor) -> torch.Tensor:
        """Return ``(..., rows)`` of ``(..., columns)``."""
        return nn.functional.linear(read, self.weight, self.bias)


class PackedEmbedding(PackedLinear):
    """A table, of which only the rows that are looked up are unpacked."""

    def forward(self, read: torch.Tensor) -> torch.Tensor:
        """Return ``(..., columns)`` of indices ``(...)``."""
        found: torch.Tensor = self.stored(read)
        return found


def pack(module: nn.Module, tensors: Mapping[str, torch.Tensor | QuantizedTensor]) -> None:
    """Put packed layers in the place of those whose weights are codes or float16, in place.

    Layers of other classes, such as tables whose rows are scaled, stay in floats: only they know what they do.
    """
    layers = {nn.Linear: PackedLinear, nn.Embedding: PackedEmbedding}
    for name, tensor in tensors.items():
        path = name.removesuffix(".weight")
        parent, _, child = path.rpartition(".")
        part = module.get_submodule(path) if path != name else None
        if type(part) not in layers or (isinstance(tensor, torch.Tensor) and tensor.dtype != torch.float16):
            continue
        stored = Packed(tensor) if isinstance(tensor, QuantizedTensor) else Half(tensor)
        setattr(module.get_submodule(parent), child, layers[type(part)](stored, getattr(part, "bias", None)))
