"""A converted module as text with gaps: what is left of the IR when parameters and widths are taken out of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from slimfront.objectives.runtimes.openvino.layers import Layers, Output
from slimfront.objectives.runtimes.openvino.parameters import Feed, write
from slimfront.studies.compressed import Form

Bytes = npt.NDArray[np.uint8]
# Layer ids set aside for one parameter.
MOST_LAYERS = 16
TEXT, BLOB = "template.json", "constants.bin"


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


@dataclass(frozen=True)
class Width:
    """A constant integer that depends on the units kept in one structure.

    Attributes:
        gap: Which number.
        offset: Where it is among the constants, in bytes.
        size: Bytes of the integer: 4 or 8.
    """

    gap: Gap
    offset: int
    size: int


@dataclass(frozen=True)
class Template:
    """See the module.

    Attributes:
        layers: Text of the layers around the gaps; one piece more than there are gaps.
        gaps: The numbers between the pieces.
        edges: Text of the edges.
        start: Text before the first layer.
        end: Text after the last edge.
        first: The first layer id for parameters: a power of ten, so that all of theirs have as many digits.
        feeds: Where each parameter enters.
        widths: Constants that depend on widths.
        owners: For the name of each node that belongs to one the matrix that it multiplies, or the structure within
            which it stands.
        constants: Bytes of all constants that are no parameters.
    """

    layers: tuple[str, ...]
    gaps: tuple[Gap, ...]
    edges: str
    start: str
    end: str
    first: int
    feeds: Mapping[str, Feed]
    widths: tuple[Width, ...]
    owners: Mapping[str, str]
    constants: Bytes

    def fill(self, forms: Mapping[str, Form], missing: Mapping[str, int]) -> tuple[str, list[tuple[int, int]]]:
        """Return the IR's text, and offset and size of each parameter's constants in the order of ``feeds``.

        Args:
            forms: Form of each parameter.
            missing: Units removed by structure; absent means none.
        """
        written = Layers(self.first, len(self.constants))
        for number, (name, feed) in enumerate(self.feeds.items()):
            written.next = self.first + number * MOST_LAYERS
            output: Output = write(name, forms[name], feed, written)
            for layer, port in feed.ports:
                written.connect(output, layer, port)
        parts = [self.start, self.layers[0]]
        for gap, piece in zip(self.gaps, self.layers[1:], strict=True):
            parts += [str(gap.dense - missing.get(gap.structure, 0) * gap.step), piece]
        parts += [*written.layers, "</layers><edges>", self.edges, *written.edges, "</edges>", self.end]
        return "".join(parts), written.offsets

    def text_size(self, missing: Mapping[str, int]) -> int:
        """Return the bytes of the text and of the constants without any parameter."""
        static = sum(len(piece.encode()) for piece in (*self.layers, self.edges, self.start, self.end))
        numbers = sum(len(str(gap.dense - missing.get(gap.structure, 0) * gap.step)) for gap in self.gaps)
        return static + numbers + len("</layers><edges></edges>") + len(self.constants)

    def parameter_size(self, name: str, form: Form) -> int:
        """Return the bytes that one parameter adds, text and constants, whatever the others are."""
        written = Layers(self.first, 0)
        output = write(name, form, self.feeds[name], written)
        for layer, port in self.feeds[name].ports:
            written.connect(output, layer, port)
        return sum(len(text.encode()) for text in (*written.layers, *written.edges)) + written.end

    def patched(self, missing: Mapping[str, int]) -> Bytes:
        """Return the constants with the widths of a cut model."""
        constants = self.constants.copy()
        for width in self.widths:
            value = width.gap.dense - missing.get(width.gap.structure, 0) * width.gap.step
            kind = np.int64 if width.size == 8 else np.int32
            constants[width.offset : width.offset + width.size] = np.array([value], dtype=kind).view(np.uint8)
        return constants

    def save(self, folder: Path) -> None:
        """Write the template into a folder."""
        data = {name: value for name, value in asdict(self).items() if name != "constants"}
        (folder / TEXT).write_text(json.dumps(data), encoding="utf-8")
        (folder / BLOB).write_bytes(self.constants.tobytes())

    @classmethod
    def load(cls, folder: Path) -> Template:
        """Read a template from a folder."""
        data = json.loads((folder / TEXT).read_text(encoding="utf-8"))
        return cls(
            layers=tuple(data["layers"]),
            gaps=tuple(Gap(**gap) for gap in data["gaps"]),
            edges=data["edges"],
            start=data["start"],
            end=data["end"],
            first=data["first"],
            feeds={
                name: Feed(tuple((int(a), int(b)) for a, b in feed["ports"]), feed["transposed"], tuple(feed["shape"]))
                for name, feed in data["feeds"].items()
            },
            widths=tuple(Width(Gap(**w["gap"]), w["offset"], w["size"]) for w in data["widths"]),
            owners=data["owners"],
            constants=np.frombuffer((folder / BLOB).read_bytes(), dtype=np.uint8),
        )
