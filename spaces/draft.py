"""A configuration on its way from the dense model to a compressed one."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from slimfront.spaces.quantizers.quantizer import Quantizer, group_size
from slimfront.spaces.structure import Anatomy
from slimfront.studies.compressed import Capabilities, CompressedModel, QuantizedTensor
from torch import nn

Scores = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Recovery:
    """How a stitched model is distilled.

    Attributes:
        steps: Optimizer steps.
        temperature: Softens the logits of teacher and student.
        weight: Weight of the soft targets; the hard labels get ``1 - weight``.
    """

    steps: int
    temperature: float
    weight: float


@dataclass
class Draft:
    """What the axes write their choices into.

    Attributes:
        module: A private copy of the dense model; structures are cut out of it in place.
        anatomy: What the dense model is made of.
        scores: Importance of each unit, ``(units,)`` by structure.
        kept: Units kept by structure.
        bits: Bit-width by weight; absent means 32.
        precision: The inference precision.
        recovery: How to distil, or None.
    """

    module: nn.Module
    anatomy: Anatomy
    scores: Scores
    precision: str
    kept: dict[str, int] = field(default_factory=dict)
    bits: dict[str, int] = field(default_factory=dict)
    recovery: Recovery | None = None

    @classmethod
    def of(cls, dense: nn.Module, anatomy: Anatomy, scores: Scores, capabilities: Capabilities) -> Draft:
        """Return a draft that is still the dense model."""
        return cls(copy.deepcopy(dense), anatomy, scores, capabilities.precisions[0])

    def compress(self, quantizer: Quantizer, capabilities: Capabilities) -> CompressedModel:
        """Encode every parameter at its bit-width."""
        tensors: dict[str, torch.Tensor | QuantizedTensor] = {}
        for name, value in self.module.named_parameters():
            bits = self.bits.get(name, 32)
            weight = value.detach()
            if bits == 32:
                tensors[name] = weight
            elif bits == 16:
                tensors[name] = weight.to(torch.float16)
            else:
                tensors[name] = quantizer.quantize(weight, bits, group_size(weight.shape[1], bits, capabilities))
        return CompressedModel(tensors, dict(self.kept), self.precision)
