"""What every criterion must keep."""

from __future__ import annotations

import pytest
import torch
from slimfront.spaces.criteria import CRITERIA
from slimfront.spaces.structure import walk

from tests.conftest import example_inputs, make_encoder


@pytest.mark.parametrize("name", CRITERIA.names())
def test_dead_units_score_lowest(name: str) -> None:
    module, inputs = make_encoder("bert"), example_inputs()
    anatomy = walk(module, inputs)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    for structure in anatomy.structures:
        with torch.no_grad():
            structure.reader(module)[:, : structure.size] = 0
    changed = {key: value.clone() for key, value in module.state_dict().items()}
    scores = CRITERIA.get(name, where="x")().scores(module, anatomy.structures, [(inputs, torch.tensor([0, 1]))])
    for structure in anatomy.structures:
        found = scores[structure.name]
        assert found.shape == (structure.units,) and (found >= 0).all()
        assert found[0] == 0 and found[1:].max() > 0
    assert before.keys() == changed.keys()
    assert all(torch.equal(value, changed[key]) for key, value in module.state_dict().items())


def test_gradient_weight_by_hand() -> None:
    module, inputs = make_encoder("bert"), example_inputs()
    structure = next(s for s in walk(module, inputs).structures if s.kind == "neurons")
    labels = torch.tensor([0, 1])
    scores = CRITERIA.get("gradient-weight", where="x")().scores(module, [structure], [(inputs, labels)])
    module.zero_grad()
    torch.nn.functional.cross_entropy(module(**inputs).logits, labels).backward()
    weight = structure.reader(module)
    assert weight.grad is not None
    expected = (weight.grad[:, 7] * weight[:, 7]).sum().abs().item()
    assert scores[structure.name][7].item() == pytest.approx(expected, rel=1e-4)
