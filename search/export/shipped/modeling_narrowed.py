"""A classifier of Transformers some layers of which are narrower than its configuration can say.

``AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)`` runs this file. It changes
nothing but what ``narrowed`` in config.json names:

* ``linear``: whether transposed linear layers are ordinary ones here,
* ``removed``: blocks that are left out, and whether such a block gives its output in a tuple,
* ``attributes``: numbers of modules; a linear layer whose number of features is among them has a matrix of that size.
"""

from __future__ import annotations

from typing import Any

import torch
from slimfront.spaces.blocks import Skipped
from torch import nn
from transformers import BertForSequenceClassification as Base
from transformers.pytorch_utils import Conv1D


class NarrowedModel(Base):  # type: ignore[misc]
    """See the module's description."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        told = config.narrowed
        if told["linear"]:
            _with_linear_layers(self)
        for path, wrapped in told["removed"]:
            _put(self, path, Skipped(self.get_submodule(path), wrapped))
        for path, attribute, value in told["attributes"]:
            setattr(self.get_submodule(path), attribute, value)
        for part in self.modules():
            if isinstance(part, nn.Linear):
                _fit(part)


def _fit(layer: nn.Linear) -> None:
    """Give a linear layer parameters of the size that its attributes say."""
    size = (layer.out_features, layer.in_features)
    if layer.weight.shape != size:
        layer.weight = nn.Parameter(layer.weight.new_empty(size))
    if layer.bias is not None and len(layer.bias) != layer.out_features:
        layer.bias = nn.Parameter(layer.bias.new_empty(layer.out_features))


def _put(model: nn.Module, path: str, part: nn.Module) -> None:
    parent, _, child = path.rpartition(".")
    setattr(model.get_submodule(parent), child, part)


def _with_linear_layers(model: nn.Module) -> None:
    for path, part in list(model.named_modules()):
        if isinstance(part, Conv1D):
            with torch.device(part.weight.device):
                _put(model, path, nn.Linear(*part.weight.shape))
