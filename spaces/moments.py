"""What linear layers read: second moments of their inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import nn

LabelledBatch = tuple[Mapping[str, torch.Tensor], torch.Tensor]


def second_moments(
    module: nn.Module, names: Sequence[str], batches: Iterable[LabelledBatch]
) -> dict[str, torch.Tensor]:
    """Return the mean of ``x xᵀ`` over the tokens that each linear layer reads, ``(columns, columns)`` float32.

    Half the Hessian of the layer's squared output error after its weights (LeCun, Denker and Solla 1990, "Optimal Brain
    Damage"; Frantar et al. 2023, "GPTQ", section 3.1). Padding does not count.

    Args:
        module: The dense model.
        names: Names of the linear layers.
        batches: Inputs ``(rows, tokens)`` and labels, which are not read.
    """
    totals: dict[str, torch.Tensor] = {}
    counts = dict.fromkeys(names, 0)
    real: list[torch.Tensor] = []

    def reads(name: str) -> Callable[..., None]:
        def hook(_layer: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            read = args[0].detach()
            mask = real[0]
            rows = read[mask] if read.shape[:2] == mask.shape else read.reshape(-1, read.shape[-1])
            found = rows.float().T @ rows.float()
            totals[name] = totals[name] + found if name in totals else found
            counts[name] += len(rows)

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
    return {name: total / max(counts[name], 1) for name, total in totals.items()}
