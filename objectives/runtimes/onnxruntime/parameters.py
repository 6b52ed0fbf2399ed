"""How one parameter, at its bit-width, stands in the graph: its constants and nodes, and their bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
import torch
from slimfront.objectives.runtimes.onnxruntime.execution import block_of, is_dynamic
from slimfront.objectives.runtimes.onnxruntime.packing import in_blocks, in_columns, packed_size
from slimfront.objectives.runtimes.twins import graph_shape
from slimfront.studies.compressed import Form, QuantizedTensor

Array = npt.NDArray[np.uint8]
MICROSOFT = "com.microsoft"
# Codes are multiplied with activations that are quantized to 8 bits, block by block.
ACCURACY_LEVEL = 4
FLOAT, HALF, BYTE, LONG = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.UINT8,
    onnx.TensorProto.INT64,
)
WIDTHS: dict[int, int] = {FLOAT: 4, HALF: 2, BYTE: 1, LONG: 8}


@dataclass(frozen=True)
class Use:
    """A node that reads a parameter and is made anew for its form.

    Attributes:
        source: Name of what is multiplied, or of the rows' numbers.
        target: Name of what comes of it.
    """

    source: str
    target: str


@dataclass(frozen=True)
class Feed:
    """Where a parameter enters the graph.

    Attributes:
        transposed: Whether the graph holds the matrix transposed: it does where it multiplies by it.
        shape: Its shape in the dense graph.
        uses: The nodes that are made anew.
        whole: Whether other nodes read it, too, under its own name.
    """

    transposed: bool
    shape: tuple[int, ...]
    uses: tuple[Use, ...]
    whole: bool

    @property
    def product(self) -> bool:
        """Whether the nodes that are made anew multiply by it; else they look rows of it up."""
        return self.transposed


@dataclass
class Written:
    """What one parameter adds to a graph.

    Attributes:
        pieces: Encoded parts of the graph; a number stands for so many bytes of a constant's values.
        nodes: The encoded node of each use.
    """

    pieces: list[bytes | int] = field(default_factory=list)
    nodes: list[bytes] = field(default_factory=list)

    @property
    def values(self) -> int:
        """Bytes of the constants' values."""
        return sum(piece for piece in self.pieces if isinstance(piece, int))

    @property
    def size(self) -> int:
        """Bytes of everything."""
        rest = [piece for piece in self.pieces if isinstance(piece, bytes)]
        return self.values + sum(map(len, (*rest, *self.nodes)))

    def constant(self, name: str, kind: int, shape: Sequence[int]) -> str:
        """Add a constant and return its name."""
        count = math.prod(shape) * WIDTHS[kind]
        head = onnx.TensorProto(dims=shape, data_type=kind, name=name).SerializeToString()
        # Field 9 of a tensor holds its bytes, field 5 of a graph a constant; both are lengths and bytes (wire type 2).
        inner = head + b"\x4a" + varint(count)
        self.pieces += [b"\x2a" + varint(len(inner) + count) + inner, count]
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: int) -> str:
        """Add a node and return the name of its output."""
        self.pieces.append(encoded(kind, inputs, output, "", **attributes))
        return output


def varint(number: int, width: int = 1) -> bytes:
    """Return a number in the encoding of protocol buffers, in ``width`` bytes at least."""
    found = bytearray()
    while number > 0x7F or len(found) + 1 < width:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def encoded(kind: str, inputs: Sequence[str], output: str, name: str = "", **attributes: int) -> bytes:
    """Return a part of a graph that consists of one node; names are none or unique."""
    ours = kind in ("DynamicQuantizeMatMul", "MatMulNBits", "GatherBlockQuantized")
    settings = [onnx.helper.make_attribute(key, value) for key, value in sorted(attributes.items())]
    domain = MICROSOFT if ours else ""
    node = onnx.NodeProto(op_type=kind, input=inputs, output=[output], name=name, domain=domain, attribute=settings)
    return bytes(onnx.GraphProto(node=[node]).SerializeToString())


def write(name: str, form: Form, feed: Feed) -> Written:
    """Return what gives a parameter to those who read it."""
    written = Written()
    if form.bits >= 16:
        _write_floats(name, form, feed, written)
        return written
    if feed.uses:
        _write_codes(name, form, feed, written)
    if feed.whole:
        _write_whole(name, form, feed, written)
    return written


def payload(tensor: torch.Tensor | QuantizedTensor, feed: Feed) -> list[Array]:
    """Return the values of the constants that :func:`write` adds, in its order."""
    if not isinstance(tensor, QuantizedTensor):
        value = np.ascontiguousarray((tensor.T if feed.transposed else tensor).numpy())
        return [value.reshape(-1).view(np.uint8)]
    form, found = Form.of(tensor), []
    if feed.uses:
        dynamic = feed.product and is_dynamic(form)
        found += in_columns(tensor) if dynamic else in_blocks(tensor, block_of(form, feed.product), feed.product)
        found += [] if feed.product else _cut(tensor)
    if feed.whole:
        found += in_blocks(tensor, block_of(form, False), False)
        found += [_longs([number]) for number in (0, tensor.shape[0], 1)] + _cut(tensor)
        found += [_longs(shape) for shape in _reshapes(tensor.shape, feed)]
    return found


def _write_floats(name: str, form: Form, feed: Feed, written: Written) -> None:
    shape = graph_shape(feed.shape, form.shape[::-1] if feed.transposed else form.shape)
    if form.bits == 32:
        written.constant(name, FLOAT, shape)
    else:
        written.node("Cast", [written.constant(f"{name}/f16", HALF, shape)], name, to=FLOAT)
    for number, use in enumerate(feed.uses):
        kind, inputs = ("MatMul", [use.source, name]) if feed.product else ("Gather", [name, use.source])
        written.nodes.append(encoded(kind, inputs, use.target, f"{name}/{number}"))


def _write_codes(name: str, form: Form, feed: Feed, written: Written) -> None:
    dynamic, block = feed.product and is_dynamic(form), block_of(form, feed.product)
    parts = _write_columns(name, form, written) if dynamic else _write_blocks(name, form, block, feed.product, written)
    packed = {"bits": form.bits, "block_size": block}
    ends = [] if feed.product else _ends(name, form, written)
    for number, use in enumerate(feed.uses):
        inputs, settings = [use.source, *parts], {}
        if dynamic:
            kind = "DynamicQuantizeMatMul"
        elif feed.product:
            kind = "MatMulNBits"
            settings = packed | {"K": form.shape[1], "N": form.shape[0], "accuracy_level": ACCURACY_LEVEL}
        else:
            kind, inputs = "GatherBlockQuantized", [parts[0], use.source, *parts[1:]]
            settings = packed | {"gather_axis": 0, "quantize_axis": 1}
        made = f"{use.target}/wide" if ends else use.target
        node = encoded(kind, inputs, made, f"{name}/{number}", **settings)
        written.nodes.append(node + (encoded("Slice", [made, *ends], use.target) if ends else b""))


def _write_columns(name: str, form: Form, written: Written) -> list[str]:
    """Add codes, scales and zero points of a matrix that is multiplied in integers; return their names."""
    rows, columns = form.shape
    codes = written.constant(f"{name}/codes", BYTE, (columns, rows))
    half = written.constant(f"{name}/scales/f16", HALF, (rows,))
    zeros = written.constant(f"{name}/zero_points", BYTE, (rows,))
    return [codes, written.node("Cast", [half], f"{name}/scales", to=FLOAT), zeros]


def _write_blocks(name: str, form: Form, block: int, product: bool, written: Written) -> list[str]:
    """Add codes, scales and zero points in blocks along the rows; return their names."""
    rows, columns = form.shape
    blocks = -(-columns // block)
    shape = (rows, blocks, packed_size(block, form.bits)) if product else (rows, packed_size(columns, form.bits))
    codes = written.constant(f"{name}/codes", BYTE, shape)
    half = written.constant(f"{name}/scales/f16", HALF, (rows, blocks))
    zeros = written.constant(f"{name}/zero_points", BYTE, (rows, packed_size(blocks, form.bits)))
    return [codes, written.node("Cast", [half], f"{name}/scales", to=FLOAT), zeros]


def _write_whole(name: str, form: Form, feed: Feed, written: Written) -> None:
    """Add the whole matrix in floats: all its rows are looked up."""
    block = block_of(form, False)
    codes, *others = _write_blocks(f"{name}/whole", form, block, False, written)
    ends = [written.constant(f"{name}/{part}", LONG, ()) for part in ("start", "limit", "delta")]
    every = written.node("Range", ends, f"{name}/rows/all")
    settings = {"gather_axis": 0, "quantize_axis": 1, "bits": form.bits, "block_size": block}
    steps = [name, f"{name}/flat", f"{name}/straight"][: 1 + feed.transposed + bool(_reshapes(form.shape, feed))]
    cut = _ends(f"{name}/whole", form, written)
    first = steps.pop()
    made = written.node("GatherBlockQuantized", [codes, every, *others], f"{first}/wide" if cut else first, **settings)
    if cut:
        made = written.node("Slice", [made, *cut], first)
    if feed.transposed:
        made = written.node("Transpose", [made], steps.pop())
    for shape in _reshapes(form.shape, feed):
        made = written.node("Reshape", [made, written.constant(f"{name}/shape", LONG, (len(shape),))], name)


def _ends(name: str, form: Form, written: Written) -> list[str]:
    """Add where rows end that do not fill their last byte: the lookup gives all codes of it."""
    if form.shape[1] * form.bits % 8 == 0:
        return []
    return [written.constant(f"{name}/{part}", LONG, (1,)) for part in ("from", "to", "along")]


def _cut(tensor: QuantizedTensor) -> list[Array]:
    return [_longs([value]) for value in (0, tensor.shape[1], -1)] if tensor.shape[1] * tensor.bits % 8 else []


def _reshapes(shape: Sequence[int], feed: Feed) -> list[tuple[int, ...]]:
    """Return the shape in the graph, where it is another than the matrix's own."""
    turned = tuple(shape[::-1] if feed.transposed else shape)
    wanted = graph_shape(feed.shape, turned)
    return [wanted] if wanted != turned else []


def _longs(values: Sequence[int]) -> Array:
    return np.array(values, dtype=np.int64).view(np.uint8)
