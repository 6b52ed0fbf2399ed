"""What is looked at stands for the divergence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from slimfront.search.sensitivity import _looks


@pytest.mark.parametrize("classes", [2, 3])
def test_looks_count_together_what_every_class_does(classes: int) -> None:
    """To second order the divergence is half of ``sum_c p_c <d log p_c, D>^2``, for each sentence."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, classes, generator=generator).double().requires_grad_()
    change = torch.randn(5, classes, generator=generator).double()

    def moved(total: torch.Tensor) -> torch.Tensor:
        (slope,) = torch.autograd.grad(total, logits, retain_graph=True)
        return (slope * change).sum(1) ** 2

    found = logits.log_softmax(-1)
    looks = _looks(found, np.random.default_rng(0))
    assert len(looks) == (1 if classes == 2 else classes)
    counted = torch.stack([counts * moved(total) for total, counts in looks]).sum(0)
    every = torch.stack([found[:, c].detach().exp() * moved(found[:, c].sum()) for c in range(classes)]).sum(0)
    assert torch.allclose(counted.detach(), every, rtol=1e-9)
    # And that is what a small change costs.
    step = 1e-3
    after = (logits + step * change).log_softmax(-1)
    divergence = (found.exp() * (found - after)).sum(1) / step**2
    assert torch.allclose(divergence, every / 2, rtol=0.02)
