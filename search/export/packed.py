"""Layers whose weights stay as small as their codes, and are unpacked whenever they are read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from slimfront.studies.compressed import QuantizedTensor
from torch import nn

BYTE = 8


class Packed(nn.Module):
    """A matrix in codes close together: a number of one byte, or of three, holds as many as fit, lowest first.

    The codes of a row's numbers of one place stand side by side in the matrix, and so do the numbers' bytes of one
    place in the file: rows are put together of few long pieces, which runtimes for phones copy fast.

    Args:
        tensor: The matrix.
    """

    codes: torch.Tensor
    scales: torch.Tensor
    zero_points: torch.Tensor

    def __init__(self, tensor: QuantizedTensor) -> None:
        super().__init__()
        self.bits, (rows, self.columns) = tensor.bits, tensor.shape
        # Numbers of three bytes are exact in float32.
        self.width = 1 if BYTE % self.bits == 0 else 3
        self.places = BYTE * self.width // self.bits
        codes = tensor.codes.reshape(rows, self.columns).numpy()
        padded = np.pad(codes, ((0, 0), (0, -self.columns % self.places))).reshape(rows, self.places, -1)
        numbers = np.zeros((rows, padded.shape[-1]), np.uint8 if self.width == 1 else np.uint32)
        for place in range(self.places):
            numbers |= np.left_shift(padded[:, place], self.bits * place, dtype=numbers.dtype)
        parts = [(numbers >> (BYTE * place)).astype(np.uint8) for place in range(self.width)]
        self.register_buffer("codes", torch.from_numpy(np.concatenate(parts, 1)))
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
        """Return the codes as floats; divisions by powers of two are exact, and runtimes for phones have no shifts."""
        length = codes.shape[-1] // self.width
        # Not split: ExecuTorch fixes the length of texts where what depends on it is.
        number = _first(codes, length).float()
        for place in range(1, self.width):
            number = number + 256**place * codes[..., place * length : (place + 1) * length].float()
        digits = []
        for _ in range(self.places - 1):
            rest = torch.floor(number / 2**self.bits)
            digits.append(number - 2**self.bits * rest)
            number = rest
        return _first(torch.cat([*digits, number], -1) if digits else number, self.columns)


def _first(values: torch.Tensor, columns: int) -> torch.Tensor:
    """Return so many columns; runtimes copy a slice even where it is the whole."""
    return values if values.shape[-1] == columns else values[..., :columns]


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
