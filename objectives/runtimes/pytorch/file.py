"""Writes a safetensors file whose size is the sum of its tensors'.

Every entry of the header takes as many bytes wherever its tensor lies: offsets are padded, which JSON allows, and the
entry is filled up to a multiple of 8 bytes. Wide elements come first, so that all lie where they may be read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np
import torch
from slimfront.studies.compressed import Form, QuantizedTensor

ELEMENTS = {"F32": 4, "F16": 2, "U8": 1}
DIGITS = 14
# An empty header: its length, the braces, each filled up.
EMPTY = 8 + 8 + 8
Part = tuple[str, str, tuple[int, ...]]


def parts_of(name: str, form: Form) -> list[Part]:
    """Return name, element type and shape of the tensors that hold a parameter."""
    if form.bits >= 16:
        return [(name, "F32" if form.bits == 32 else "F16", form.shape)]
    rows = (form.shape[0],)
    return [(f"{name}.codes", "U8", form.shape), (f"{name}.scales", "F16", rows), (f"{name}.zero_points", "U8", rows)]


def values_of(tensor: torch.Tensor | QuantizedTensor) -> list[bytes]:
    """Return the bytes of these tensors."""
    if isinstance(tensor, torch.Tensor):
        return [np.ascontiguousarray(tensor.numpy()).tobytes()]
    held = (tensor.codes, tensor.scales, tensor.zero_points)
    return [np.ascontiguousarray(value.numpy()).tobytes() for value in held]


def values_size(name: str, form: Form) -> int:
    """Return the bytes of a parameter's values."""
    return sum(_bytes(part) for part in parts_of(name, form))


def size(name: str, form: Form) -> int:
    """Return the bytes that a parameter adds to a file."""
    return sum(len(_entry(part, 0)) + _bytes(part) for part in parts_of(name, form))


def encoded(tensors: Mapping[str, torch.Tensor | QuantizedTensor]) -> bytes:
    """Return the file of some parameters."""
    parts: list[tuple[Part, bytes]] = []
    for name, tensor in tensors.items():
        parts += zip(parts_of(name, Form.of(tensor)), values_of(tensor), strict=True)
    parts.sort(key=lambda pair: -ELEMENTS[pair[0][1]])
    ends = np.cumsum([0, *(len(value) for _, value in parts)]).tolist()
    entries = "".join(_entry(part, start) for (part, _), start in zip(parts, ends, strict=False))
    # The last entry has no comma behind it.
    body = "{".ljust(8) + entries[::-1].replace(",", " ", 1)[::-1] + "}".ljust(8)
    return len(body).to_bytes(8, "little") + body.encode() + b"".join(value for _, value in parts)


def _bytes(part: Part) -> int:
    return ELEMENTS[part[1]] * math.prod(part[2])


def _entry(part: Part, start: int) -> str:
    name, element, shape = part
    offsets = ",".join(str(place).rjust(DIGITS) for place in (start, start + _bytes(part)))
    dims = ",".join(map(str, shape))
    text = f'{json.dumps(name)}:{{"dtype":"{element}","shape":[{dims}],"data_offsets":[{offsets}]}},'
    return text.ljust(-(-len(text.encode()) // 8) * 8)
