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
        values = self._unpacked(codes).reshape(*codes.shape[:-1], scales.shape[-2], -1)
        found: torch.Tensor = ((values - zero_points.float()) * scales.float()).flatten(-2)
        return found

    def _unpacked(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the codes as floats: the digits of numbers of one byte, or of three where codes lie across bytes.

        Divisions by powers of two are exact, and runtimes for phones have no shifts.
        """
        width, base = (1 if RUN % self.bits == 0 else 3), 2**self.bits
        number = codes[..., ::width].float()
        for place in range(1, width):
            number = number + 256**place * codes[..., place::width].float()
        digits = []
        for _ in range(RUN * width // self.bits):
            rest = torch.floor(number / base)
            digits.append(number - base * rest)
            number = rest
        return torch.stack(digits, -1).flatten(-2)[..., : self.columns]


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
