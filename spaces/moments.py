"""What linear layers read: second moments and ranges of their inputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import torch
from torch import nn

LabelledBatch = tuple[Mapping[str, torch.Tensor], torch.Tensor]


class Statistic(Protocol):
    """Something gathered about what linear layers read."""

    def see(self, name: str, rows: torch.Tensor) -> None:
        """Take what a layer reads of some tokens, ``(tokens, columns)`` float32."""


class Moments:
    """The mean of ``x xᵀ`` over the tokens that each linear layer reads.

    Half the Hessian of the layer's squared output error after its weights (LeCun, Denker and Solla 1990, "Optimal Brain
    Damage"; Frantar et al. 2023, "GPTQ", section 3.1).
    """

    def __init__(self) -> None:
        self._totals: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = defaultdict(int)

    def see(self, name: str, rows: torch.Tensor) -> None:
        """See :meth:`Statistic.see`."""
        found = rows.T @ rows
        self._totals[name] = self._totals[name] + found if name in self._totals else found
        self._counts[name] += len(rows)

    def found(self) -> dict[str, torch.Tensor]:
        """Return the moments by layer, ``(columns, columns)`` float32; nothing more is seen afterwards."""
        return {name: total.div_(max(self._counts[name], 1)) for name, total in self._totals.items()}


class Ranges:
    """The least and the largest value of each column that a linear layer reads."""

    def __init__(self) -> None:
        self._ends: dict[str, torch.Tensor] = {}

    def see(self, name: str, rows: torch.Tensor) -> None:
        """See :meth:`Statistic.see`."""
        if len(rows):
            low, high = torch.aminmax(rows, dim=0)
            before = self._ends.get(name, torch.stack([low, high]))
            self._ends[name] = torch.stack([torch.minimum(low, before[0]), torch.maximum(high, before[1])])

    def found(self) -> dict[str, torch.Tensor]:
        """Return the ends by layer, ``(2, columns)`` float32."""
        return self._ends


def watch(
    module: nn.Module, names: Sequence[str], batches: Iterable[LabelledBatch], statistics: Sequence[Statistic]
) -> None:
    """Show what linear layers read to some statistics; padding is left out.

    Args:
        module: The dense model.
        names: Names of the linear layers.
        batches: Inputs ``(rows, tokens)`` and labels, which are not read.
        statistics: Who is to see it.
    """
    real: list[torch.Tensor] = []

    def reads(name: str) -> Callable[..., None]:
        def hook(_layer: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            read = args[0].detach()
            mask = real[0]
            rows = read[mask] if read.shape[:2] == mask.shape else read.reshape(-1, read.shape[-1])
            for statistic in statistics:
                statistic.see(name, rows.float())

        return hook

    handles = [module.get_submodule(name).register_forward_pre_hook(reads(name)) for name in names]
    try:
        with torch.no_grad():
            for inputs, _labels in batches:
                real[:] = [inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])).bool()]
                module(**inputs)
    finally:
        for handle in handles:
            handle.remove()


def second_moments(
    module: nn.Module, names: Sequence[str], batches: Iterable[LabelledBatch]
) -> dict[str, torch.Tensor]:
    """Return the second moments of what some linear layers read; see :func:`watch` and :class:`Moments`."""
    watch(module, names, batches, [moments := Moments()])
    return moments.found()
