"""What every mask must keep."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slimfront.spaces.masks import MASKS, Mask, Pattern

from tests.contracts.test_quantizer import drawn

ROWS, COLUMNS = 6, 32
values = st.one_of(st.floats(1e-6, 0.9999), st.sampled_from(["1:2", "2:4", "1:4", "4:8", "15:16"]))


def mask(name: str) -> Mask:
    return MASKS.get(name, where="x")()


@pytest.mark.parametrize("name", MASKS.names())
@pytest.mark.parametrize("known", [True, False], ids=["calibrated", "blind"])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), value=values)
def test_every_row_gets_its_zeros(name: str, known: bool, seed: int, value: float | str) -> None:
    weight, moment = drawn(seed)
    pattern = Pattern.of(value)
    assert pattern is not None
    found = mask(name).thin(weight, pattern, moment if known else None)
    zeros = found == 0
    assert found.shape == weight.shape and found.dtype == weight.dtype and torch.isfinite(found).all()
    assert (zeros.sum(1) == min(max(1, round(pattern.share * COLUMNS)), COLUMNS - 1)).all()
    if pattern.neighbours:
        stay = int(str(value).split(":")[0])
        assert ((~zeros).reshape(ROWS, -1, pattern.neighbours).sum(2) == stay).all()
    if not known:
        assert torch.equal(found[~zeros], weight[~zeros])


@pytest.mark.parametrize("name", MASKS.names())
def test_a_row_does_not_depend_on_the_others(name: str) -> None:
    weight, moment = drawn(3)
    pattern = Pattern(0.5)
    whole = mask(name).thin(weight, pattern, moment)
    assert torch.equal(mask(name).thin(weight[2:4], pattern, moment), whole[2:4])


@pytest.mark.parametrize("name", MASKS.names())
def test_inputs_that_are_always_zero_do_no_harm(name: str) -> None:
    weight, moment = drawn(4)
    moment[5], moment[:, 5] = 0, 0
    for given_moment in (moment, torch.zeros_like(moment)):
        assert torch.isfinite(mask(name).thin(weight, Pattern(0.5), given_moment)).all()
