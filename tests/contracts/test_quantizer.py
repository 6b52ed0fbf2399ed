"""What every quantizer must keep."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slimfront.spaces.quantizers import QUANTIZERS


@pytest.mark.parametrize("name", QUANTIZERS.names())
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    bits=st.sampled_from([2, 3, 4, 6, 8]),
    group=st.sampled_from([8, 16, 32]),
    scale=st.floats(0.05, 100),
    shift=st.floats(-3, 3),
)
def test_error_is_at_most_half_a_step(name: str, seed: int, bits: int, group: int, scale: float, shift: float) -> None:
    weight = (torch.randn(6, 32, generator=torch.Generator().manual_seed(seed)) + shift) * scale
    found = QUANTIZERS.get(name, where="x")().quantize(weight, bits, group)
    assert int(found.codes.max()) < 2**bits and int(found.zero_points.max()) < 2**bits
    assert found.codes.shape == (6, 32 // group, group)
    step = found.scales.float().expand(6, 32 // group, group).reshape(6, 32)
    # The zero point is rounded too, and the scale to float16: one step bounds both.
    assert ((found.dequantize() - weight).abs() <= step * 1.01 + 2**bits * step * 1e-3).all()


@pytest.mark.parametrize("name", QUANTIZERS.names())
def test_zero_is_exact_and_constants_survive(name: str) -> None:
    quantizer = QUANTIZERS.get(name, where="x")()
    assert torch.equal(quantizer.quantize(torch.zeros(2, 32), 4, 32).dequantize(), torch.zeros(2, 32))
    weight = torch.randn(4, 32)
    weight[:, ::2] = 0
    assert torch.equal(quantizer.quantize(weight, 4, 32).dequantize()[:, ::2], torch.zeros(4, 16))


def test_affine_by_hand() -> None:
    weight = torch.tensor([[-1.0, 0.0, 1.0, 2.0]])
    found = QUANTIZERS.get("affine", where="x")().quantize(weight, 2, 4)
    assert found.scales.item() == 1.0 and found.zero_points.item() == 1
    assert found.codes.flatten().tolist() == [0, 1, 2, 3]
    assert torch.equal(found.dequantize(), weight)
