"""Loads a compressed classifier from this file's folder: ``from load import load; model = load()``.

It needs torch, transformers and safetensors, nothing else, and stands beside the weights that it reads.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

PRECISIONS = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
# An 8-bit product of processors without VNNI overflows unless activations have 7 bits.
SEVEN_BITS = True


class Int8Linear(nn.Module):
    """A linear layer of 8-bit codes; activations are quantized as they come."""

    def __init__(self, codes: Any, scales: Any, zero_points: Any, bias: Any) -> None:
        super().__init__()
        signed = (codes.to(torch.int16) - 128).to(torch.int8)
        centres = zero_points.to(torch.int64) - 128
        with warnings.catch_warnings():
            # Tensors of quantized types are to go in some later version; nothing else multiplies as fast on a CPU yet.
            warnings.simplefilter("ignore")
            weight = torch._make_per_channel_quantized_tensor(signed, scales.to(torch.float64), centres, 0)
        self.packed = torch.ops.quantized.linear_prepack(weight, None if bias is None else bias.float())

    def forward(self, read: torch.Tensor) -> torch.Tensor:
        """Return ``(..., rows)`` of ``(..., columns)``."""
        found: torch.Tensor = torch.ops.quantized.linear_dynamic(read.float(), self.packed, SEVEN_BITS)
        return found.to(read.dtype)


class Skipped(nn.Module):
    """Stands in a removed block's place: gives on what the block would have read."""

    def __init__(self, block: nn.Module, wrapped: bool) -> None:
        super().__init__()
        self.__dict__["_block"], self._wrapped = block, wrapped

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_block"], name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the first argument."""
        hidden = args[0] if args else next(iter(kwargs.values()))
        return (hidden,) if self._wrapped else hidden


@contextmanager
def _without_weights() -> Iterator[None]:
    """Let modules that are made have no values for their parameters: they are read afterwards."""
    plain = nn.Module.register_parameter

    def register(module: nn.Module, name: str, value: Any) -> None:
        plain(module, name, value if value is None else nn.Parameter(value.to("meta"), requires_grad=False))

    setattr(nn.Module, "register_parameter", register)  # noqa: B010
    try:
        with torch.device("cpu"):
            yield
    finally:
        setattr(nn.Module, "register_parameter", plain)  # noqa: B010


def _with_linear_layers(model: nn.Module) -> None:
    """Put ordinary linear layers in the place of transposed ones."""
    from transformers.pytorch_utils import Conv1D

    for parent in list(model.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, Conv1D):
                setattr(parent, name, nn.Linear(*part.weight.shape))


def load(folder: str | Path = Path(__file__).parent) -> nn.Module:
    """Return the model, ready to run: it takes what its tokenizer makes and returns logits."""
    import transformers

    folder = Path(folder)
    recipe = json.loads((folder / "compressed.json").read_text(encoding="utf-8"))
    tensors, precision = load_file(folder / "model.safetensors"), PRECISIONS[recipe["precision"]]
    kind = getattr(transformers, recipe["class"])
    with _without_weights():
        model = kind(transformers.AutoConfig.from_pretrained(str(folder)))
        _with_linear_layers(model)
    for name, wrapped in recipe["removed"]:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, Skipped(model.get_submodule(name), wrapped))
    for path, attribute, value in recipe["attributes"]:
        setattr(model.get_submodule(path), attribute, value)
    for name in [name for name, _ in model.named_parameters() if name in tensors]:
        parent, _, child = name.rpartition(".")
        model.get_submodule(parent).register_parameter(child, nn.Parameter(tensors[name].float(), requires_grad=False))
    for name in [name.removesuffix(".weight.codes") for name in tensors if name.endswith(".codes")]:
        parent, _, child = name.rpartition(".")
        part = model.get_submodule(name)
        codes, scales, centres = (tensors[f"{name}.weight.{what}"] for what in ("codes", "scales", "zero_points"))
        if isinstance(part, nn.Embedding):
            # Tables are unpacked: some models scale their rows, or read them elsewhere, too.
            values = (codes.float() - centres.float()[:, None]) * scales.float()[:, None]
            part.register_parameter("weight", nn.Parameter(values, requires_grad=False))
        else:
            setattr(model.get_submodule(parent), child, Int8Linear(codes, scales, centres, part.bias))
    ready: nn.Module = model.to(precision).eval()
    return ready
