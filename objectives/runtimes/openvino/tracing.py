"""Finds where each parameter and each width went in a converted graph, and makes the template of it."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from slimfront.objectives.runtimes.graph import Bytes, Edge
from slimfront.objectives.runtimes.openvino.image import Image
from slimfront.objectives.runtimes.openvino.layers import aligned, constant_data
from slimfront.objectives.runtimes.openvino.parameters import Feed
from slimfront.objectives.runtimes.openvino.template import Section, Template, spacing
from slimfront.objectives.runtimes.twins import (
    Gap,
    Place,
    Width,
    differing,
    marked_graph,
    paired,
    randomized,
    sum_of,
)
from slimfront.studies.compressed import Cut
from torch import nn

# Stands for a gap while the text is written; no name can hold it.
MARK = "\x1a"


def trace(
    module: nn.Module, example: Mapping[str, torch.Tensor], cuts: Mapping[str, Cut], blocks: Sequence[str]
) -> Template | None:
    """Return the template of a module, or None where it is unclear how widths or blocks show in its graph.

    Raises:
        StudyError: OpenVINO cannot convert the module.
    """
    twins = paired(module, cuts, blocks, lambda twin: Image.of(twin, example))
    if twins is None:
        return None
    image, smaller, held, owned = twins.graph, twins.smaller, twins.held, twins.owned
    constants, moved = _constants(image, held)
    gaps = _mark_gaps(image, smaller, owned, held)
    widths = _widths(image, smaller, owned, moved, held)
    if gaps is None or widths is None:
        return None
    member = {layer: name for name, block in twins.inside.items() for layer in block.layers}
    shift = _shift(image)
    feeds = dict(_feeds(image, twins.where, shift))
    return Template(
        sections=tuple(_sections(image, held, moved, gaps, member, shift)),
        edges=tuple(
            (edge.source + shift, edge.source_port, edge.target + shift, edge.target_port, member.get(edge.target, ""))
            for edge in image.edges
            if edge.source not in held
        ),
        passages={name: block.passage.shifted(shift) for name, block in twins.inside.items()},
        start=_start(image),
        end=_end(image),
        first=_first_id(shift, feeds),
        feeds=feeds,
        widths=widths,
        owners={**_block_owners(image, member), **_node_owners(image, twins.where, owned)},
        constants=constants,
    )


def _sections(
    image: Image, held: set[int], moved: Mapping[int, int], gaps: list[Gap], member: Mapping[int, str], shift: int
) -> Iterator[Section]:
    """Yield the text of all layers but the parameters', in stretches of one block."""
    left = iter(gaps)
    layers = [layer for layer in image.layers if layer not in held]
    for block, stretch in itertools.groupby(layers, lambda layer: member.get(layer, "")):
        pieces = "".join(_layer_text(image, layer, moved.get(layer), shift) for layer in stretch).split(MARK)
        yield Section(block, tuple(pieces), tuple(itertools.islice(left, len(pieces) - 1)))


def _block_owners(image: Image, member: Mapping[int, str]) -> dict[str, str]:
    return {image.layers[layer].attrib["name"]: block for layer, block in member.items()}


def removable(module: nn.Module, example: Mapping[str, torch.Tensor], blocks: Sequence[str]) -> list[str]:
    """Return those of some blocks that can be taken out of a module's graph.

    Raises:
        StudyError: OpenVINO cannot convert the module.
    """
    return list(marked_graph(randomized(module), blocks, lambda twin: Image.of(twin, example))[1])


def _constants(image: Image, held: set[int]) -> tuple[Bytes, dict[int, int]]:
    """Return the constants that are no parameters, and the offset of each."""
    pieces: list[Bytes] = []
    moved: dict[int, int] = {}
    known: dict[bytes, int] = {}
    end = 0
    for layer in image.layers:
        value = image.constant(layer)
        if value is None or layer in held:
            continue
        # Only equal constants that no width changes share their bytes: integers may become different.
        key = sum_of(value) if image.integers(layer) is None else str(layer).encode()
        if key not in known:
            known[key] = end
            padded = np.zeros(aligned(len(value)), dtype=np.uint8)
            padded[: len(value)] = value
            pieces.append(padded)
            end += len(padded)
        moved[layer] = known[key]
    return (np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.uint8)), moved


def _mark_gaps(image: Image, smaller: Image, owners: Mapping[int, list[str]], held: set[int]) -> list[Gap] | None:
    """Put a mark into the image wherever a size depends on a width; return what each stands for, in order."""
    gaps: list[Gap] = []
    for layer, element in image.layers.items():
        if layer in held:
            continue
        for one, other in zip(element.iter("dim"), smaller.layers[layer].iter("dim"), strict=True):
            if one.text == other.text:
                continue
            if len(owners[layer]) != 1:
                return None
            dense, less = int(one.text or ""), int(other.text or "")
            gaps.append(Gap(owners[layer][0], dense, dense - less))
            one.text = MARK
    return gaps


def _widths(
    image: Image, smaller: Image, owned: Mapping[int, list[str]], moved: Mapping[int, int], held: set[int]
) -> tuple[Width, ...] | None:
    """Return every integer of a constant that depends on a width, or None where it is unclear on which."""
    found: list[Width] = []
    for layer, offset in moved.items():
        gaps = differing(image, smaller, layer, owned, held)
        if gaps is None:
            return None
        size = 8 if image.meta(layer).get("element_type") == "i64" else 4
        found += [Width(gap, offset + position * size, size) for position, gap in gaps.items()]
    return tuple(found)


def _start(image: Image) -> str:
    name, version = image.net.attrib["name"], image.net.attrib["version"]
    return f'<?xml version="1.0"?>\n<net name="{name}" version="{version}"><layers>'


def _end(image: Image) -> str:
    information = image.net.find("rt_info")
    return "</net>" if information is None else ET.tostring(_compact(information), encoding="unicode") + "</net>"


def _shift(image: Image) -> int:
    """Return what is added to the layers' ids, so that all have as many digits: rewiring then costs no byte."""
    shift = 10
    while shift <= max(image.layers):
        shift *= 10
    return shift


def _first_id(shift: int, feeds: Mapping[str, Feed]) -> int:
    first = 10 * shift
    while first * 9 < spacing(feeds) * len(feeds):
        first *= 10
    return first


def _node_owners(image: Image, where: Mapping[str, Place], owners: Mapping[int, list[str]]) -> dict[str, str]:
    """Return the owner of each node by name; the runtime names a product after what it fuses with it."""
    found = {layer: names[0] for layer, names in owners.items() if len(names) == 1}
    for name, place in where.items():
        readers = {edge.target for constant in place.constants for edge in image.readers(constant)}
        for layer in readers:
            if image.layers[layer].attrib["type"] == "MatMul":
                found[layer] = name
                after = [edge.target for edge in image.readers(layer)]
                if len(after) == 1 and image.layers[after[0]].attrib["type"] == "Add":
                    found[after[0]] = name
    return {image.layers[layer].attrib["name"]: owner for layer, owner in found.items()}


def _layer_text(image: Image, layer: int, offset: int | None, shift: int) -> str:
    element = _compact(image.layers[layer])
    element.attrib["id"] = str(layer + shift)
    text = ET.tostring(element, encoding="unicode")
    if offset is None:
        return text
    meta = image.meta(layer)
    old = ET.tostring(next(element.iter("data")), encoding="unicode")
    return text.replace(old, constant_data(meta["element_type"], meta["shape"], offset, int(meta["size"])))


def _compact(element: ET.Element) -> ET.Element:
    """Remove the indentation: it is a third of the text."""
    for part in element.iter():
        part.tail = None
        if part.text is not None and not part.text.strip(" \t\r\n"):
            part.text = None
    return element


def _feeds(image: Image, where: Mapping[str, Place], shift: int) -> Iterator[tuple[str, Feed]]:
    for name, place in where.items():
        edges = [edge for constant in place.constants for edge in image.readers(constant)]
        ports = sorted((edge.target + shift, edge.target_port) for edge in edges)
        shape = image.meta(place.constants[0])["shape"]
        sizes = tuple(int(size) for size in shape.split(",") if size.strip())
        yield name, Feed(tuple(ports), place.transposed, sizes, tuple(_reads(image, edges, shift)))


def _reads(image: Image, edges: list[Edge], shift: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the edges by which what a weight multiplies comes to its products."""
    for product in (edge.target for edge in edges if image.kind(edge.target) == "MatMul" and edge.target_port == 1):
        for edge in image.edges:
            if (edge.target, edge.target_port) == (product, 0):
                yield edge.source + shift, edge.source_port, product + shift, 0
