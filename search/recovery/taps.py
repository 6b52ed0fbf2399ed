"""Reads hidden states and attention off a module while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from slimfront.search.recovery.loss import attention_loss, hidden_loss
from slimfront.spaces.structure import Anatomy, Structure
from torch import nn


@dataclass
class Seen:
    """What was read in one run.

    Attributes:
        hidden: What each block gives on, ``(rows, tokens, channels)`` by the block's path.
        attention: What each producer of attention heads makes, ``(rows, tokens, channels)`` by its path.
    """

    hidden: dict[str, torch.Tensor] = field(default_factory=dict)
    attention: dict[str, torch.Tensor] = field(default_factory=dict)


class Taps:
    """Where hidden states and attention are read off a module, which has them under the same names when it is cut.

    Args:
        module: The dense module.
        anatomy: What it is made of.
        hidden: Whether hidden states are read.
        attention: Whether queries, keys and values are read.
    """

    def __init__(self, module: nn.Module, anatomy: Anatomy, hidden: bool, attention: bool) -> None:
        blocks = dict.fromkeys(structure.name.rpartition(".")[0] for structure in anatomy.structures)
        self._module = module
        self._blocks = [name for name in blocks if name and hidden]
        self._heads = [structure for structure in anatomy.structures if structure.kind == "heads" and attention]

    def __bool__(self) -> bool:
        return bool(self._blocks or self._heads)

    @contextmanager
    def read(self) -> Iterator[Seen]:
        """Read what the module computes meanwhile."""
        seen = Seen()
        handles = [self._tap(name, seen.hidden) for name in self._blocks]
        handles += [self._tap(name, seen.attention) for structure in self._heads for name in structure.producers]
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()

    def _tap(self, name: str, into: dict[str, torch.Tensor]) -> torch.utils.hooks.RemovableHandle:
        def keep(_module: nn.Module, _args: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
            into[name] = (output if isinstance(output, torch.Tensor) else output[0]).float()

        return self._module.get_submodule(name).register_forward_hook(keep)

    def hidden(self, student: Seen, teacher: Seen, mask: torch.Tensor) -> torch.Tensor:
        """Return the mean of the blocks' hidden losses.

        A block learns from the last of the teacher's before the next one that is left: it stands in for all of them.
        Where no block is left there is nothing to learn.
        """
        left = [name for name in self._blocks if name in student.hidden]
        if not left:
            return torch.zeros(())
        last = [self._blocks[self._blocks.index(after) - 1] for after in left[1:]] + self._blocks[-1:]
        pairs = zip(left, last, strict=True)
        return torch.stack(
            [hidden_loss(student.hidden[own], teacher.hidden[taught], mask) for own, taught in pairs]
        ).mean()

    def attention(self, student: Seen, teacher: Seen, kept: Mapping[str, int], mask: torch.Tensor) -> torch.Tensor:
        """Return the mean of the attention losses of all queries, keys and values."""
        losses = []
        for structure in self._heads:
            units = (kept.get(structure.name, structure.units), structure.units)
            for name in structure.producers:
                if name not in student.attention:
                    continue
                for own, taught in zip(
                    _parts(student.attention[name], structure, units[0]),
                    _parts(teacher.attention[name], structure, units[1]),
                    strict=True,
                ):
                    losses.append(attention_loss(own, taught, units, mask))
        return torch.stack(losses).mean() if losses else torch.zeros(())


def _parts(states: torch.Tensor, structure: Structure, units: int) -> tuple[torch.Tensor, ...]:
    """Return queries, keys and values apart, where one matrix makes them all."""
    return torch.tensor_split(states, states.shape[-1] // (units * structure.size), dim=-1)
