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
from torch import nn
from transformers import BertForSequenceClassification as Base
from transformers.pytorch_utils import Conv1D


class Skipped(nn.Module):
    """Stands in a removed block's place: gives on what the block would have read."""

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
