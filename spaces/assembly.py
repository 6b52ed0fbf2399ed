"""A module of its own for a draft: what is removed is gone, and nothing of the dense module is left in its place."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from slimfront.spaces.draft import Draft
from slimfront.studies.compressed import QuantizedTensor, as_floats
from torch import nn


def assembled(dense: nn.Module, draft: Draft, tensors: Mapping[str, torch.Tensor | QuantizedTensor]) -> nn.Module:
    """Return a copy of a module with a draft's smaller matrices, in floats, ready to run.

    Args:
        dense: The dense module; it is left as it was.
        draft: Says what is removed.
        tensors: Every parameter that is left, by name.
    """
    module = copy.deepcopy(dense).eval()
    for structure in draft.cut():
        for path, attribute, value in structure.attributes(draft.kept[structure.name]):
            setattr(module.get_submodule(path), attribute, value)
    for block in draft.gone():
        block.remove(module)
    for name, tensor in tensors.items():
        parent, _, child = name.rpartition(".")
        part = module.get_submodule(parent)
        part.register_parameter(child, nn.Parameter(as_floats(tensor).float(), requires_grad=False))
        if isinstance(part, nn.Embedding):
            part.num_embeddings = len(part.weight)
    return module
