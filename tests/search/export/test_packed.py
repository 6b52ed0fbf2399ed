"""Packed layers: as small as their codes, and exact."""

from __future__ import annotations

import pytest
import torch
from slimfront.search.export.packed import Packed, PackedEmbedding, PackedLinear, pack
from slimfront.studies.compressed import QuantizedTensor
from torch import nn


def random_codes(bits: int, rows: int, groups: int, group: int) -> QuantizedTensor:
    generator = torch.Generator().manual_seed(bits)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randint(0, 2**bits, shape, dtype=torch.uint8, generator=generator)

    scales = torch.rand(rows, groups, 1, generator=generator).half()
    return QuantizedTensor(draw(rows, groups, group), scales, draw(rows, groups, 1), bits)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize(("groups", "group"), [(3, 32), (1, 21)])
def test_codes_are_unpacked_exactly(bits: int, groups: int, group: int) -> None:
    tensor = random_codes(bits, 5, groups, group)
    stored = Packed(tensor)
    assert torch.equal(stored(), tensor.dequantize())
    assert torch.equal(stored(torch.tensor([[4, 0]])), tensor.dequantize()[[4, 0]][None])
    width, codes = {2: (1, 4), 3: (3, 8), 4: (1, 2), 5: (3, 4), 6: (3, 4), 8: (1, 1)}[bits]
    assert stored.codes.shape == (5, -(-groups * group // codes) * width)


def test_layers_are_replaced_where_it_is_known_what_they_do() -> None:
    class Scaled(nn.Embedding):
        pass

    model = nn.ModuleDict({"a": nn.Linear(32, 6), "b": nn.Embedding(7, 32), "c": Scaled(7, 32), "d": nn.Linear(32, 6)})
    codes = random_codes(4, 6, 1, 32)
    table = torch.rand(7, 32).half()
    bias = model["a"].bias
    pack(
        model, {"a.weight": codes, "a.bias": bias, "b.weight": table, "c.weight": table, "d.weight": torch.rand(6, 32)}
    )
    assert [type(part) for part in model.values()] == [PackedLinear, PackedEmbedding, Scaled, nn.Linear]
    read = torch.rand(2, 32)
    assert torch.equal(model["a"](read), nn.functional.linear(read, codes.dequantize(), bias))
    assert torch.equal(model["b"](torch.tensor([3])), table[[3]].float())
