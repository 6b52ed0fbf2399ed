"""Removable blocks, on encoders whose modules have different names."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from slimfront.spaces.blocks import find_blocks, skipped

from tests.conftest import DECODERS, ENCODERS, example_inputs, make_encoder


@pytest.mark.parametrize("kind", (*ENCODERS, *DECODERS))
def test_every_block_is_found_and_its_weights_go_with_it(kind: str) -> None:
    module, inputs = make_encoder(kind, blocks=3), example_inputs()
    blocks = find_blocks(module, inputs)
    assert len(blocks) == 3 and len({block.name for block in blocks}) == 3
    names = [name for name, _ in module.named_parameters()]
    for block in blocks:
        cut = copy.deepcopy(module)
        block.remove(cut)
        assert [name for name in names if name not in block.weights] == [name for name, _ in cut.named_parameters()]


@pytest.mark.parametrize("kind", (*ENCODERS, *DECODERS))
def test_what_a_block_would_read_is_given_on(kind: str) -> None:
    """Whichever two of three blocks are removed, the one that is left reads the embeddings."""
    module, inputs = make_encoder(kind, blocks=3), example_inputs()
    blocks = find_blocks(module, inputs)
    seen: list[torch.Tensor] = []

    def keep(_block: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append(args[0] if args else next(iter(kwargs.values())))

    with torch.no_grad():
        whole = module(**inputs).logits
        for name in (blocks[0].name, blocks[2].name):
            handle = module.get_submodule(name).register_forward_pre_hook(keep, with_kwargs=True)
            with skipped(module, [block for block in blocks if block.name != name]):
                shorter = module(**inputs).logits
            handle.remove()
            assert shorter.shape == whole.shape and not torch.allclose(shorter, whole)
        assert torch.equal(seen[0], seen[1]) and torch.equal(module(**inputs).logits, whole)
