from __future__ import annotations

import copy

import pytest
import torch
from slimfront.spaces.structure import walk

from tests.conftest import DECODERS, ENCODERS, example_inputs, make_encoder


@pytest.mark.parametrize("kind", (*ENCODERS, *DECODERS))
def test_every_block_is_found_whatever_its_names(kind: str) -> None:
    anatomy = walk(make_encoder(kind), example_inputs())
    kinds = [structure.kind for structure in anatomy.structures]
    assert kinds.count("neurons") == 2 and kinds.count("heads") == (0 if kind == "mpnet" else 2)
    assert all(s.units == (3 if s.kind == "heads" else 192) for s in anatomy.structures)
    assert all(s.size == (32 if s.kind == "heads" else 1) for s in anatomy.structures)
    roles = {group.role for group in anatomy.groups}
    assert roles == {"embeddings", "qkv", "attention_output", "ffn_in", "ffn_out", "head"}
    # MPNet adds a bias per head that no linear layer makes: its heads cannot be cut, and it is said so.
    assert bool(anatomy.refused) == (kind == "mpnet")


@pytest.mark.parametrize("kind", (*ENCODERS, *DECODERS))
def test_weight_groups_hold_every_matrix_once(kind: str) -> None:
    module = make_encoder(kind)
    grouped = [name for group in walk(module, example_inputs()).groups for name in group.weights]
    matrices = {name for name, value in module.named_parameters() if value.ndim == 2}
    assert sorted(grouped) == sorted(matrices)


@pytest.mark.parametrize("kind", (*ENCODERS, *DECODERS))
def test_cutting_equals_masking(kind: str) -> None:
    module, inputs = make_encoder(kind).double(), example_inputs()
    for structure in walk(module, inputs).structures:
        cut, masked = copy.deepcopy(module), copy.deepcopy(module)
        structure.cut().remove_last(cut)
        with torch.no_grad():
            structure.reader(masked)[:, -structure.size :] = 0
            assert torch.allclose(cut(**inputs).logits, masked(**inputs).logits, atol=1e-7)
        assert structure.reader(cut).shape[1] == (structure.units - 1) * structure.size
