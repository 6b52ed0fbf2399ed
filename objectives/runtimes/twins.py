"""Finds where parameters and widths of a module show in its graph, by means of twins.

A twin of the module gets random parameters, so that every constant of its graph tells which parameter it is. Another
twin loses one unit of every structure: the numbers that differ tell by how much a unit counts.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
import torch
from slimfront.objectives.runtimes.graph import Bytes, Graph
from slimfront.objectives.runtimes.passages import Inside, marked, unmarked
from slimfront.studies.compressed import Cut
from torch import nn

G = TypeVar("G", bound=Graph)


@dataclass(frozen=True)
class Gap:
    """A number that depends on the units kept in one structure.

    Attributes:
        structure: The structure's name.
        dense: The number in the dense graph.
        step: What one unit adds to it.
    """

    structure: str
    dense: int
    step: int

    def number(self, missing: Mapping[str, int]) -> int:
        """Return the number where some units of structures are missing."""
        return self.dense - missing.get(self.structure, 0) * self.step


@dataclass(frozen=True)
class Width:
    """A constant integer that depends on the units kept in one structure.

    Attributes:
        gap: Which number.
        offset: Where it is, in bytes.
        size: Bytes of the integer: 4 or 8.
    """

    gap: Gap
    offset: int
    size: int

    def value(self, missing: Mapping[str, int]) -> Bytes:
        """Return the integer's bytes where some units of structures are missing."""
        kind = np.int64 if self.size == 8 else np.int32
        return np.array([self.gap.number(missing)], dtype=kind).view(np.uint8)


@dataclass
class Place:
    """Which constants hold a parameter.

    Attributes:
        constants: Their layers' numbers.
        transposed: Whether the graph holds the matrix transposed.
    """

    constants: list[int]
    transposed: bool


@dataclass(frozen=True)
class Twins(Generic[G]):
    """The graphs of both twins, which have the same layers.

    Attributes:
        graph: The graph of the twin with all units.
        smaller: The graph of the twin that lost one unit of every structure.
        where: See :func:`places`.
        owned: See :func:`owners`.
        inside: The removable blocks, by name.
    """

    graph: G
    smaller: G
    where: Mapping[str, Place]
    owned: Mapping[int, list[str]]
    inside: Mapping[str, Inside]

    @property
    def held(self) -> set[int]:
        """The constants that hold parameters."""
        return {layer for place in self.where.values() for layer in place.constants}


def paired(
    module: nn.Module, cuts: Mapping[str, Cut], blocks: Sequence[str], convert: Callable[[nn.Module], G]
) -> Twins[G] | None:
    """Return the twins of a module, or None where it is unclear how widths or blocks show in its graph.

    Args:
        module: The dense module.
        cuts: Its prunable structures.
        blocks: Those of its blocks that may be removed, in the order in which they are run.
        convert: Makes the graph of a module.
    """
    twin = randomized(module)
    graph, inside = marked_graph(twin, blocks, convert)
    if set(inside) != set(blocks):
        return None
    where = places(twin, graph)
    for cut in cuts.values():
        cut.remove_last(twin)
    randomize(twin)
    smaller = marked_graph(twin, blocks, convert)[0] if cuts else graph
    if graph.kinds() != smaller.kinds():
        return None
    owned = owners(graph, where, cuts)
    graph, smaller = (unshared(part, owned) for part in (graph, smaller))
    return Twins(graph, smaller, where, owned, inside)


def marked_graph(
    module: nn.Module, blocks: Sequence[str], convert: Callable[[nn.Module], G]
) -> tuple[G, dict[str, Inside]]:
    """Return the graph of a module, and by name those of some blocks that can be taken out of it."""
    with marked(module, blocks):
        graph = convert(module)
    return unmarked(graph, blocks)


def randomized(module: nn.Module) -> nn.Module:
    """Return a twin with random parameters."""
    twin = copy.deepcopy(module)
    randomize(twin)
    return twin


def randomize(module: nn.Module) -> None:
    """Give a module random parameters: none equals another, and none is a 0 or 1 that conversion would drop."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)


def sum_of(value: Bytes) -> bytes:
    """Return what tells bytes from other bytes."""
    return hashlib.sha1(value.tobytes(), usedforsecurity=False).digest()


def places(module: nn.Module, graph: Graph) -> dict[str, Place]:
    """Return the place of each parameter that the graph of a twin holds."""
    known: dict[bytes, tuple[str, bool]] = {}
    for name, parameter in module.named_parameters():
        value = parameter.detach().numpy()
        known[sum_of(np.ascontiguousarray(value).reshape(-1).view(np.uint8))] = (name, False)
        if value.ndim == 2:
            flipped = np.ascontiguousarray(value.T).reshape(-1).view(np.uint8)
            known.setdefault(sum_of(flipped), (name, True))
    found: dict[str, Place] = {}
    for layer in graph.layers:
        held = graph.floats(layer)
        if held is not None and (named := known.get(sum_of(held))):
            found.setdefault(named[0], Place([], named[1])).constants.append(layer)
    return found


def owners(graph: Graph, where: Mapping[str, Place], cuts: Mapping[str, Cut]) -> dict[int, list[str]]:
    """Return the structures between whose weights each layer stands."""
    found: dict[int, list[str]] = {layer: [] for layer in graph.layers}
    for name, cut in cuts.items():
        starts = [e.target for producer in cut.producers for c in where[producer].constants for e in graph.readers(c)]
        ends = [edge.target for constant in where[cut.consumer].constants for edge in graph.readers(constant)]
        for layer in graph.between(starts, ends):
            found[layer].append(name)
    return found


def unshared(graph: G, owned: Mapping[int, list[str]]) -> G:
    """Give each structure integers of its own: conversion merges equal ones, which widths then make different."""
    layers, edges = {}, list(graph.edges)
    free = max(graph.layers) + 1
    for layer, element in graph.layers.items():
        layers[layer] = element
        if graph.integers(layer) is None:
            continue
        structures = dict.fromkeys(tuple(owned[edge.target]) for edge in graph.readers(layer))
        for structure in list(structures)[1:]:
            layers[free] = graph.copied(layer, free)
            own = {edge for edge in graph.readers(layer) if tuple(owned[edge.target]) == structure}
            edges = [replace(edge, source=free) if edge in own else edge for edge in edges]
            free += 1
    return graph.but(layers, edges)


def differing(
    one: Graph, other: Graph, layer: int, owned: Mapping[int, list[str]], held: set[int]
) -> dict[int, Gap] | None:
    """Return by position the integers of a constant that depend on a width; None where it is unclear on which.

    Args:
        one: The twin's graph.
        other: The graph of the twin that lost a unit of every structure.
        layer: Number of the constant, in both.
        owned: See :func:`owners`.
        held: Constants that hold parameters.
    """
    values = one.integers(layer), other.integers(layer)
    if values[0] is None or values[1] is None or np.array_equal(values[0], values[1]):
        return {}
    structures = _served(one, layer, owned, held)
    if len(values[0]) != len(values[1]) or len(structures) != 1 or len(next(iter(structures))) != 1:
        return None
    structure = next(iter(structures))[0]
    return {
        position: Gap(structure, int(values[0][position]), int(values[0][position] - values[1][position]))
        for position in np.flatnonzero(values[0] != values[1]).tolist()
    }


def _served(graph: Graph, layer: int, owned: Mapping[int, list[str]], held: set[int]) -> set[tuple[str, ...]]:
    """Return the owners of the first layers that have one on all ways from a layer."""
    found, seen, ahead = set(), {layer}, [layer]
    while ahead:
        for target in (edge.target for edge in graph.readers(ahead.pop())):
            if target in held or target in seen:
                continue
            seen.add(target)
            if owned[target]:
                found.add(tuple(owned[target]))
            else:
                ahead.append(target)
    return found


def graph_shape(held: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Return a parameter's shape with the axes of one that a graph adds.

    Args:
        held: Its shape in the dense graph.
        shape: Its own shape.
    """
    if len(held) == len(shape):
        return tuple(shape)
    wide = [size for size in held if size != 1]
    if len(wide) != len(shape):
        return (1,) * (len(held) - len(shape)) + tuple(shape)
    sizes = iter(shape)
    return tuple(next(sizes) if size != 1 else 1 for size in held)
