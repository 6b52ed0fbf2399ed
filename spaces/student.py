"""A draft that is run, and trained, on the dense module's own code: parameters are swapped, nothing is copied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from slimfront.spaces.blocks import skipped
from slimfront.spaces.draft import Codes, Draft
from slimfront.spaces.quantizers.affine import nearest, nearest_levels
from slimfront.spaces.ranges import Range, rounding
from slimfront.studies.compressed import CompressedModel, QuantizedTensor
from torch import nn
from torch.func import functional_call

Inputs = Mapping[str, torch.Tensor]
Values = Mapping[str, torch.Tensor]


def run(
    module: nn.Module, draft: Draft, values: Values, inputs: Inputs, reads: Mapping[str, Range] = MappingProxyType({})
) -> Any:
    """Return what ``module`` computes with a draft's parameters in place of its own.

    Args:
        module: The dense module; it is left as it was.
        draft: Says which units are left.
        values: Parameters by name, of the shapes that the draft gives them.
        inputs: Keywords of the module's ``forward``, ``(rows, tokens)`` each.
        reads: Ranges in which what linear layers read is rounded, by weight.
    """
    with _shaped(module, draft), rounding(module, reads):
        return functional_call(module, dict(values), kwargs=dict(inputs))


@contextmanager
def _shaped(module: nn.Module, draft: Draft) -> Iterator[None]:
    before: list[tuple[nn.Module, str, int]] = []
    kept = draft.kept
    try:
        for structure in draft.anatomy.structures:
            for path, attribute, value in structure.attributes(kept.get(structure.name, structure.units)):
                part = module.get_submodule(path)
                before.append((part, attribute, getattr(part, attribute)))
                setattr(part, attribute, value)
        with skipped(module, draft.gone()):
            yield
    finally:
        for part, attribute, value in reversed(before):
            setattr(part, attribute, value)


def straight_through(weight: torch.Tensor, grid: QuantizedTensor) -> torch.Tensor:
    """Return a weight rounded to a grid; its gradient is passed on as if nothing had been rounded.

    The straight-through estimator (Bengio, Leonard and Courville 2013, "Estimating or Propagating Gradients Through
    Stochastic Neurons for Conditional Computation", section 4).

    Args:
        weight: ``(rows, columns)``.
        grid: Scales and zero points; its codes are not read.
    """
    return _Passed.apply(weight, grid)  # type: ignore[no-untyped-call, no-any-return]


class _Passed(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, weight: torch.Tensor, grid: QuantizedTensor) -> torch.Tensor:
        # What :func:`rounded` stands for, without its integers: this is done for every weight in every step.
        scales, zero_points = grid.scales.float(), grid.zero_points.float()
        levels = nearest_levels(weight.reshape(grid.codes.shape), scales, zero_points, grid.bits)
        return levels.sub_(zero_points).mul_(scales).reshape(weight.shape)

    @staticmethod
    def backward(_ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient, None


def rounded(weight: torch.Tensor, grid: QuantizedTensor) -> QuantizedTensor:
    """Return a weight in the nearest codes of a grid."""
    codes = nearest(weight.reshape(grid.codes.shape), grid.scales, grid.zero_points, grid.bits)
    return replace(grid, codes=codes)


class Student:
    """A stitched model in training: removed units stay away, and codes are trained under their own grid.

    Behind each trained code stands a float: the stitched weight itself where its nearest code is the bank's, else what
    the bank's code stands for, so that training begins at the bank's codes whichever quantizer made them.

    Args:
        module: The module whose parameters were stitched.
        draft: What is made of it.
        codes: The bank's.
        fixed: Names of parameters that are not trained.

    Attributes:
        trained: The floats that are trained, by parameter name.
    """

    def __init__(self, module: nn.Module, draft: Draft, codes: Codes, fixed: frozenset[str]) -> None:
        self.module, self.draft = module, draft
        self._stitched = draft.stitch(module, codes)
        floats = draft.floats(module, codes, frozenset(dict(module.named_parameters())) - fixed)
        self._masks = {name: (floats[name] != 0).float() for name in floats if name in draft.zeros}
        self.trained = {name: _start(floats[name], self._stitched.tensors[name]) for name in floats}
        rest = {name: value for name, value in self._stitched.tensors.items() if name in fixed}
        self._fixed = {n: v.dequantize() if isinstance(v, QuantizedTensor) else v.float() for n, v in rest.items()}

    def __call__(self, inputs: Inputs) -> Any:
        """Return the module's output, ``logits`` among it, differentiable after :attr:`trained`."""
        values = self._fixed | {name: self._effective(name) for name in self.trained}
        return run(self.module, self.draft, values, inputs, self._stitched.reads)

    def _weight(self, name: str) -> torch.Tensor:
        """Return a float weight in which zeros stay zeros."""
        return self.trained[name] * self._masks[name] if name in self._masks else self.trained[name]

    def _effective(self, name: str) -> torch.Tensor:
        grid, weight = self._stitched.tensors[name], self._weight(name)
        return straight_through(weight, grid) if isinstance(grid, QuantizedTensor) else weight

    def compressed(self) -> CompressedModel:
        """Return the trained model in codes: what :meth:`__call__` computes; 16-bit weights are rounded only here."""
        tensors = dict(self._stitched.tensors)
        for name in self.trained:
            stitched, weight = tensors[name], self._weight(name).detach()
            coded = isinstance(stitched, QuantizedTensor)
            tensors[name] = rounded(weight, stitched) if coded else weight.to(stitched.dtype)  # type: ignore[arg-type, union-attr]
        return replace(self._stitched, tensors=tensors)


def _start(weight: torch.Tensor, stitched: torch.Tensor | QuantizedTensor) -> torch.Tensor:
    start = weight.detach().float().clone()
    if isinstance(stitched, QuantizedTensor):
        same = (rounded(start, stitched).codes == stitched.codes).reshape(start.shape)
        start = torch.where(same, start, stitched.dequantize())
    return start.requires_grad_(True)
