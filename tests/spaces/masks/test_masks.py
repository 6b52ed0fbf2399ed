from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from slimfront.spaces.masks import MASKS, Pattern
from slimfront.spaces.masks.sparsegpt import BLOCK
from slimfront.spaces.repair import DAMPING, damped

Matrix = npt.NDArray[np.float64]


def drawn(columns: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    read = torch.randn(400, columns, generator=generator) @ torch.randn(columns, columns, generator=generator)
    return torch.randn(5, columns, generator=generator), read.T @ read / len(read)


def test_wanda_by_hand() -> None:
    weight = torch.tensor([[3.0, -1.0, 2.0, 0.5]])
    moment = torch.diag(torch.tensor([0.01, 4.0, 1.0, 9.0]))
    # 0.3, 2, 2, 1.5: the largest weight goes first.
    found = MASKS.get("wanda", where="x")().thin(weight, Pattern(0.5), moment)
    assert found.tolist() == [[0.0, -1.0, 2.0, 0.0]]
    assert MASKS.get("magnitude", where="x")().thin(weight, Pattern(0.5), moment).tolist() == [[3.0, 0.0, 2.0, 0.0]]


def surgeon(weight: Matrix, moment: Matrix, width: int, gone: int) -> Matrix:
    """Go from left to right, each time with the inverse of what is left: slow, from the paper's section 3."""
    hessian = moment + DAMPING * np.diag(moment).mean() * np.eye(len(moment))
    left = weight.copy()
    for first in range(0, left.shape[1], width):
        ends = [np.linalg.inv(hessian[j:, j:]) for j in range(first, first + width)]
        # The price of a weight: its square over its entry of the inverse that belongs to its turn.
        prices = np.stack([left[:, first + n] ** 2 / inverse[0, 0] for n, inverse in enumerate(ends)], axis=1)
        chosen = np.argsort(prices, axis=1, kind="stable")[:, :gone]
        for n, inverse in enumerate(ends):
            for row in range(len(left)):
                if n in chosen[row]:
                    left[row, first + n :] -= left[row, first + n] / inverse[0, 0] * inverse[0]
                    left[row, first + n] = 0.0
    return left


@pytest.mark.parametrize(("columns", "pattern"), [(BLOCK, Pattern(0.5)), (24, Pattern(0.5, 4)), (256, Pattern(0.25))])
def test_sparsegpt_is_what_its_paper_says(columns: int, pattern: Pattern) -> None:
    weight, moment = drawn(columns)
    width = pattern.neighbours or BLOCK
    expected = surgeon(weight.double().numpy(), moment.double().numpy(), width, round(pattern.share * width))
    found = MASKS.get("sparsegpt", where="x")().thin(weight, pattern, moment)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pattern", [Pattern(0.5), Pattern(0.75), Pattern(0.5, 4)])
def test_what_is_mended_and_what_is_weighed_loses_less(pattern: Pattern) -> None:
    weight, moment = drawn(256, 1)
    errors = []
    for name in ("sparsegpt", "wanda", "magnitude"):
        change = (MASKS.get(name, where="x")().thin(weight, pattern, moment) - weight).double()
        errors.append(float((change @ damped(moment) * change).sum()))
    assert errors[0] < 0.85 * errors[1] and errors[1] < errors[2]


def test_what_is_left_over_of_neighbours_keeps_as_many_as_a_whole_group() -> None:
    prices = torch.arange(10.0).repeat(2, 1)
    assert Pattern(0.5, 4).cheapest(prices)[0].int().tolist() == [1, 1, 0, 0, 1, 1, 0, 0, 0, 0]
    assert Pattern(0.75, 8).cheapest(prices[:, :7])[0].int().tolist() == [1, 1, 1, 1, 1, 0, 0]
