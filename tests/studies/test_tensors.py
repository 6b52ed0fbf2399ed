"""Modules whose parameters are a file's, mapped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from slimfront.studies.tensors import adopt, adopted
from torch import nn


class Tied(nn.Module):
    """A table that is read and written to."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 4)
        self.inner = nn.Linear(4, 4)
        self.last = nn.Linear(4, 5, bias=False)
        self.last.weight = self.table.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return ``(tokens, 5)``."""
        found: torch.Tensor = self.last(self.inner(self.table(tokens)))
        return found


def weights_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.named_parameters()}


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="what is mapped is not told here")
def test_what_is_adopted_is_mapped_so_that_processes_share_it(tmp_path: Path) -> None:
    module, path = nn.Linear(64, 64), tmp_path / "weights.safetensors"
    save_file(weights_of(module), path)
    adopt(module, path)
    lines = [line.split()[0] for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(str(path))]
    ends = [tuple(int(end, 16) for end in line.split("-")) for line in lines]
    assert all(any(low <= value.data_ptr() < high for low, high in ends) for value in module.parameters())


def test_a_module_adopts_a_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, module = Tied(), Tied()
    save_file(weights_of(source), tmp_path / "weights.safetensors")
    assert adopt(module, tmp_path / "weights.safetensors") is module
    tokens = torch.arange(5)
    assert torch.equal(module(tokens), source(tokens))
    assert module.last.weight is module.table.weight and module.table.weight.requires_grad
    # What is trained afterwards stays with the module.
    with torch.no_grad():
        module.inner.weight.zero_()
        module.table.weight.add_(1.0)
    kept = load_file(tmp_path / "weights.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in weights_of(source).items())


def test_a_copy_adopts_a_file_and_shares_the_rest(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, part = Tied(), {"inner.weight": torch.ones(4, 4)}
    before = weights_of(module)
    save_file(part, tmp_path / "weights.safetensors")
    copied = adopted(module, tmp_path / "weights.safetensors")
    assert torch.equal(copied.get_parameter("inner.weight"), part["inner.weight"])
    assert all(torch.equal(value, before[name]) for name, value in module.named_parameters())
    table = copied.get_parameter("table.weight")
    assert table is not module.table.weight and table.data_ptr() == module.table.weight.data_ptr()
    assert copied.get_parameter("table.weight") is dict(copied.named_modules())["last"].weight
