"""Converts a module once and finds where each parameter and each width went in the graph."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from slimfront.studies.compressed import Cut
from slimfront.studies.errors import StudyError, one_line
from slimfront.studies.models import quiet
from torch import nn

Port = tuple[str, int]


@dataclass(frozen=True)
class Place:
    """Where a parameter enters the graph.

    Attributes:
        ports: Input ports, as the node's name and the port's number.
        transposed: Whether the graph holds the matrix transposed.
        shape: Its shape in the dense graph, where axes of one may have been added.
    """

    ports: tuple[Port, ...]
    transposed: bool
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Width:
    """A constant that depends on the number of units of one structure.

    Attributes:
        structure: The structure's name.
        port: The input port that it feeds.
        dense: Its value in the dense graph.
        step: What one unit adds to it.
    """

    structure: str
    port: Port
    dense: npt.NDArray[np.int64]
    step: npt.NDArray[np.int64]

    def at(self, missing: int) -> npt.NDArray[np.int64]:
        """Return the value with ``missing`` units fewer."""
        return self.dense - missing * self.step


def convert(module: nn.Module, example: Mapping[str, torch.Tensor]) -> Any:
    """Return the OpenVINO graph of a module, with names that repeat from run to run.

    Raises:
        StudyError: OpenVINO cannot convert the module.
    """
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
    return graph


def trace_parameters(module: nn.Module, example: Mapping[str, torch.Tensor]) -> tuple[Any, dict[str, Place]]:
    """Return a graph and the place of each parameter that it holds.

    A twin of the module gets random parameters, so that every constant of its graph tells which parameter it is.
    """
    twin = copy.deepcopy(module)
    _randomize(twin)
    graph = convert(twin, example)
    known: dict[bytes, tuple[str, bool]] = {}
    for name, parameter in twin.named_parameters():
        value = parameter.detach().numpy()
        known[value.tobytes()] = (name, False)
        if value.ndim == 2:
            known.setdefault(np.ascontiguousarray(value.T).tobytes(), (name, True))
    places: dict[str, Place] = {}
    for node in constants(graph):
        data = node.get_data()
        found = known.get(np.ascontiguousarray(data).tobytes()) if data.dtype == np.float32 else None
        if found is not None:
            before = places[found[0]].ports if found[0] in places else ()
            places[found[0]] = Place(before + tuple(_ports(node)), found[1], data.shape)
    return graph, places


def _randomize(module: nn.Module) -> None:
    """Give a module random parameters: none equals another, and none is a 0 or 1 that conversion would drop."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)


def constants(graph: Any) -> Iterator[Any]:
    """Yield the constants of a graph in order."""
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "Constant":
            yield node


def _ports(node: Any) -> list[Port]:
    ports = [(port.get_node().get_friendly_name(), port.get_index()) for port in node.output(0).get_target_inputs()]
    return sorted(ports)


def trace_widths(
    graph: Any,
    module: nn.Module,
    example: Mapping[str, torch.Tensor],
    places: Mapping[str, Place],
    cuts: Mapping[str, Cut],
) -> list[Width] | None:
    """Return every integer constant that depends on a structure's number of units, or None where it is unclear.

    The module is converted again with one unit less in every structure: constants that differ tell by how much a
    unit counts, and the structure is the one between whose weights they stand.
    """
    twin = copy.deepcopy(module)
    for cut in cuts.values():
        cut.remove_last(twin)
    _randomize(twin)
    smaller = convert(twin, example)
    before, after = graph.get_ordered_ops(), smaller.get_ordered_ops()
    if [node.get_type_name() for node in before] != [node.get_type_name() for node in after]:
        return None
    between = {name: _between(graph, places, cut) for name, cut in cuts.items()}
    widths: list[Width] = []
    for node, other in zip(before, after, strict=True):
        for port in range(node.get_input_size()):
            values = [_integers(n.input_value(port).get_node()) for n in (node, other)]
            if values[0] is None or values[1] is None or np.array_equal(values[0], values[1]):
                continue
            owners = [name for name, names in between.items() if node.get_friendly_name() in names]
            if len(owners) != 1 or values[0].shape != values[1].shape:
                return None
            widths.append(Width(owners[0], (node.get_friendly_name(), port), values[0], values[0] - values[1]))
    return widths


def _integers(node: Any) -> npt.NDArray[np.int64] | None:
    if node.get_type_name() != "Constant" or not node.get_element_type().is_integral_number():
        return None
    return np.array(node.get_data(), dtype=np.int64)


def _between(graph: Any, places: Mapping[str, Place], cut: Cut) -> set[str]:
    """Return the names of the nodes that the producers feed and that feed the consumer."""
    nodes = {node.get_friendly_name(): node for node in graph.get_ordered_ops()}
    starts = [nodes[name] for producer in cut.producers for name, _ in places[producer].ports]
    ends = {name for name, _ in places[cut.consumer].ports}
    ahead = _reach(starts, _successors, ends)
    behind = _reach([nodes[name] for name in ends], _predecessors, {node.get_friendly_name() for node in starts})
    return ahead & behind


def _successors(node: Any) -> list[Any]:
    return [port.get_node() for out in node.outputs() for port in out.get_target_inputs()]


def _predecessors(node: Any) -> list[Any]:
    return [node.input_value(port).get_node() for port in range(node.get_input_size())]


def _reach(starts: list[Any], step: Any, stops: set[str]) -> set[str]:
    seen: set[str] = set()
    queue = list(starts)
    while queue:
        node = queue.pop()
        name = node.get_friendly_name()
        if name in seen:
            continue
        seen.add(name)
        if name not in stops:
            queue += step(node)
    return seen
