"""Writes layers of OpenVINO's intermediate representation (IR version 11) as text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from slimfront.objectives.runtimes.openvino.packing import packed_size

# Constants start at multiples of this, so that each may be read as whatever type it is.
ALIGNMENT = 8
# Offsets are padded to one width: the length of the text then depends on each constant alone, not on those before.
OFFSET_WIDTH = 22
PORT_NAMES = {"f32": "FP32", "f16": "FP16", "i64": "I64"}
FLOAT_BYTES = {"f32": 4, "f16": 2, "i64": 8}
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Output:
    """An output port.

    Attributes:
        layer: Id of its layer.
        port: Number of the port.
        element: Element type, such as ``u4``.
        shape: Its shape.
    """

    layer: int
    port: int
    element: str
    shape: Shape


class Layers:
    """Collects layers and edges, and lays their constants out one after the other.

    Attributes:
        next: Id of the next layer.
        end: Where the next constant begins, in bytes.
        layers: Text of each layer.
        edges: Text of each edge.
        offsets: Offset and size of each constant, in bytes.

    Args:
        first: Id of the first layer.
        offset: Where the first constant begins, in bytes.
    """

    def __init__(self, first: int, offset: int) -> None:
        self.next, self.end = first, offset
        self.layers: list[str] = []
        self.edges: list[str] = []
        self.offsets: list[tuple[int, int]] = []

    def constant(self, name: str, element: str, shape: Shape) -> Output:
        """Add a constant; its bytes are expected at the next entry of ``offsets``."""
        size = constant_size(element, shape)
        self.offsets.append((self.end, size))
        data = constant_data(element, ", ".join(map(str, shape)), self.end, size)
        self.end = aligned(self.end + size)
        return self._add(name, "Const", data, [], element, shape)

    def operation(self, name: str, kind: str, data: str, inputs: list[Output], element: str, shape: Shape) -> Output:
        """Add an operation of opset 1 with one output."""
        return self._add(name, kind, f"<data {data} />" if data else "", inputs, element, shape)

    def connect(self, output: Output, layer: int, port: int) -> None:
        """Add an edge."""
        self.edges.append(edge(output.layer, output.port, layer, port))

    def _add(self, name: str, kind: str, data: str, inputs: list[Output], element: str, shape: Shape) -> Output:
        number = self.next
        self.next += 1
        made = Output(number, len(inputs), element, shape)
        ports = "".join(_port(position, source) for position, source in enumerate(inputs))
        self.layers.append(
            f'<layer id="{number}" name={quoteattr(name)} type="{kind}" version="opset1">{data}'
            + (f"<input>{ports}</input>" if ports else "")
            + f"<output>{_port(made.port, made)}</output></layer>"
        )
        for position, source in enumerate(inputs):
            self.connect(source, number, position)
        return made


def edge(source: int, source_port: int, target: int, target_port: int) -> str:
    """Return the text of an edge."""
    return f'<edge from-layer="{source}" from-port="{source_port}" to-layer="{target}" to-port="{target_port}" />'


def constant_data(element: str, shape: str, offset: int, size: int) -> str:
    """Return the data of a constant; the offset takes the same room whatever it is."""
    place = f'offset="{offset}"'.ljust(OFFSET_WIDTH)
    return f'<data element_type="{element}" shape="{shape}" {place} size="{size}" />'


def constant_size(element: str, shape: Shape) -> int:
    """Return the bytes of a constant."""
    count = math.prod(shape)
    return count * FLOAT_BYTES[element] if element in FLOAT_BYTES else packed_size(count, int(element[1:]))


def aligned(size: int) -> int:
    """Return the next multiple of the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def _port(number: int, output: Output) -> str:
    name = PORT_NAMES.get(output.element, output.element.upper())
    dims = "".join(f"<dim>{size}</dim>" for size in output.shape)
    return f'<port id="{number}" precision="{name}">{dims}</port>'
