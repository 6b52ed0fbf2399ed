"""Modules that really are what a draft says."""

from __future__ import annotations

import pytest
import torch
from slimfront.spaces.assembly import assembled
from slimfront.spaces.student import run
from slimfront.studies.compressed import as_floats

from tests.search.export.small import compressed


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_an_assembled_module_computes_what_its_draft_does(kind: str) -> None:
    model = compressed(kind, units=True, block=True)
    before = {name: value.clone() for name, value in model.dense.state_dict().items()}
    module = assembled(model.dense, model.draft, model.model.tensors)
    values = {name: as_floats(tensor).float() for name, tensor in model.model.tensors.items()}
    assert {name: value.shape for name, value in module.named_parameters()} == {n: v.shape for n, v in values.items()}
    with torch.no_grad():
        expected = run(model.dense, model.draft, values, model.example).logits
        assert torch.equal(module(**model.example).logits, expected)
    assert all(torch.equal(value, before[name]) for name, value in model.dense.state_dict().items())
