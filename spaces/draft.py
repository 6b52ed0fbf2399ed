"""A configuration on its way from the dense model to a compressed one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from slimfront.spaces.blocks import Block
from slimfront.spaces.masks import Pattern
from slimfront.spaces.quantizers.quantizer import group_size
from slimfront.spaces.structure import Anatomy, Structure
from slimfront.spaces.surgery import Slice
from slimfront.studies.compressed import Capabilities, CompressedModel, Form, QuantizedTensor
from torch import nn

Scores = Mapping[str, torch.Tensor]


class Codes(Protocol):
    """Gives the dense model's weights at a level, wherever they come from."""

    def __call__(
        self,
        name: str,
        bits: int,
        columns: torch.Tensor | None,
        zeros: Pattern | None = None,
        static: bool = False,
    ) -> torch.Tensor | QuantizedTensor:
        """Return all rows of a weight, of which only ``columns`` are kept (all where None).

        Below 16 bits they are codes, else floats. Columns that are kept may make up for those that are not. Where
        ``zeros`` is given single weights are zero. With ``static`` the codes come with the range of what they multiply.
        """


@dataclass(frozen=True)
class Recovery:
    """How a stitched model is distilled.

    Attributes:
        rungs: Optimizer steps after which it rests: each stretch between two of them is trained by itself, so that one
            that goes on later continues where it rested. Ascending.
        temperature: Softens the logits of teacher and student.
        weight: Weight of the soft targets; the hard labels get ``1 - weight``.
        hidden: Weight of the hidden states' difference.
        attention: Weight of the attention relations' divergence.
        learning_rate: Of each stretch's first step.
    """

    rungs: tuple[int, ...]
    temperature: float = 1.0
    weight: float = 1.0
    hidden: float = 0.0
    attention: float = 0.0
    learning_rate: float = 1e-4

    @property
    def steps(self) -> int:
        """All optimizer steps."""
        return self.rungs[-1]


@dataclass
class Draft:
    """What the axes write their choices into.

    Attributes:
        anatomy: What the dense model is made of.
        scores: Importance of each unit, ``(units,)`` by structure.
        capabilities: What the target packs and runs.
        precision: The inference precision.
        keep: Ascending indices of the units kept, by structure; absent means all.
        bits: Bit-width by weight; absent means 32.
        static: Weights in codes that multiply activations in a fixed range.
        zeros: Which single weights become zero, by weight; absent means none.
        skipped: Names of blocks that are removed whole; what else was chosen for them does not count.
        rows: So many rows of the vocabulary are kept, the first ones; None means all.
        recovery: How to distil, or None.
    """

    anatomy: Anatomy
    scores: Scores
    capabilities: Capabilities
    precision: str
    keep: dict[str, list[int]] = field(default_factory=dict)
    bits: dict[str, int] = field(default_factory=dict)
    static: set[str] = field(default_factory=set)
    zeros: dict[str, Pattern] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    rows: int | None = None
    recovery: Recovery | None = None

    @property
    def kept(self) -> dict[str, int]:
        """Number of units kept, by structure from which some are removed."""
        return {structure.name: len(self.keep[structure.name]) for structure in self.cut()}

    @property
    def compresses(self) -> bool:
        """Whether anything is removed, set to zero or turned into codes."""
        return bool(self.keep or self.skipped or self.zeros) or any(bits < 16 for bits in self.bits.values())

    def gone(self) -> tuple[Block, ...]:
        """Return the blocks that are removed whole."""
        return tuple(block for block in self.anatomy.blocks if block.name in self.skipped)

    def left(self, names: Iterable[str]) -> list[str]:
        """Return those of some parameters that do not go with a block."""
        gone = {name for block in self.gone() for name in block.weights}
        return [name for name in names if name not in gone]

    def cut(self) -> list[Structure]:
        """Return the structures that are still there and lose some units."""
        gone = {s.name for block in self.gone() for s in self.anatomy.within(block)}
        return [s for s in self.anatomy.structures if s.name in self.keep and s.name not in gone]

    def slices(self) -> dict[str, Slice]:
        """Return which rows and columns are kept of each parameter that is cut."""
        found: dict[str, Slice] = {}
        for structure in self.cut():
            for name, part in structure.slices(self.keep[structure.name]).items():
                found[name] = found.get(name, Slice()).merged(part)
        if self.rows is not None and self.anatomy.vocabulary:
            found[self.anatomy.vocabulary.table] = Slice(rows=torch.arange(self.rows))
        return found

    def forms(self, shapes: Mapping[str, Sequence[int]]) -> dict[str, Form]:
        """Return the form of each parameter that is left of a model whose dense shapes are given."""
        slices, found = self.slices(), {}
        for name in self.left(shapes):
            cut = slices.get(name, Slice()).shape(shapes[name])
            bits = self.bits.get(name, 32)
            static = name in self.static
            found[name] = Form(bits, cut, group_size(cut[-1], bits, self.capabilities, static), static)
        return found

    def stitch(self, dense: nn.Module, codes: Codes) -> CompressedModel:
        """Put the compressed model together from the dense model's own values and codes: nothing is computed."""
        slices, values = self.slices(), dict(dense.named_parameters())
        tensors = {
            name: self._stitched(name, values[name].detach(), slices.get(name, Slice()), codes)
            for name in self.left(values)
        }
        return CompressedModel(tensors, self.kept, self.precision, frozenset(self.skipped))

    def _stitched(self, name: str, value: torch.Tensor, cut: Slice, codes: Codes) -> torch.Tensor | QuantizedTensor:
        bits, zeros = self.bits.get(name, 32), self.zeros.get(name)
        whole = bits >= 16 and cut.columns is None and zeros is None
        found = value if whole else codes(name, bits, cut.columns, zeros, name in self.static)
        if isinstance(found, QuantizedTensor):
            return found.rows(cut.rows)
        return Slice(rows=cut.rows).of(found).to(torch.float16 if bits == 16 else value.dtype)

    def floats(self, dense: nn.Module, codes: Codes, names: Collection[str]) -> dict[str, torch.Tensor]:
        """Return the parts that stay of some parameters, as floats."""
        slices, values = self.slices(), dict(dense.named_parameters())
        found = {}
        for name in self.left(names):
            part, zeros = slices.get(name, Slice()), self.zeros.get(name)
            untouched = part.columns is None and zeros is None
            whole = values[name].detach() if untouched else codes(name, 32, part.columns, zeros)
            assert isinstance(whole, torch.Tensor)
            found[name] = Slice(rows=part.rows).of(whole)
        return found
