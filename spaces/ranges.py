"""Activations rounded to 256 levels of a range that was fixed beforehand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

Range = tuple[float, float]
STEPS = 255


def fitted(low: float, high: float) -> Range:
    """Return the range that holds both ends and zero, moved so that zero is one of its levels.

    ``scale = (high - low) / 255`` and ``zero_point = round(-low / scale)`` (Jacob et al. 2018, "Quantization and
    Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", section 3).
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / STEPS or 1.0
    zero_point = round(-low / scale)
    # As files keep them: what is computed here is then what is computed from a file.
    return float(np.float32(-zero_point * scale)), float(np.float32((STEPS - zero_point) * scale))


def rounded_in(values: torch.Tensor, reads: Range) -> torch.Tensor:
    """Return values at the nearest levels of a range; gradients within it pass as if nothing had been rounded."""
    return _Rounded.apply(values, *reads)  # type: ignore[no-untyped-call, no-any-return]


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, low: float, high: float) -> torch.Tensor:
        scale = (high - low) / STEPS
        clipped = values.clamp(low, high)
        ctx.save_for_backward(clipped == values)
        return clipped.sub_(low).div_(scale).round_().mul_(scale).add_(low)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return torch.where(ctx.saved_tensors[0], gradient, 0), None, None


@contextmanager
def rounding(module: nn.Module, reads: Mapping[str, Range]) -> Iterator[None]:
    """Round what some linear layers read, by the names of their weights, while the context lasts."""
    handles = [
        module.get_submodule(name.removesuffix(".weight")).register_forward_pre_hook(_Rounds(ends))
        for name, ends in reads.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Rounds:
    def __init__(self, ends: Range) -> None:
        self._ends = ends

    def __call__(self, _layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (rounded_in(args[0], self._ends), *args[1:])
