from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slimfront.spaces.quantizers import QUANTIZERS
from slimfront.spaces.quantizers.hqq import NORM, SAME, zero_point
from slimfront.spaces.repair import DAMPING
from slimfront.studies.compressed import QuantizedTensor

from tests.contracts.test_quantizer import anything, drawn


def made(name: str, weight: torch.Tensor, bits: int, group: int, moment: torch.Tensor | None = None) -> QuantizedTensor:
    return QUANTIZERS.get(name, where="x")().quantize(weight, bits, group, moment)


@pytest.mark.parametrize("name", ["affine", "symmetric"])
@settings(max_examples=60, deadline=None)
@anything
def test_error_is_at_most_half_a_step(name: str, seed: int, bits: int, group: int, scale: float, shift: float) -> None:
    weight, _ = drawn(seed, scale, shift)
    found = made(name, weight, bits, group)
    step = found.scales.float().expand(*found.codes.shape).reshape(weight.shape)
    # The zero point is rounded too, and the scale to float16: one step bounds both.
    assert ((found.dequantize() - weight).abs() <= step * 1.01 + 2**bits * step * 1e-3).all()


def test_affine_by_hand() -> None:
    weight = torch.tensor([[-1.0, 0.0, 1.0, 2.0]])
    found = made("affine", weight, 2, 4)
    assert found.scales.item() == 1.0 and found.zero_points.item() == 1
    assert found.codes.flatten().tolist() == [0, 1, 2, 3]
    assert torch.equal(found.dequantize(), weight)


def test_symmetric_by_hand() -> None:
    found = made("symmetric", torch.tensor([[-3.0, 0.0, 1.0, 3.5]]), 3, 4)
    assert found.scales.item() == 1.0 and found.zero_points.item() == 4
    assert found.codes.flatten().tolist() == [1, 4, 5, 7]


@settings(max_examples=40, deadline=None)
@anything
def test_least_squares_are_never_more(seed: int, bits: int, group: int, scale: float, shift: float) -> None:
    weight, _ = drawn(seed, scale, shift)
    errors = [
        ((made(name, weight, bits, group).dequantize() - weight) ** 2).reshape(-1, group).sum(1)
        for name in ("affine", "affine-mse")
    ]
    assert (errors[1] <= errors[0] * (1 + 1e-5) + 1e-12).all()


@settings(max_examples=40, deadline=None)
@anything
def test_hqq_is_never_worse_in_its_norm(seed: int, bits: int, group: int, scale: float, shift: float) -> None:
    weight, _ = drawn(seed, scale, shift)
    lost = [
        ((made(name, weight, bits, group).dequantize() - weight).abs() ** NORM).reshape(-1, group).sum(1)
        for name in ("affine", "hqq")
    ]
    assert (lost[1] <= lost[0] * (1 + 1e-4) + 1e-9).all()


def test_hqq_moves_zero_points_as_the_authors_iteration_does() -> None:
    """Written out in numpy for one group at a time, from the equations of the paper and its stopping rule."""
    weight = drawn(11)[0].double().reshape(-1, 1, 16)
    low, high = weight.amin(-1, keepdim=True), weight.amax(-1, keepdim=True)
    scales = (high - low) / 7
    found = zero_point(weight, scales, -low / scales, 3)
    for row in range(len(weight)):
        w, scale, best = weight[row, 0].numpy(), float(scales[row]), np.inf
        zero, beta = float(-low[row] / scales[row]), 10.0
        for _ in range(20):
            codes = np.clip(np.round(w / scale + zero), 0, 7)
            error = w - (codes - zero) * scale
            size = np.abs(error)
            sparse = np.sign(error) * np.maximum(size - np.maximum(size, 1e-12) ** (0.7 - 1) / beta, 0)
            zero, beta = float(np.mean(codes - (w - sparse) / scale)), beta * 1.01
            if size.mean() >= best * SAME:
                break
            best = size.mean()
        assert found[row].item() == pytest.approx(zero, abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), bits=st.sampled_from([2, 3, 4, 8]), group=st.sampled_from([8, 32]))
def test_gptq_is_the_plain_algorithm(seed: int, bits: int, group: int) -> None:
    """Algorithm 1 of the paper without its blocks: every column updates all that follow, in float64 numpy."""
    weight, moment = drawn(seed)
    found = made("gptq", weight, bits, group, moment)
    wide = moment.double().numpy()
    upper = np.linalg.cholesky(np.linalg.inv(wide + DAMPING * np.diag(wide).mean() * np.eye(len(wide)))).T
    left = weight.double().numpy().copy()
    scales, points = (part.double().numpy()[:, :, 0] for part in (found.scales, found.zero_points))
    codes = found.codes.reshape(weight.shape).double().numpy()
    for column in range(left.shape[1]):
        scale, point = scales[:, column // group], points[:, column // group]
        exact = left[:, column] / scale + point
        expected = np.clip(np.round(exact), 0, 2**bits - 1)
        # A weight halfway between two codes may go either way.
        assert (np.abs(expected - codes[:, column]) <= (np.abs(exact % 1 - 0.5) < 1e-5)).all()
        error = (left[:, column] - (codes[:, column] - point) * scale) / upper[column, column]
        left[:, column + 1 :] -= error[:, None] * upper[column, column + 1 :]


def test_gptq_changes_the_output_less_than_rounding() -> None:
    for seed in range(5):
        weight, moment = drawn(seed)
        errors = []
        for name in ("affine", "gptq"):
            lost = made(name, weight, 3, 16, moment).dequantize() - weight
            errors.append(float((lost @ moment * lost).sum()))
        assert errors[1] < 0.6 * errors[0]
