"""Diagonal Fisher information of the units' masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from slimfront.spaces.criteria.criterion import CRITERIA, Criterion, LabelledBatch
from slimfront.spaces.structure import Structure
from torch import nn
from torch.nn import functional


@CRITERIA.register("fisher")
class Fisher(Criterion):
    """Second-order change of the loss when a unit is masked, curvature by the empirical Fisher information.

    The score is the mean over sentences of ``(dL/dm)**2`` at ``m = 1``, where ``m`` scales what the unit gives to its
    reader and ``L`` is the cross-entropy (Kwon et al. 2022, "A Fast Post-Training Pruning Framework for Transformers",
    equation 6). ``dL/dm`` is the sum over tokens and channels of value times gradient.
    """

    def scores(
        self, module: nn.Module, structures: Sequence[Structure], batches: Iterable[LabelledBatch]
    ) -> dict[str, torch.Tensor]:
        """See :meth:`Criterion.scores`."""
        totals = {s.name: torch.zeros(s.units) for s in structures}
        count = 0
        read: dict[str, torch.Tensor] = {}
        handles = [module.get_submodule(s.consumer).register_forward_pre_hook(_keep(read, s.name)) for s in structures]
        try:
            for inputs, labels in batches:
                loss = functional.cross_entropy(module(**inputs).logits.float(), labels, reduction="sum")
                slopes = torch.autograd.grad(loss, [read[s.name] for s in structures])
                for structure, slope in zip(structures, slopes, strict=True):
                    moved = (slope * read[structure.name].detach()).reshape(
                        len(labels), -1, structure.units, structure.size
                    )
                    totals[structure.name] += moved.sum((1, 3)).square().sum(0)
                count += len(labels)
        finally:
            for handle in handles:
                handle.remove()
        return {name: total / max(count, 1) for name, total in totals.items()}


def _keep(read: dict[str, torch.Tensor], name: str) -> Callable[..., None]:
    def hook(_layer: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        read[name] = args[0]

    return hook
