"""What every quantizer must keep."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slimfront.spaces.quantizers import QUANTIZERS, Quantizer
from slimfront.studies.compressed import QuantizedTensor

ROWS, COLUMNS = 6, 32


def quantizer(name: str) -> Quantizer:
    return QUANTIZERS.get(name, where="x")()


def drawn(seed: int, scale: float = 1.0, shift: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weights, and second moments of inputs whose channels go together."""
    generator = torch.Generator().manual_seed(seed)
    weight = (torch.randn(ROWS, COLUMNS, generator=generator) + shift) * scale
    mixed = torch.randn(200, 8, generator=generator) @ torch.randn(8, COLUMNS, generator=generator)
    read = mixed + 0.3 * torch.randn(200, COLUMNS, generator=generator)
    return weight, read.T @ read / len(read)


def parts(tensor: QuantizedTensor) -> list[list[int] | list[float]]:
    return [part.flatten().tolist() for part in (tensor.codes, tensor.scales, tensor.zero_points)]


anything = given(
    seed=st.integers(0, 10_000),
    bits=st.sampled_from([2, 3, 4, 6, 8]),
    group=st.sampled_from([8, 16, 32]),
    scale=st.floats(0.05, 100),
    shift=st.floats(-3, 3),
)


@pytest.mark.parametrize("name", QUANTIZERS.names())
@settings(max_examples=40, deadline=None)
@anything
def test_codes_stand_for_the_weights(name: str, seed: int, bits: int, group: int, scale: float, shift: float) -> None:
    weight, moment = drawn(seed, scale, shift)
    found = quantizer(name).quantize(weight, bits, group, moment)
    assert int(found.codes.max()) < 2**bits and int(found.zero_points.max()) < 2**bits
    assert found.codes.shape == (ROWS, COLUMNS // group, group) and found.bits == bits
    assert found.scales.shape == found.zero_points.shape == (ROWS, COLUMNS // group, 1)
    assert found.scales.dtype == torch.float16 and (found.scales > 0).all()
    # The range of a whole row bounds any step; symmetric ranges are up to twice as wide, and errors up to one step.
    reach = torch.maximum(weight.amax(1).clamp_min(0) - weight.amin(1).clamp_max(0), 2 * weight.abs().amax(1))
    if not quantizer(name).calibrated:
        assert (found.scales.float().amax((1, 2)) <= 1.01 * reach / (2**bits - 1)).all()
        assert ((found.dequantize() - weight).abs() <= 0.55 * reach[:, None]).all()


@pytest.mark.parametrize("name", QUANTIZERS.names())
def test_a_row_does_not_depend_on_the_others(name: str) -> None:
    weight, moment = drawn(3)
    whole = quantizer(name).quantize(weight, 3, 16, moment)
    assert parts(quantizer(name).quantize(weight[2:4], 3, 16, moment)) == parts(whole.rows(torch.tensor([2, 3])))


@pytest.mark.parametrize("name", QUANTIZERS.names())
def test_zero_is_exact_and_constants_survive(name: str) -> None:
    assert torch.equal(quantizer(name).quantize(torch.zeros(2, 32), 4, 32).dequantize(), torch.zeros(2, 32))
    weight = torch.randn(4, 32)
    weight[:, ::2] = 0
    assert torch.equal(quantizer(name).quantize(weight, 4, 32).dequantize()[:, ::2], torch.zeros(4, 16))
    weight, moment = drawn(7, shift=1.0)
    weight[weight.abs() < 0.8] = 0
    for bits in (2, 4, 8):
        found = quantizer(name).quantize(weight, bits, 16, moment).dequantize()
        assert (found[weight == 0] == 0).all() and (found != 0).any()


@pytest.mark.parametrize("name", QUANTIZERS.names())
def test_inputs_that_are_always_zero_do_no_harm(name: str) -> None:
    weight, moment = drawn(4)
    moment[5], moment[:, 5] = 0, 0
    for given_moment in (moment, torch.zeros_like(moment)):
        found = quantizer(name).quantize(weight, 4, 8, given_moment).dequantize()
        assert torch.isfinite(found).all() and (found - weight).abs().mean() < 0.2
