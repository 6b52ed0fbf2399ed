"""How one parameter, at its bit-width, stands in the graph: its layers, and the bytes of their constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from slimfront.objectives.runtimes.openvino.layers import Layers, Output
from slimfront.objectives.runtimes.openvino.packing import pack
from slimfront.objectives.runtimes.twins import graph_shape
from slimfront.studies.compressed import Form, QuantizedTensor


@dataclass(frozen=True)
class Feed:
    """Where a parameter enters the graph.

    Attributes:
        ports: The layers' ids and input ports that read it.
        transposed: Whether the graph holds the matrix transposed.
        shape: Its shape in the dense graph, where axes of one may have been added.
    """

    ports: tuple[tuple[int, int], ...]
    transposed: bool
    shape: tuple[int, ...]


def write(name: str, form: Form, feed: Feed, layers: Layers) -> Output:
    """Add the layers that give a parameter as float32 in its graph shape."""
    shape = graph_shape(feed.shape, form.shape[::-1] if feed.transposed else form.shape)
    if form.bits == 32:
        return layers.constant(name, "f32", shape)
    if form.bits == 16:
        half = layers.constant(name, "f16", shape)
        return layers.operation(f"{name}/f32", "Convert", 'destination_type="f32"', [half], "f32", shape)
    matrix = _decompressed(name, form, layers)
    if feed.transposed:
        order = layers.constant(f"{name}/order", "i64", (2,))
        matrix = layers.operation(f"{name}/transposed", "Transpose", "", [matrix, order], "f32", form.shape[::-1])
    if matrix.shape != shape:
        wanted = layers.constant(f"{name}/shape", "i64", (len(shape),))
        matrix = layers.operation(f"{name}/reshaped", "Reshape", 'special_zero="false"', [matrix, wanted], "f32", shape)
    return matrix


def _decompressed(name: str, form: Form, layers: Layers) -> Output:
    """Add ``(codes - zero_points) * scales`` as the pattern that OpenVINO's kernels read packed."""
    rows, columns = form.shape
    grouped, per_group = (rows, columns // form.group, form.group), (rows, columns // form.group, 1)
    halves = []
    for part, shape in (("codes", grouped), ("zero_points", per_group)):
        packed = layers.constant(f"{name}/{part}", f"u{form.bits}", shape)
        halves.append(
            layers.operation(f"{name}/{part}/f16", "Convert", 'destination_type="f16"', [packed], "f16", shape)
        )
    broadcast = 'auto_broadcast="numpy"'
    centred = layers.operation(f"{name}/centred", "Subtract", broadcast, halves, "f16", grouped)
    scales = layers.constant(f"{name}/scales", "f16", per_group)
    scaled = layers.operation(f"{name}/scaled", "Multiply", broadcast, [centred, scales], "f16", grouped)
    size = layers.constant(f"{name}/rows", "i64", (2,))
    flat = layers.operation(f"{name}/matrix", "Reshape", 'special_zero="false"', [scaled, size], "f16", form.shape)
    return layers.operation(f"{name}/f32", "Convert", 'destination_type="f32"', [flat], "f32", form.shape)


def payload(tensor: torch.Tensor | QuantizedTensor, feed: Feed) -> list[npt.NDArray[np.uint8]]:
    """Return the bytes of the constants that :func:`write` adds, in its order."""
    if not isinstance(tensor, QuantizedTensor):
        value = np.ascontiguousarray((tensor.T if feed.transposed else tensor).numpy())
        return [value.reshape(-1).view(np.uint8)]
    found = [
        pack(tensor.codes.numpy(), tensor.bits),
        pack(tensor.zero_points.numpy(), tensor.bits),
        np.ascontiguousarray(tensor.scales.numpy()).reshape(-1).view(np.uint8),
        _integers(tensor.shape),
    ]
    shape = tensor.shape[::-1] if feed.transposed else tensor.shape
    if feed.transposed:
        found.append(_integers((1, 0)))
    if graph_shape(feed.shape, shape) != shape:
        found.append(_integers(graph_shape(feed.shape, shape)))
    return found


def _integers(values: Sequence[int]) -> npt.NDArray[np.uint8]:
    return np.array(values, dtype=np.int64).view(np.uint8)
