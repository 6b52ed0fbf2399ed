"""The values that pass between the rooms: what a target can hold, and a compressed model on its way to one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import nn


@dataclass(frozen=True)
class Capabilities:
    """What a target really packs and runs.

    Attributes:
        bits: Bit-widths of weights, ascending; 16 and 32 are floating point, the rest integer codes.
        group_sizes: Sizes of quantization groups along a row, widest first.
        precisions: Inference precisions of this machine; the first is the reference of the dense model.
        groups: The widest group that the study allows codes of a width, by bits; 0 is a whole row. Where it says
            nothing, each width has what suits it.
        static: Widths of codes that it also multiplies by activations whose range was fixed beforehand.
    """

    bits: tuple[int, ...]
    group_sizes: tuple[int, ...]
    precisions: tuple[str, ...]
    groups: Mapping[int, int] = field(default_factory=dict)
    static: tuple[int, ...] = ()


@dataclass(frozen=True)
class QuantizedTensor:
    """A matrix in affine integer codes: ``weight = (codes - zero_points) * scales``.

    Attributes:
        codes: ``(rows, groups, group)`` uint8, each below ``2 ** bits``.
        scales: ``(rows, groups, 1)`` float16.
        zero_points: ``(rows, groups, 1)`` uint8, each below ``2 ** bits``.
        bits: Width of a code.
        reads: Range in which what it multiplies is rounded to 256 levels, or None where ranges are found at run time.
    """

    codes: torch.Tensor
    scales: torch.Tensor
    zero_points: torch.Tensor
    bits: int
    reads: tuple[float, float] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        rows, groups, group = self.codes.shape
        return rows, groups * group

    def rows(self, kept: torch.Tensor | None) -> QuantizedTensor:
        """Return only some rows (all where None): the codes of a row do not depend on the other rows."""
        if kept is None:
            return self
        return replace(self, codes=self.codes[kept], scales=self.scales[kept], zero_points=self.zero_points[kept])

    def dequantize(self) -> torch.Tensor:
        """Return the matrix as float32, ``(rows, columns)``."""
        centred = self.codes.to(torch.float32) - self.zero_points.to(torch.float32)
        return (centred * self.scales.to(torch.float32)).reshape(self.shape)


def as_floats(tensor: torch.Tensor | QuantizedTensor) -> torch.Tensor:
    """Return what a tensor or its codes stand for."""
    return tensor if isinstance(tensor, torch.Tensor) else tensor.dequantize()


@dataclass(frozen=True)
class Form:
    """What a parameter's bytes depend on.

    Attributes:
        bits: Width of a code; 16 and 32 are floating point.
        shape: Its shape.
        group: Columns that share a scale; 0 for floating point.
        static: Whether what it multiplies is rounded in a fixed range.
    """

    bits: int
    shape: tuple[int, ...]
    group: int = 0
    static: bool = False

    @classmethod
    def of(cls, tensor: torch.Tensor | QuantizedTensor) -> Form:
        """Return the form of a tensor."""
        if isinstance(tensor, QuantizedTensor):
            return cls(tensor.bits, tensor.shape, tensor.codes.shape[-1], tensor.reads is not None)
        return cls(16 if tensor.dtype == torch.float16 else 32, tuple(tensor.shape))


# Removes something from a module, in place.
Removal = Callable[[nn.Module], None]


@dataclass(frozen=True)
class Cut:
    """A prunable structure, as far as a target must know it.

    Attributes:
        producers: Names of the weights whose rows make the units.
        consumer: Name of the weight whose columns read them.
        units: Units of the dense module.
        remove_last: Removes one unit from a module, in place.
    """

    producers: tuple[str, ...]
    consumer: str
    units: int
    remove_last: Removal


@dataclass(frozen=True)
class CompressedModel:
    """A stitched configuration, ready to be lowered.

    Attributes:
        tensors: Every parameter by name: codes, float16 for 16 bits, float32 otherwise.
        kept: Units kept in each prunable structure, by its name; absent means all.
        precision: The inference precision.
        skipped: Names of the blocks that were removed whole.
    """

    tensors: Mapping[str, torch.Tensor | QuantizedTensor]
    kept: Mapping[str, int] = field(default_factory=dict)
    precision: str = "f32"
    skipped: frozenset[str] = frozenset()

    @property
    def reads(self) -> dict[str, tuple[float, float]]:
        """Ranges in which what weights multiply is rounded, by weight, where they are fixed."""
        codes = {name: tensor for name, tensor in self.tensors.items() if isinstance(tensor, QuantizedTensor)}
        return {name: tensor.reads for name, tensor in codes.items() if tensor.reads}
