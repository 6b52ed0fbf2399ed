"""Finds the removable blocks of a module in its converted graph: marks around them are traced, then taken out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from slimfront.objectives.runtimes.graph import Edge, Graph, Socket
from torch import nn

# An operation that no model of ours uses and no conversion merges with another.
KIND = "Atan"
G = TypeVar("G", bound=Graph)


@contextmanager
def marked(module: nn.Module, blocks: Iterable[str]) -> Iterator[None]:
    """Put a mark before and behind each block while ``module`` is traced."""

    def before(_block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if args:
            return (torch.atan(args[0]), *args[1:]), kwargs
        first = next(iter(kwargs))
        return args, {**kwargs, first: torch.atan(kwargs[first])}

    def behind(_block: nn.Module, _args: Any, output: Any) -> Any:
        return (torch.atan(output[0]), *output[1:]) if isinstance(output, tuple) else torch.atan(output)

    parts = [module.get_submodule(name) for name in blocks]
    handles = [part.register_forward_pre_hook(before, with_kwargs=True) for part in parts]
    handles += [part.register_forward_hook(behind) for part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class Passage:
    """Where a removable block begins and ends.

    Attributes:
        read: Layer and port of what it reads.
        made: Layer and port of what it gives on.
    """

    read: Socket
    made: Socket

    def shifted(self, shift: int) -> Passage:
        """Return the same passage where all layers' numbers are larger by ``shift``."""
        return Passage((self.read[0] + shift, self.read[1]), (self.made[0] + shift, self.made[1]))


@dataclass(frozen=True)
class Inside:
    """A removable block in a graph.

    Attributes:
        passage: Where it begins and ends.
        layers: What goes with it.
    """

    passage: Passage
    layers: frozenset[int]


def unmarked(graph: G, blocks: Sequence[str]) -> tuple[G, dict[str, Inside]]:
    """Return the graph without the marks, and by name the blocks of which it is clear what belongs to them.

    Of a block that computes more than one thing that others read, a shape say, it is not.

    Args:
        graph: The graph of a marked module.
        blocks: The blocks, in the order in which they are run.
    """
    marks = [layer for layer in graph.layers if graph.kind(layer) == KIND]

    def origin(socket: Socket) -> Socket:
        while socket[0] in marks:
            socket = graph.feeder(socket[0], 0)
        return socket

    found = {}
    for name, first, last in zip(blocks, marks[::2], marks[1::2], strict=False):
        layers = graph.between([first], [last], but_not=graph.shape_of) - {first, last}
        layers |= graph.only_for(layers, but_not=graph.needed_by(first))
        passage = Passage(origin(graph.feeder(first, 0)), origin(graph.feeder(last, 0)))
        leaving = {(e.source, e.source_port) for n in layers for e in graph.readers(n) if e.target not in layers}
        if leaving == {passage.made} and len(marks) == 2 * len(blocks) and not layers & set(marks):
            found[name] = Inside(passage, frozenset(layers))
    edges = [
        Edge(*origin((edge.source, edge.source_port)), edge.target, edge.target_port)
        for edge in graph.edges
        if edge.target not in marks
    ]
    left = {layer: element for layer, element in graph.layers.items() if layer not in marks}
    return graph.but(left, edges), found
