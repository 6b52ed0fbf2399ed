from __future__ import annotations

import pytest
import torch
from slimfront.studies import training
from slimfront.studies.training import adamw, half_precision
from torch.nn import functional


@pytest.mark.parametrize("bf16", [True, False])
def test_products_are_in_half_precision_and_attention_is_not(bf16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "multiplies_bf16", lambda: bf16)
    states = torch.randn(1, 2, 5, 8, requires_grad=True)
    with half_precision():
        product = functional.linear(states, torch.randn(4, 8))
        half = states.to(product.dtype)
        mixed = functional.scaled_dot_product_attention(half, half, value=half)
    assert product.dtype == (torch.bfloat16 if bf16 else torch.float32) and mixed.dtype == torch.float32
    exact = half.float()
    assert torch.equal(mixed, functional.scaled_dot_product_attention(exact, exact, exact))
    mixed.sum().backward()
    assert states.grad is not None and functional.linear(states, torch.randn(4, 8)).dtype == torch.float32


def test_the_optimizer_is_adamw() -> None:
    given = torch.randn(3, 4)
    fused, plain = (given.clone().requires_grad_() for _ in range(2))
    optimizers = (adamw([fused], 1e-2), torch.optim.AdamW([plain], lr=1e-2))
    for step in range(3):
        for weight, optimizer in zip((fused, plain), optimizers, strict=True):
            weight.grad = torch.full_like(weight, 0.1 * step) + given
            optimizer.step()
    torch.testing.assert_close(fused, plain)
