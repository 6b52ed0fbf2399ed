"""Finds where each parameter and each width went in an exported graph, and makes the template of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
import torch
from slimfront.objectives.runtimes.graph import Edge, Socket
from slimfront.objectives.runtimes.onnxruntime.image import CONSTANT, INPUT, OUTPUT, Image
from slimfront.objectives.runtimes.onnxruntime.parameters import Feed, Use, encoded
from slimfront.objectives.runtimes.onnxruntime.template import Section, Slot, Template
from slimfront.objectives.runtimes.twins import Place, Twins, Width, differing, marked_graph, paired, randomized
from slimfront.studies.compressed import Cut
from torch import nn

LOGITS = "logits"
# Which input of an operation multiplies by a matrix, and which is a table of rows.
PRODUCT, ROWS = ("MatMul", 1), ("Gather", 0)


def removable(module: nn.Module, example: Mapping[str, torch.Tensor], blocks: Sequence[str]) -> list[str]:
    """Return those of some blocks that can be taken out of a module's graph.

    Raises:
        StudyError: the module cannot be exported.
    """
    return list(marked_graph(randomized(module), blocks, lambda twin: Image.of(twin, example))[1])


def trace(
    module: nn.Module, example: Mapping[str, torch.Tensor], cuts: Mapping[str, Cut], blocks: Sequence[str]
) -> Template | None:
    """Return the template of a module, or None where it is unclear how widths or blocks show in its graph.

    Raises:
        StudyError: the module cannot be exported.
    """
    twins = paired(module, cuts, blocks, lambda twin: Image.of(twin, example))
    return None if twins is None else _Tracer(twins).template()


class _Tracer:
    def __init__(self, twins: Twins[Image]) -> None:
        self._twins, self._image = twins, twins.graph
        self._parameters = {layer: name for name, place in twins.where.items() for layer in place.constants}
        self._member = {layer: name for name, block in twins.inside.items() for layer in block.layers}
        self._slots: dict[int, Slot] = {}

    def template(self) -> Template | None:
        """Return the template, or None where it is unclear on what a constant depends."""
        feeds = {name: self._feed(name, place) for name, place in self._twins.where.items()}
        constants, nodes = [], []
        for layer in self._image.layers:
            kind = self._image.kind(layer)
            if kind == CONSTANT and layer not in self._parameters:
                section = self._constant(layer)
                if section is None:
                    return None
                constants.append(section)
            elif kind not in (CONSTANT, INPUT, OUTPUT):
                if not self._equal(layer):
                    return None
                nodes.append((layer, self._slots.get(layer) or self._node(layer)))
        parts = _merged([*constants, *self._with_detours(nodes), self._result()])
        return Template(self._start(), tuple(parts), feeds, self._owners())

    # ---- names -------------------------------------------------------------------------------------------------

    def _named(self, socket: Socket) -> str:
        layer, port = socket
        if layer in self._parameters:
            return self._parameters[layer]
        element = self._image.layers[layer]
        if isinstance(element, onnx.ValueInfoProto):
            return str(element.name)
        return f"t{layer}.{port}" if port else f"t{layer}"

    def _inputs(self, layer: int) -> list[str]:
        edges = self._image.inputs(layer)
        found = [""] * (1 + max((edge.target_port for edge in edges), default=-1))
        for edge in edges:
            found[edge.target_port] = self._named((edge.source, edge.source_port))
        return found

    # ---- parts -------------------------------------------------------------------------------------------------

    def _start(self) -> bytes:
        elements = [layer for layer in self._image.layers.values() if isinstance(layer, onnx.ValueInfoProto)]
        outputs = [n for n in self._image.layers if self._image.kind(n) == OUTPUT]
        inputs = [e for e in elements if e is not self._image.layers[outputs[0]]]
        result = onnx.ValueInfoProto(name=LOGITS, type=self._image.layers[outputs[0]].type)
        return bytes(onnx.GraphProto(name="slimfront", input=inputs, output=[result]).SerializeToString())

    def _constant(self, layer: int) -> Section | None:
        gaps = differing(self._image, self._twins.smaller, layer, self._twins.owned, self._twins.held)
        tensor = self._image.constant(layer)
        other = self._twins.smaller.constant(layer)
        assert tensor is not None and other is not None
        if gaps is None or (not gaps and tensor.raw_data != other.raw_data):
            return None
        named = onnx.TensorProto()
        named.CopyFrom(tensor)
        named.name = self._named((layer, 0))
        data = onnx.GraphProto(initializer=[named]).SerializeToString()
        # The values are the last field of the last message.
        start, size = len(data) - len(tensor.raw_data), 4 if tensor.data_type == onnx.TensorProto.INT32 else 8
        widths = tuple(Width(gap, start + position * size, size) for position, gap in gaps.items())
        return Section(self._member.get(layer, ""), data, widths)

    def _node(self, layer: int) -> Section:
        ports = {edge.source_port for edge in self._image.readers(layer)}
        outputs = [self._named((layer, port)) if port in ports else "" for port in range(max(ports) + 1)]
        node = onnx.NodeProto()
        node.CopyFrom(self._image.layers[layer])
        node.name = self._name(layer)
        node.input.extend(self._inputs(layer))
        node.output.extend(outputs)
        return Section(self._member.get(layer, ""), onnx.GraphProto(node=[node]).SerializeToString())

    def _result(self) -> Section:
        """Return what gives the last node's output its name."""
        last = next(self._inputs(layer)[0] for layer in self._image.layers if self._image.kind(layer) == OUTPUT)
        return Section("", encoded("Identity", [last], LOGITS))

    def _with_detours(self, nodes: list[tuple[int, Section | Slot]]) -> Iterator[Section | Slot]:
        """Yield the nodes, and behind the last one of each block what stands in for it."""
        last = {self._member[layer]: layer for layer, _ in nodes if layer in self._member}
        for layer, part in nodes:
            yield part
            block = self._member.get(layer, "")
            if block and last[block] == layer:
                passage = self._twins.inside[block].passage
                made = self._named(passage.made)
                yield Section(block, encoded("Identity", [self._named(passage.read)], made), detour=True)

    # ---- parameters --------------------------------------------------------------------------------------------

    def _feed(self, name: str, place: Place) -> Feed:
        shape = tuple(self._image.layers[place.constants[0]].dims)
        uses: list[Use] = []
        whole = False
        for edge in (edge for constant in place.constants for edge in self._image.readers(constant)):
            if not self._made_anew(edge, place, len(shape)):
                whole = True
                continue
            source = self._image.feeder(edge.target, 1 - edge.target_port)
            self._slots[edge.target] = Slot(name, len(uses))
            uses.append(Use(self._named(source), self._named((edge.target, 0))))
        return Feed(place.transposed, shape, tuple(uses), whole)

    def _made_anew(self, edge: Edge, place: Place, axes: int) -> bool:
        """Return whether a node multiplies by a parameter or looks rows of it up, and so is made anew for its form."""
        reads = (self._image.kind(edge.target), edge.target_port)
        rows = reads == ROWS and not self._image.attributes(edge.target).get("axis", 0)
        return axes == 2 and (reads == PRODUCT if place.transposed else rows)

    # ---- what depends on what ------------------------------------------------------------------------------------

    def _equal(self, layer: int) -> bool:
        return bool(self._image.layers[layer] == self._twins.smaller.layers[layer])

    def _name(self, layer: int) -> str:
        return f"{self._image.kind(layer)}.{layer}"

    def _owners(self) -> dict[str, str]:
        """Return the owner of each node by name."""
        found = {layer: names[0] for layer, names in self._twins.owned.items() if len(names) == 1}
        owned = {**self._member, **found}
        kinds = {layer: self._image.kind(layer) for layer in owned}
        nodes = [layer for layer, kind in kinds.items() if kind not in (CONSTANT, INPUT, OUTPUT)]
        return {self._slots[n].parameter if n in self._slots else self._name(n): owned[n] for n in nodes}


def _merged(parts: Sequence[Section | Slot]) -> Iterator[Section | Slot]:
    """Yield the parts, neighbours that are there or not together as one."""

    def together(part: Section | Slot) -> object:
        return (part.block, part.detour) if isinstance(part, Section) else part

    for key, stretch in itertools.groupby(parts, together):
        if isinstance(key, Slot):
            yield from stretch
            continue
        sections = [part for part in stretch if isinstance(part, Section)]
        starts = np.cumsum([0, *(len(part.data) for part in sections)]).tolist()
        widths = [
            Width(width.gap, start + width.offset, width.size)
            for start, part in zip(starts, sections, strict=False)
            for width in part.widths
        ]
        data = b"".join(part.data for part in sections)
        yield Section(sections[0].block, data, tuple(widths), sections[0].detour)
