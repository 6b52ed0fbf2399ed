"""A converted model as a graph: layers by number, in the order in which they are computed, and edges between ports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
# A layer and one of its output ports.
Socket = tuple[int, int]


@dataclass(frozen=True)
class Edge:
    """A connection from an output port to an input port; layers by number."""

    source: int
    source_port: int
    target: int
    target_port: int


@dataclass
class Graph(ABC):
    """See the module.

    Attributes:
        layers: The layers by number, in the order in which they are computed; constants are layers, too.
        edges: All connections.
        shape_of: Kind of the operation that reads a shape: what depends on a shape does not depend on what has it.
    """

    layers: dict[int, Any]
    edges: list[Edge]
    _into: dict[int, list[Edge]] = field(init=False, repr=False)
    _out: dict[int, list[Edge]] = field(init=False, repr=False)

    shape_of: ClassVar[str]

    def __post_init__(self) -> None:
        self._into, self._out = defaultdict(list), defaultdict(list)
        for edge in self.edges:
            self._into[edge.target].append(edge)
            self._out[edge.source].append(edge)

    @abstractmethod
    def but(self, layers: dict[int, Any], edges: list[Edge]) -> Self:
        """Return the same graph with other layers and edges."""

    @abstractmethod
    def kind(self, layer: int) -> str:
        """Return the operation of a layer."""

    @abstractmethod
    def floats(self, layer: int) -> Bytes | None:
        """Return the bytes of a constant of float32, or None where the layer is something else."""

    @abstractmethod
    def integers(self, layer: int) -> npt.NDArray[np.int64] | None:
        """Return the values of a constant of integers, flat, or None where the layer is something else."""

    @abstractmethod
    def copied(self, layer: int, number: int) -> Any:
        """Return a copy of a constant that can stand beside it under another number."""

    def kinds(self) -> list[str]:
        """Return the operation of each layer in order."""
        return [self.kind(layer) for layer in self.layers]

    def readers(self, layer: int) -> list[Edge]:
        """Return the edges that leave a layer."""
        return self._out[layer]

    def inputs(self, layer: int) -> list[Edge]:
        """Return the edges that enter a layer."""
        return self._into[layer]

    def feeder(self, layer: int, port: int) -> Socket:
        """Return the layer and its output port that feed an input port."""
        return next((edge.source, edge.source_port) for edge in self._into[layer] if edge.target_port == port)

    def needed_by(self, layer: int) -> set[int]:
        """Return all layers on which a layer depends, itself included."""
        return _reach({layer}, {n: [e.source for e in edges] for n, edges in self._into.items()}, set())

    def only_for(self, layers: set[int], but_not: set[int]) -> set[int]:
        """Return the layers that serve nothing but ``layers``, directly or through each other."""
        served = set(layers)
        for layer in reversed(self.layers):
            readers = {edge.target for edge in self._out[layer]}
            if layer not in but_not and readers and readers <= served:
                served.add(layer)
        return served - layers

    def between(self, starts: Iterable[int], ends: Iterable[int], but_not: str = "") -> set[int]:
        """Return the layers that some of ``starts`` feed and that feed some of ``ends``, both included.

        Paths through operations of the kind ``but_not`` do not count.
        """
        begin, stop = set(starts), set(ends)
        left = {layer for layer in self.layers if self.kind(layer) != but_not}
        ahead = _reach(begin, {n: [e.target for e in self._out[n] if e.target in left] for n in left}, stop)
        behind = _reach(stop, {n: [e.source for e in self._into[n] if e.source in left] for n in left}, begin)
        return ahead & behind


def _reach(starts: set[int], following: Mapping[int, Sequence[int]], stops: set[int]) -> set[int]:
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
