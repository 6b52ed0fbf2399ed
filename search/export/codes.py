"""Codes as the library compressed-tensors packs them, which Transformers reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from slimfront.studies.compressed import QuantizedTensor
from slimfront.studies.errors import MissingError
from torch import nn

Json = dict[str, Any]
BYTE = 8


@dataclass(frozen=True)
class Scheme:
    """How a matrix is held.

    Attributes:
        bits: Width of a number in the file.
        group: Columns that share a scale; 0 is a whole row.
        packed: Whether numbers lie without gaps, else a byte each.
        centred: Whether numbers are differences from their zero point, which then is not held.
    """

    bits: int
    group: int
    packed: bool
    centred: bool

    def to_json(self, layers: list[str]) -> Json:
        """Return the scheme of some layers as config.json tells it."""
        weights = {"num_bits": self.bits, "type": "int", "symmetric": self.centred, "dynamic": False}
        weights |= {"strategy": "group", "group_size": self.group} if self.group else {"strategy": "channel"}
        form = "pack-quantized" if self.packed else "naive-quantized"
        return {"targets": layers, "format": form, "weights": weights}


def packed(tensor: QuantizedTensor, bytewise: bool) -> tuple[Scheme, dict[str, torch.Tensor]]:
    """Return how a matrix is held, and the tensors that hold it, by what follows the layer's name.

    Transformers reads packed codes only where they have no zero points. Differences from the zero points need none:
    as a rule they take a bit more, and are exact. Where that is more than a byte holds, codes stay codes.

    Args:
        tensor: The matrix.
        bytewise: Whether every number takes a byte.
    """
    rows, groups, group = tensor.codes.shape
    scales = {"weight_scale": tensor.scales.reshape(rows, groups).clone()}
    wide = 0 if groups == 1 else group
    centred = tensor.codes.to(torch.int16) - tensor.zero_points.to(torch.int16)
    bits = max(2, _width(int(centred.min()), int(centred.max())))
    numbers = centred.reshape(tensor.shape)
    if bits > BYTE:
        half = 2 ** (tensor.bits - 1)
        numbers = tensor.codes.reshape(tensor.shape).to(torch.int16) - half
        points = tensor.zero_points.reshape(rows, groups).to(torch.int16) - half
        held = {"weight": numbers.to(torch.int8), "weight_zero_point": points.to(torch.int8)}
        return Scheme(BYTE, wide, False, False), {**held, **scales}
    if bytewise or bits == BYTE:
        return Scheme(BYTE, wide, False, True), {"weight": numbers.to(torch.int8), **scales}
    held = {"weight_packed": _packer()(numbers.to(torch.int8), bits), "weight_shape": torch.tensor(tensor.shape)}
    return Scheme(bits, wide, True, True), {**held, **scales}


def stored(
    tensors: Mapping[str, torch.Tensor | QuantizedTensor], module: nn.Module, tables: bool
) -> tuple[dict[str, torch.Tensor], Json | None]:
    """Return the tensors of a file, and what config.json tells of the codes among them; None where there are none.

    Args:
        tensors: The parameters by name.
        module: The module that has them.
        tables: Whether tables may be packed.

    Raises:
        MissingError: compressed-tensors is not installed.
    """
    if any(isinstance(tensor, QuantizedTensor) for tensor in tensors.values()):
        _packer()
    found: dict[str, torch.Tensor] = {}
    layers: dict[Scheme, list[str]] = defaultdict(list)
    for name, tensor in tensors.items():
        if not isinstance(tensor, QuantizedTensor):
            found[name] = tensor.contiguous()
            continue
        layer = name.removesuffix(".weight")
        table = isinstance(module.get_submodule(layer), nn.Embedding)
        scheme, held = packed(tensor, table and not tables)
        layers[scheme].append(layer)
        found |= {f"{layer}.{part}": value.contiguous() for part, value in held.items()}
    if not layers:
        return found, None
    groups = {f"group_{number}": scheme.to_json(names) for number, (scheme, names) in enumerate(layers.items())}
    formats = {group["format"] for group in groups.values()}
    return found, {
        "quant_method": "compressed-tensors",
        "format": formats.pop() if len(formats) == 1 else "mixed-precision",
        "quantization_status": "compressed",
        "ignore": [],
        "config_groups": groups,
    }


def _width(low: int, high: int) -> int:
    """Return the fewest bits that hold two integers in two's complement."""
    return max(number.bit_length() for number in (high, -low - 1)) + 1


def _packer() -> Any:
    try:
        from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
    except ImportError:
        raise MissingError(
            "the library that packs codes for Transformers is not installed",
            where="--to transformers",
            given="no package compressed-tensors",
            hint="pip install 'slimfront[transformers]'",
        ) from None
    return pack_to_int32
