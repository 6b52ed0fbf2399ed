"""An exported model as a graph: nodes, constants, inputs and outputs are its layers; names are made anew from them."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.inliner
import torch
from slimfront.objectives.runtimes.graph import Bytes, Edge, Graph, Socket
from slimfront.studies.errors import StudyError, one_line
from slimfront.studies.models import quiet
from torch import nn
from transformers import PreTrainedModel

CONSTANT, INPUT, OUTPUT = "Constant", "Input", "Output"
OPSETS = {"": 20, "com.microsoft": 1}
INTEGERS: dict[int, type[np.int64 | np.int32]] = {onnx.TensorProto.INT64: np.int64, onnx.TensorProto.INT32: np.int32}
# So many integers may tell of a width.
FEW = 8
Layer = onnx.NodeProto | onnx.TensorProto | onnx.ValueInfoProto


@dataclass
class Image(Graph):
    """See the module. A node has no names: its inputs and outputs are the edges."""

    shape_of = "Shape"

    @classmethod
    def of(cls, module: nn.Module, example: Mapping[str, torch.Tensor]) -> Image:
        """Export a module.

        Raises:
            StudyError: it cannot be exported.
        """
        return _Reader(_exported(module, example).graph).image()

    def but(self, layers: dict[int, Layer], edges: list[Edge]) -> Image:
        """See :meth:`Graph.but`."""
        return Image(layers, edges)

    def kind(self, layer: int) -> str:
        """See :meth:`Graph.kind`."""
        element = self.layers[layer]
        if isinstance(element, onnx.TensorProto):
            return CONSTANT
        if isinstance(element, onnx.ValueInfoProto):
            return OUTPUT if self.inputs(layer) else INPUT
        return str(element.op_type)

    def constant(self, layer: int) -> onnx.TensorProto | None:
        """Return a constant, or None where the layer is something else."""
        element = self.layers[layer]
        return element if isinstance(element, onnx.TensorProto) else None

    def floats(self, layer: int) -> Bytes | None:
        """See :meth:`Graph.floats`."""
        held = self.constant(layer)
        if held is None or held.data_type != onnx.TensorProto.FLOAT:
            return None
        return np.frombuffer(held.raw_data, dtype=np.uint8)

    def integers(self, layer: int) -> npt.NDArray[np.int64] | None:
        """See :meth:`Graph.integers`."""
        held = self.constant(layer)
        if held is None or held.data_type not in INTEGERS:
            return None
        return np.frombuffer(held.raw_data, dtype=INTEGERS[held.data_type]).astype(np.int64)

    def copied(self, layer: int, number: int) -> Layer:  # noqa: ARG002
        """See :meth:`Graph.copied`."""
        found: Layer = copy.deepcopy(self.layers[layer])
        return found

    def attributes(self, layer: int) -> dict[str, Any]:
        """Return the attributes of a node."""
        return {entry.name: onnx.helper.get_attribute_value(entry) for entry in self.layers[layer].attribute}


class _Reader:
    """Makes the image of a graph, matrix products and additions in place of general ones (Gemm)."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._layers: dict[int, Layer] = {}
        self._edges: list[Edge] = []
        self._sockets: dict[str, Socket] = {}

    def image(self) -> Image:
        """Return the image, without what the first output does not need."""
        for entry in self._graph.input:
            self._name(entry.name, self._add(entry))
        for tensor in self._graph.initializer:
            self._name(tensor.name, self._add(_raw(onnx.numpy_helper.to_array(tensor))))
        for node in self._graph.node:
            self._read(node)
        output = self._graph.output[0]
        last = self._add(output, output.name)
        whole = Image(self._layers, self._edges)
        needed = whole.needed_by(last)
        left = [n for n in self._layers if n in needed or whole.kind(n) == INPUT]
        # Numbers without gaps: graphs of the same kinds have the same ones, whatever else was exported.
        new = {old: number for number, old in enumerate(left, 1)}
        edges = [replace(e, source=new[e.source], target=new[e.target]) for e in self._edges if e.target in needed]
        return Image({new[n]: self._layers[n] for n in left}, edges)

    def _add(self, layer: Layer, *inputs: str) -> int:
        sources = [self._own(self._sockets[name]) if name else None for name in inputs]
        number = len(self._layers) + 1
        self._layers[number] = layer
        self._edges += [Edge(*source, number, port) for port, source in enumerate(sources) if source]
        return number

    def _own(self, socket: Socket) -> Socket:
        """Return a copy for one reader alone of a few integers, or of a shape with such: exports merge equal ones."""
        layer, port = socket
        held, fed = self._layers[layer], [edge for edge in self._edges if edge.target == layer]
        shape = isinstance(held, onnx.NodeProto) and held.op_type == "Concat"
        if not _few_integers(held) and not (shape and any(_few_integers(self._layers[e.source]) for e in fed)):
            return socket
        sources = [self._own((edge.source, edge.source_port)) for edge in fed]
        number = len(self._layers) + 1
        self._layers[number] = held
        self._edges += [Edge(*source, number, edge.target_port) for source, edge in zip(sources, fed, strict=True)]
        return (number, port)

    def _name(self, name: str, number: int, port: int = 0) -> None:
        self._sockets[name] = (number, port)

    def _read(self, node: onnx.NodeProto) -> None:
        if node.op_type == CONSTANT:
            value = onnx.helper.get_attribute_value(node.attribute[0])
            array = onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.array(value)
            self._name(node.output[0], self._add(_raw(array)))
        elif node.op_type == "Gemm":
            self._multiply(node)
        else:
            bare = onnx.NodeProto(op_type=node.op_type, domain=node.domain, attribute=node.attribute)
            number = self._add(bare, *node.input)
            for port, name in enumerate(node.output):
                self._name(name, number, port)

    def _multiply(self, node: onnx.NodeProto) -> None:
        """Read ``x @ w (+ b)``, the matrix turned where the node would have turned it."""
        source, matrix, *bias = node.input
        settings = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        assert settings.get("alpha", 1.0) == settings.get("beta", 1.0) == 1.0 and not settings.get("transA")
        if settings.get("transB"):
            held = self._layers[self._sockets[matrix][0]]
            assert isinstance(held, onnx.TensorProto)
            turned = np.ascontiguousarray(onnx.numpy_helper.to_array(held).T)
            matrix = f"{matrix}.turned"
            self._name(matrix, self._add(_raw(turned)))
        product = self._add(onnx.NodeProto(op_type="MatMul"), source, matrix)
        self._name(node.output[0], product)
        if bias:
            self._name(node.output[0], self._add(onnx.NodeProto(op_type="Add"), node.output[0], *bias))


def _few_integers(layer: Layer) -> bool:
    return isinstance(layer, onnx.TensorProto) and layer.data_type in INTEGERS and math.prod(layer.dims) <= FEW


def _raw(array: npt.NDArray[Any]) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape))


@contextmanager
def _silent() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with quiet():
            yield
    finally:
        logging.disable(before)


def _exported(module: nn.Module, example: Mapping[str, torch.Tensor]) -> onnx.ModelProto:
    rows, tokens = torch.export.Dim("rows"), torch.export.Dim("tokens")
    shapes = {name: {0: rows, 1: tokens} for name in example}
    try:
        with _silent(), torch.no_grad():
            # What the fused attention of torch adds for rows without any token costs a third of the nodes.
            if isinstance(module, PreTrainedModel):
                module.set_attn_implementation("eager")
            program = torch.onnx.export(
                module,
                (),
                kwargs=dict(example),
                dynamic_shapes=shapes,
                dynamo=True,
                verbose=False,
                opset_version=OPSETS[""],
            )
            assert program is not None
            return onnx.inliner.inline_local_functions(program.model_proto)
    except Exception as error:
        raise StudyError(
            "the target cannot convert this model",
            where="target.runtime",
            given=f"{type(module).__name__}: {one_line(str(error), 160)}",
            allowed="a module that torch.export follows and that returns its logits",
            hint="choose another model, or another runtime",
        ) from error
