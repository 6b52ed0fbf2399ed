"""A converted graph as it is saved: layers, edges and the bytes of its constants."""

from __future__ import annotations

import re
import tempfile
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from slimfront.studies.errors import StudyError, one_line
from slimfront.studies.models import quiet
from torch import nn

MODEL, WEIGHTS = "openvino_model.xml", "openvino_model.bin"
INTEGERS = {"i64": np.int64, "i32": np.int32}


@dataclass(frozen=True)
class Edge:
    """A connection from an output port to an input port; layers by id."""

    source: int
    source_port: int
    target: int
    target_port: int


@dataclass
class Image:
    """See the module.

    Attributes:
        net: The whole tree.
        layers: The layers by id, in order.
        edges: All connections.
        data: Bytes of all constants.
    """

    net: ET.Element
    layers: dict[int, ET.Element]
    edges: list[Edge]
    data: npt.NDArray[np.uint8]
    _into: dict[int, list[Edge]] = field(default_factory=lambda: defaultdict(list))
    _out: dict[int, list[Edge]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for edge in self.edges:
            self._into[edge.target].append(edge)
            self._out[edge.source].append(edge)

    @classmethod
    def of(cls, module: nn.Module, example: Mapping[str, torch.Tensor]) -> Image:
        """Convert a module.

        Raises:
            StudyError: OpenVINO cannot convert it.
        """
        with tempfile.TemporaryDirectory() as folder:
            _convert(module, example, Path(folder) / MODEL)
            net = ET.parse(Path(folder) / MODEL).getroot()
            data = np.fromfile(Path(folder) / WEIGHTS, dtype=np.uint8)
        names = ("from-layer", "from-port", "to-layer", "to-port")
        edges = [Edge(*(int(edge.attrib[name]) for name in names)) for edge in net.iter("edge")]
        return cls(net, {int(layer.attrib["id"]): layer for layer in net.iter("layer")}, edges, data)

    def kinds(self) -> list[str]:
        """Return the operation of each layer in order."""
        return [layer.attrib["type"] for layer in self.layers.values()]

    def readers(self, layer: int) -> list[Edge]:
        """Return the edges that leave a layer."""
        return self._out[layer]

    def feeder(self, layer: int, port: int) -> tuple[int, int]:
        """Return the layer and its output port that feed an input port."""
        return next((edge.source, edge.source_port) for edge in self._into[layer] if edge.target_port == port)

    def needed_by(self, layer: int) -> set[int]:
        """Return all layers on which a layer depends, itself included."""
        return _reach({layer}, {n: [e.source for e in edges] for n, edges in self._into.items()}, set())

    def only_for(self, layers: set[int], but_not: set[int]) -> set[int]:
        """Return the layers that serve nothing but ``layers``, directly or through each other."""
        served = set(layers)
        # Layers stand in the order in which they are computed.
        for layer in reversed(self.layers):
            readers = {edge.target for edge in self._out[layer]}
            if layer not in but_not and readers and readers <= served:
                served.add(layer)
        return served - layers

    def constant(self, layer: int) -> npt.NDArray[np.uint8] | None:
        """Return the bytes of a constant, or None where the layer is something else."""
        if self.layers[layer].attrib["type"] != "Const":
            return None
        offset, size = (int(self.meta(layer)[name]) for name in ("offset", "size"))
        return self.data[offset : offset + size]

    def integers(self, layer: int) -> npt.NDArray[np.int64] | None:
        """Return the values of a constant of integers, flat, or None."""
        value = self.constant(layer)
        kind = INTEGERS.get(self.meta(layer).get("element_type", "")) if value is not None else None
        return None if value is None or kind is None else value.view(kind).astype(np.int64)

    def meta(self, layer: int) -> dict[str, str]:
        """Return the attributes of a layer's operation."""
        data = self.layers[layer].find("data")
        return {} if data is None else dict(data.attrib)

    def between(self, starts: Iterable[int], ends: Iterable[int], but_not: str = "") -> set[int]:
        """Return the layers that some of ``starts`` feed and that feed some of ``ends``, both included.

        Paths through operations of the type ``but_not`` do not count.
        """
        begin, stop = set(starts), set(ends)
        left = {layer for layer, element in self.layers.items() if element.attrib["type"] != but_not}
        ahead = _reach(begin, {n: [e.target for e in self._out[n] if e.target in left] for n in left}, stop)
        behind = _reach(stop, {n: [e.source for e in self._into[n] if e.source in left] for n in left}, begin)
        return ahead & behind


def _reach(starts: set[int], following: Mapping[int, list[int]], stops: set[int]) -> set[int]:
    seen: set[int] = set()
    queue = list(starts)
    while queue:
        layer = queue.pop()
        if layer in seen:
            continue
        seen.add(layer)
        if layer not in stops:
            queue += following.get(layer, [])
    return seen


def _convert(module: nn.Module, example: Mapping[str, torch.Tensor], path: Path) -> None:
    """Save the graph of a module, with names that repeat from run to run."""
    import openvino as ov

    try:
        with quiet(), torch.no_grad():
            graph = ov.convert_model(module, example_input=dict(example))
    except Exception as error:
        raise StudyError(
            "the target cannot convert this model",
            where="target.runtime",
            given=f"{type(module).__name__}: {one_line(str(error), 160)}",
            allowed="a module that torch.jit.trace follows and that returns its logits",
            hint="choose another model, or return tensors only from its forward",
        ) from error
    for number, node in enumerate(graph.get_ordered_ops()):
        name = node.get_friendly_name()
        if re.fullmatch(rf"{node.get_type_name()}_\d+", name) or not name:
            node.set_friendly_name(f"{node.get_type_name()}.{number}")
    ov.save_model(graph, str(path), compress_to_fp16=False)
