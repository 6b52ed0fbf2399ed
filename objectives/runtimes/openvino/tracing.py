"""Finds where each parameter and each width went in a converted graph, and makes the template of it."""

from __future__ import annotations

import copy
import hashlib
import itertools
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from slimfront.objectives.runtimes.openvino.image import Image
from slimfront.objectives.runtimes.openvino.layers import aligned, constant_data
from slimfront.objectives.runtimes.openvino.parameters import Feed
from slimfront.objectives.runtimes.openvino.passages import Inside, marked, unmarked
from slimfront.objectives.runtimes.openvino.template import MOST_LAYERS, Gap, Section, Template, Width
from slimfront.studies.compressed import Cut
from torch import nn

# Stands for a gap while the text is written; no name can hold it.
MARK = "\x1a"
Bytes = npt.NDArray[np.uint8]


@dataclass
class Place:
    """Which constants hold a parameter.

    Attributes:
        constants: Their layers' ids.
        transposed: Whether the graph holds the matrix transposed.
    """

    constants: list[int]
    transposed: bool


def trace(
    module: nn.Module, example: Mapping[str, torch.Tensor], cuts: Mapping[str, Cut], blocks: Sequence[str]
) -> Template | None:
    """Return the template of a module, or None where it is unclear how widths or blocks show in its graph.

    A twin of the module gets random parameters, so that every constant of its graph tells which parameter it is.
    Another twin loses one unit of every structure: the numbers that differ tell by how much a unit counts.

    Raises:
        StudyError: OpenVINO cannot convert the module.
    """
    twin = _randomized(module)
    image, inside = _image(twin, example, blocks)
    if set(inside) != set(blocks):
        return None
    places = _places(twin, image)
    for cut in cuts.values():
        cut.remove_last(twin)
    _randomize(twin)
    smaller = _image(twin, example, blocks)[0] if cuts else image
    if image.kinds() != smaller.kinds():
        return None
    held = {layer for place in places.values() for layer in place.constants}
    owners = _owners(image, places, cuts)
    image, smaller = (_unshared(part, owners) for part in (image, smaller))
    constants, moved = _constants(image, held)
    gaps = _mark_gaps(image, smaller, owners, held)
    widths = _widths(image, smaller, owners, moved, held)
    if gaps is None or widths is None:
        return None
    member = {layer: name for name, block in inside.items() for layer in block.layers}
    shift = _shift(image)
    return Template(
        sections=tuple(_sections(image, held, moved, gaps, member, shift)),
        edges=tuple(
            (edge.source + shift, edge.source_port, edge.target + shift, edge.target_port, member.get(edge.target, ""))
            for edge in image.edges
            if edge.source not in held
        ),
        passages={name: block.passage.shifted(shift) for name, block in inside.items()},
        start=_start(image),
        end=_end(image),
        first=_first_id(shift, places),
        feeds=dict(_feeds(image, places, shift)),
        widths=widths,
        owners={**_block_owners(image, member), **_node_owners(image, places, owners)},
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
    return list(_image(_randomized(module), example, blocks)[1])


def _image(
    twin: nn.Module, example: Mapping[str, torch.Tensor], blocks: Sequence[str]
) -> tuple[Image, dict[str, Inside]]:
    with marked(twin, blocks):
        image = Image.of(twin, example)
    return unmarked(image, blocks)


def _randomized(module: nn.Module) -> nn.Module:
    twin = copy.deepcopy(module)
    _randomize(twin)
    return twin


def _randomize(module: nn.Module) -> None:
    """Give a module random parameters: none equals another, and none is a 0 or 1 that conversion would drop."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)


def _sum(value: Bytes) -> bytes:
    return hashlib.sha1(value.tobytes(), usedforsecurity=False).digest()


def _places(module: nn.Module, image: Image) -> dict[str, Place]:
    """Return the place of each parameter that the graph holds."""
    known: dict[bytes, tuple[str, bool]] = {}
    for name, parameter in module.named_parameters():
        value = parameter.detach().numpy()
        known[_sum(np.ascontiguousarray(value).reshape(-1).view(np.uint8))] = (name, False)
        if value.ndim == 2:
            flipped = np.ascontiguousarray(value.T).reshape(-1).view(np.uint8)
            known.setdefault(_sum(flipped), (name, True))
    places: dict[str, Place] = {}
    for layer in image.layers:
        held = image.constant(layer)
        if held is None or image.meta(layer)["element_type"] != "f32":
            continue
        if found := known.get(_sum(held)):
            places.setdefault(found[0], Place([], found[1])).constants.append(layer)
    return places


def _owners(image: Image, places: Mapping[str, Place], cuts: Mapping[str, Cut]) -> dict[int, list[str]]:
    """Return the structures between whose weights each layer stands."""
    owners: dict[int, list[str]] = {layer: [] for layer in image.layers}
    for name, cut in cuts.items():
        starts = [e.target for producer in cut.producers for c in places[producer].constants for e in image.readers(c)]
        ends = [edge.target for constant in places[cut.consumer].constants for edge in image.readers(constant)]
        for layer in image.between(starts, ends):
            owners[layer].append(name)
    return owners


def _unshared(image: Image, owners: Mapping[int, list[str]]) -> Image:
    """Give each structure integers of its own: conversion merges equal ones, which widths then make different."""
    layers, edges = {}, list(image.edges)
    free = max(image.layers) + 1
    for layer, element in image.layers.items():
        layers[layer] = element
        if image.integers(layer) is None:
            continue
        structures = dict.fromkeys(tuple(owners[edge.target]) for edge in image.readers(layer))
        for structure in list(structures)[1:]:
            copied = copy.deepcopy(element)
            copied.attrib |= {"id": str(free), "name": f"{element.attrib['name']}.{free}"}
            layers[free] = copied
            own = {edge for edge in image.readers(layer) if tuple(owners[edge.target]) == structure}
            edges = [replace(edge, source=free) if edge in own else edge for edge in edges]
            free += 1
    return Image(image.net, layers, edges, image.data)


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
        key = _sum(value) if image.integers(layer) is None else str(layer).encode()
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
    image: Image,
    smaller: Image,
    owners: Mapping[int, list[str]],
    moved: Mapping[int, int],
    held: set[int],
) -> tuple[Width, ...] | None:
    """Return every integer of a constant that depends on a width, or None where it is unclear on which."""
    widths: list[Width] = []
    for layer in moved:
        values = image.integers(layer), smaller.integers(layer)
        if values[0] is None or values[1] is None or np.array_equal(values[0], values[1]):
            continue
        if len(values[0]) != len(values[1]):
            return None
        structures = {tuple(owners[edge.target]) for edge in image.readers(layer) if edge.target not in held}
        if len(structures) != 1 or len(next(iter(structures))) != 1:
            return None
        structure = next(iter(structures))[0]
        size = 8 if image.meta(layer)["element_type"] == "i64" else 4
        for position in np.flatnonzero(values[0] != values[1]).tolist():
            dense = int(values[0][position])
            gap = Gap(structure, dense, dense - int(values[1][position]))
            widths.append(Width(gap, moved[layer] + position * size, size))
    return tuple(widths)


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


def _first_id(shift: int, places: Mapping[str, Place]) -> int:
    first = 10 * shift
    while first * 9 < MOST_LAYERS * len(places):
        first *= 10
    return first


def _node_owners(image: Image, places: Mapping[str, Place], owners: Mapping[int, list[str]]) -> dict[str, str]:
    """Return the owner of each node by name; the runtime names a product after what it fuses with it."""
    found = {layer: names[0] for layer, names in owners.items() if len(names) == 1}
    for name, place in places.items():
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


def _feeds(image: Image, places: Mapping[str, Place], shift: int) -> Iterator[tuple[str, Feed]]:
    for name, place in places.items():
        edges = [edge for constant in place.constants for edge in image.readers(constant)]
        ports = sorted((edge.target + shift, edge.target_port) for edge in edges)
        shape = image.meta(place.constants[0])["shape"]
        sizes = tuple(int(size) for size in shape.split(",") if size.strip())
        yield name, Feed(tuple(ports), place.transposed, sizes)
