from __future__ import annotations

import numpy as np
import pytest
import torch
from slimfront.spaces.criteria import CRITERIA
from slimfront.spaces.criteria.surgeon import _prices
from slimfront.spaces.moments import second_moments
from slimfront.spaces.repair import DAMPING, damped, repaired
from slimfront.spaces.structure import Structure, walk
from torch.nn import functional

from tests.conftest import example_inputs, make_encoder

MODULE, INPUTS, LABELS = make_encoder("bert"), example_inputs(), torch.tensor([0, 1])
STRUCTURES = walk(MODULE, INPUTS).structures


def what_is_read(structure: Structure) -> torch.Tensor:
    """Return what the structure's reader reads, ``(rows, tokens, columns)``."""
    seen = []
    layer = MODULE.get_submodule(structure.consumer)
    handle = layer.register_forward_pre_hook(lambda _layer, args: seen.append(args[0].detach()))
    with torch.no_grad():
        MODULE(**INPUTS)
    handle.remove()
    return seen[0]


def scored(name: str, structure: Structure) -> torch.Tensor:
    return CRITERIA.get(name, where="x")().scores(MODULE, [structure], [(INPUTS, LABELS)])[structure.name]


def test_second_moments_leave_padding_out() -> None:
    structure = STRUCTURES[0]
    read = what_is_read(structure)[INPUTS["attention_mask"].bool()].double()
    found = second_moments(MODULE, [structure.consumer], [(INPUTS, LABELS), (INPUTS, LABELS)])[structure.consumer]
    assert len(read) == 15 and torch.allclose(found.double(), read.T @ read / len(read), atol=1e-5)


@pytest.mark.parametrize("structure", STRUCTURES[:2], ids=lambda structure: structure.kind)
def test_wanda_by_hand(structure: Structure) -> None:
    read = what_is_read(structure)[INPUTS["attention_mask"].bool()]
    weight, size = structure.reader(MODULE).detach(), structure.size
    columns = (weight.abs() * read.square().mean(0).sqrt()).sum(0)
    expected = [float(columns[unit * size : (unit + 1) * size].sum()) for unit in range(structure.units)]
    assert scored("wanda", structure).tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("structure", STRUCTURES[:2], ids=lambda structure: structure.kind)
def test_fisher_is_the_squared_slope_after_a_mask(structure: Structure) -> None:
    mask = torch.ones(structure.units, requires_grad=True)
    layer = MODULE.get_submodule(structure.consumer)
    handle = layer.register_forward_pre_hook(lambda _layer, args: (args[0] * mask.repeat_interleave(structure.size),))
    squares = torch.zeros(structure.units)
    for row in range(2):
        logits = MODULE(**{name: value[row : row + 1] for name, value in INPUTS.items()}).logits
        (slope,) = torch.autograd.grad(functional.cross_entropy(logits, LABELS[row : row + 1]), [mask])
        squares += slope**2
    handle.remove()
    assert scored("fisher", structure).tolist() == pytest.approx((squares / 2).tolist(), rel=1e-3, abs=1e-12)


def drawn(columns: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    read = torch.randn(300, columns, generator=generator) @ torch.randn(columns, columns, generator=generator)
    return torch.randn(10, columns, generator=generator), read.T @ read / len(read)


def lost(weight: torch.Tensor, moment: torch.Tensor, kept: list[int]) -> float:
    """Return the squared error that the best weights leave on some columns, found by plain least squares."""
    wide = moment.double().numpy()
    wide = wide + DAMPING * np.diag(wide).mean() * np.eye(len(wide))
    root = np.linalg.cholesky(wide).T
    target = root @ weight.double().numpy().T
    best = np.linalg.lstsq(root[:, kept], target, rcond=None)[0]
    return float(((target - root[:, kept] @ best) ** 2).sum())


@pytest.mark.parametrize("size", [1, 4])
def test_surgeon_pays_what_least_squares_leave(size: int) -> None:
    weight, moment = drawn(24)
    prices = _prices(weight, moment, size)
    order = prices.argsort().tolist()
    gone: list[int] = []
    for unit in order[:-1]:
        # Greedy: nothing else would have been cheaper at this step.
        costs = {}
        for other in (u for u in range(24 // size) if u not in gone):
            out = {*gone, other}
            kept = [c for c in range(24) if c // size not in out]
            costs[other] = lost(weight, moment, kept)
        assert costs[unit] == pytest.approx(min(costs.values()), rel=1e-6)
        assert float(prices[unit]) == pytest.approx(costs[unit], rel=1e-3)
        gone.append(unit)


def test_many_units_go_in_few_steps_at_nearly_the_same_price() -> None:
    weight, moment = drawn(256, 1)
    order = _prices(weight, moment, 1).argsort().tolist()
    alone = lost(weight, moment, sorted(order[128:]))
    magnitude = (weight.abs() * moment.diagonal().sqrt()).sum(0).argsort().tolist()
    assert alone < 0.9 * lost(weight, moment, sorted(magnitude[128:]))


def test_repair_is_least_squares() -> None:
    weight, moment = drawn(24, 2)
    kept = torch.tensor([0, 3, 4, 9, 17, 23])
    found = repaired(weight, moment, kept)
    change = -weight.double()
    change[:, kept] += found.double()
    assert float((change @ damped(moment) * change).sum()) == pytest.approx(
        lost(weight, moment, kept.tolist()), rel=1e-5
    )
    everything = torch.arange(24)
    assert torch.allclose(repaired(weight, moment, everything), weight, atol=1e-4)


def test_repair_survives_inputs_that_are_always_zero() -> None:
    weight, moment = drawn(8, 3)
    moment[2], moment[:, 2] = 0, 0
    for given in (moment, torch.zeros_like(moment)):
        assert torch.isfinite(repaired(weight, given, torch.tensor([0, 2, 5]))).all()
