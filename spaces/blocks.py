"""Whole blocks of a module, and how they are removed: what they read goes on as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

Inputs = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Block:
    """A part that a module can do without.

    Attributes:
        name: Its path.
        weights: Names of its parameters.
        wrapped: Whether it gives its output in a tuple.
    """

    name: str
    weights: tuple[str, ...]
    wrapped: bool

    def remove(self, module: nn.Module) -> None:
        """Remove the block from ``module``, in place; the names of all other parameters stay."""
        parent, _, child = self.name.rpartition(".")
        setattr(module.get_submodule(parent), child, Skipped(module.get_submodule(self.name), self.wrapped))


class Skipped(nn.Module):
    """Stands in a removed block's place: gives on what the block would have read.

    Args:
        block: The block; its parameters are not this module's, its plain attributes are.
        wrapped: Whether the block gives its output in a tuple.
    """

    def __init__(self, block: nn.Module, wrapped: bool) -> None:
        super().__init__()
        # Not registered: a removed block has no parameters.
        self.__dict__["_block"], self._wrapped = block, wrapped

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_block"], name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the first argument."""
        hidden = args[0] if args else next(iter(kwargs.values()))
        return (hidden,) if self._wrapped else hidden


@contextmanager
def skipped(module: nn.Module, blocks: Iterable[Block]) -> Iterator[None]:
    """Remove blocks from ``module`` for a while."""
    before: list[tuple[nn.Module, str, nn.Module]] = []
    try:
        for block in blocks:
            parent, _, child = block.name.rpartition(".")
            before.append((module.get_submodule(parent), child, module.get_submodule(block.name)))
            block.remove(module)
        yield
    finally:
        for place, child, part in before:
            setattr(place, child, part)


def find_blocks(module: nn.Module, inputs: Inputs) -> tuple[Block, ...]:
    """Return the blocks without which a module still runs, in the order in which it runs them.

    A candidate is an element of a module list that is run once and gives on a tensor of the shape that it reads.
    """
    lists = [name for name, part in module.named_modules() if isinstance(part, nn.ModuleList) and len(part) > 1]
    found: list[Block] = []
    for name in (f"{path}.{child}" for path in lists for child, _ in module.get_submodule(path).named_children()):
        if any(name.startswith(f"{other.name}.") for other in found):
            continue
        block = _candidate(module, name, inputs)
        if block is not None and block.weights and _runs_without(module, block, inputs):
            found.append(block)
    order = _execution_order(module, [block.name for block in found], inputs)
    return tuple(sorted(found, key=lambda block: order.index(block.name)))


def _execution_order(module: nn.Module, names: list[str], inputs: Inputs) -> list[str]:
    order: list[str] = []
    hooks = [
        module.get_submodule(name).register_forward_pre_hook(lambda _block, _args, name=name: order.append(name))
        for name in names
    ]
    try:
        with torch.no_grad():
            module(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return order


def _candidate(module: nn.Module, name: str, inputs: Inputs) -> Block | None:
    runs: list[tuple[bool, bool]] = []

    def look(_block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        read = args[0] if args else next(iter(kwargs.values()), None)
        wrapped = isinstance(output, tuple)
        made = output[0] if wrapped and len(output) == 1 else output
        runs.append((isinstance(read, torch.Tensor) and read.shape == getattr(made, "shape", None), wrapped))

    handle = module.get_submodule(name).register_forward_hook(look, with_kwargs=True)
    try:
        with torch.no_grad():
            module(**inputs)
    finally:
        handle.remove()
    if len(runs) != 1 or not runs[0][0]:
        return None
    return Block(name, tuple(key for key, _ in module.named_parameters() if key.startswith(f"{name}.")), runs[0][1])


def _runs_without(module: nn.Module, block: Block, inputs: Inputs) -> bool:
    with torch.no_grad():
        expected = module(**inputs)[0].shape
        with skipped(module, [block]):
            try:
                return bool(module(**inputs)[0].shape == expected)
            except Exception:
                # Whatever a module does without one of its blocks, it cannot do without it.
                return False
