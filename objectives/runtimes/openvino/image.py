"""A converted graph as it is saved: layers, edges and the bytes of its constants."""

from __future__ import annotations

import copy
import re
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from slimfront.objectives.runtimes.graph import Bytes, Edge, Graph
from slimfront.objectives.sessions.openvino import MODEL, WEIGHTS
from slimfront.studies.errors import StudyError, one_line
from slimfront.studies.models import quiet
from torch import nn

INTEGERS = {"i64": np.int64, "i32": np.int32}


@dataclass
class Image(Graph):
    """See the module.

    Attributes:
        net: The whole tree.
        data: Bytes of all constants.
    """

    net: ET.Element
    data: Bytes

    shape_of = "ShapeOf"

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
        return cls({int(layer.attrib["id"]): layer for layer in net.iter("layer")}, edges, net, data)

    def but(self, layers: dict[int, ET.Element], edges: list[Edge]) -> Image:
        """See :meth:`Graph.but`."""
        return Image(layers, edges, self.net, self.data)

    def kind(self, layer: int) -> str:
        """See :meth:`Graph.kind`."""
        return str(self.layers[layer].attrib["type"])

    def copied(self, layer: int, number: int) -> ET.Element:
        """See :meth:`Graph.copied`."""
        element: ET.Element = copy.deepcopy(self.layers[layer])
        element.attrib |= {"id": str(number), "name": f"{element.attrib['name']}.{number}"}
        return element

    def floats(self, layer: int) -> Bytes | None:
        """See :meth:`Graph.floats`."""
        value = self.constant(layer)
        return value if value is not None and self.meta(layer)["element_type"] == "f32" else None

    def constant(self, layer: int) -> Bytes | None:
        """Return the bytes of a constant, or None where the layer is something else."""
        if self.kind(layer) != "Const":
            return None
        offset, size = (int(self.meta(layer)[name]) for name in ("offset", "size"))
        return self.data[offset : offset + size]

    def integers(self, layer: int) -> npt.NDArray[np.int64] | None:
        """See :meth:`Graph.integers`."""
        value = self.constant(layer)
        kind = INTEGERS.get(self.meta(layer).get("element_type", "")) if value is not None else None
        return None if value is None or kind is None else value.view(kind).astype(np.int64)

    def meta(self, layer: int) -> dict[str, str]:
        """Return the attributes of a layer's operation."""
        data = self.layers[layer].find("data")
        return {} if data is None else dict(data.attrib)


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
    # The name that a process's first graph gets; later ones are counted.
    graph.set_friendly_name("Model0")
    for number, node in enumerate(graph.get_ordered_ops()):
        name = node.get_friendly_name()
        if re.fullmatch(rf"{node.get_type_name()}_\d+", name) or not name:
            node.set_friendly_name(f"{node.get_type_name()}.{number}")
    ov.save_model(graph, str(path), compress_to_fp16=False)
