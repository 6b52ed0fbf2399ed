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

# Levels of an activation in a fixed range; what follows a parameter's name in the names of layers that round to them.
LEVELS, READS = 256, "/reads/"


@dataclass(frozen=True)
class Feed:
    """Where a parameter enters the graph.

    Attributes:
        ports: The layers' ids and input ports that read it.
        transposed: Whether the graph holds the matrix transposed.
        shape: Its shape in the dense graph, where axes of one may have been added.
        reads: The edges by which what it multiplies comes to products: source and its port, product and its port.
    """

    ports: tuple[tuple[int, int], ...]
    transposed: bool
    shape: tuple[int, ...]
    reads: tuple[tuple[int, int, int, int], ...] = ()


def write(name: str, form: Form, feed: Feed, layers: Layers) -> Output:
    """Add the layers that give a parameter as float32 in its graph shape."""
    shape = graph_shape(feed.shape, form.shape[::-1] if feed.transposed else form.shape)
    if form.bits == 32:
        return layers.constant(name, "f32", shape)
    if form.bits == 16:
        half = layers.constant(name, "f16", shape)
        return layers.operation(f"{name}/f32", "Convert", 'destination_type="f32"', [half], "f32", shape)
    matrix = _integers(name, form, layers) if form.static else _decompressed(name, form, layers)
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


def _integers(name: str, form: Form, layers: Layers) -> Output:
    """Add ``codes * scales``, signed, as the pattern of which OpenVINO makes sums of integers."""
    codes = layers.constant(f"{name}/codes", f"i{form.bits}", form.shape)
    half = layers.operation(f"{name}/codes/f16", "Convert", 'destination_type="f16"', [codes], "f16", form.shape)
    scales = layers.constant(f"{name}/scales", "f16", (form.shape[0], 1))
    inputs = [half, scales]
    scaled = layers.operation(f"{name}/scaled", "Multiply", 'auto_broadcast="numpy"', inputs, "f16", form.shape)
    return layers.operation(f"{name}/f32", "Convert", 'destination_type="f32"', [scaled], "f32", form.shape)


def fix_range(name: str, sources: Sequence[tuple[int, int]], layers: Layers) -> list[Output]:
    """Add layers that round values from some sources, layers and ports, to 256 levels of one range."""
    ends = [layers.constant(f"{name}/{end}", "f32", ()) for end in ("low", "high")]
    levels = f'levels="{LEVELS}" auto_broadcast="numpy"'
    found = []
    for place, source in enumerate(sources):
        # Shapes are inferred when the file is read.
        inputs = [Output(*source, "f32", ()), *ends, *ends]
        found.append(layers.operation(f"{name}{READS}{place}", "FakeQuantize", levels, inputs, "f32", ()))
    return found


def payload(tensor: torch.Tensor | QuantizedTensor, feed: Feed) -> list[npt.NDArray[np.uint8]]:
    """Return the bytes of the constants that :func:`write` and :func:`fix_range` add, in their order."""
    if not isinstance(tensor, QuantizedTensor):
        value = np.ascontiguousarray((tensor.T if feed.transposed else tensor).numpy())
        return [value.reshape(-1).view(np.uint8)]
    scales = np.ascontiguousarray(tensor.scales.numpy()).reshape(-1).view(np.uint8)
    if tensor.reads:
        signed = tensor.codes.to(torch.int16) - tensor.zero_points
        found = [signed.to(torch.int8).numpy().reshape(-1).view(np.uint8), scales]
    else:
        found = [pack(part.numpy(), tensor.bits) for part in (tensor.codes, tensor.zero_points)]
        found += [scales, _longs(tensor.shape)]
    shape = tensor.shape[::-1] if feed.transposed else tensor.shape
    if feed.transposed:
        found.append(_longs((1, 0)))
    if graph_shape(feed.shape, shape) != shape:
        found.append(_longs(graph_shape(feed.shape, shape)))
    if tensor.reads:
        found += [np.array([end], dtype=np.float32).view(np.uint8) for end in tensor.reads]
    return found


def _longs(values: Sequence[int]) -> npt.NDArray[np.uint8]:
    return np.array(values, dtype=np.int64).view(np.uint8)
