"""A converted module as text with gaps: what is left of the IR when parameters and widths are taken out of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from slimfront.objectives.runtimes.openvino.layers import Layers, Output, edge
from slimfront.objectives.runtimes.openvino.parameters import Feed, fix_range, write
from slimfront.objectives.runtimes.passages import Passage
from slimfront.objectives.runtimes.twins import Gap, Width
from slimfront.studies.compressed import Form

Bytes = npt.NDArray[np.uint8]
# A layer's id and the number of an output.
Port = tuple[int, int]
# Layer ids set aside for one parameter, beside one for each product in which it stands.
MOST_LAYERS = 16
TEXT, BLOB = "template.json", "constants.bin"


@dataclass(frozen=True)
class Section:
    """Layers that are there or not together.

    Attributes:
        block: The removable block to which they belong, or nothing.
        pieces: Their text around the gaps; one piece more than there are gaps.
        gaps: The numbers between the pieces.
    """

    block: str
    pieces: tuple[str, ...]
    gaps: tuple[Gap, ...]

    def text(self, missing: Mapping[str, int]) -> str:
        """Return the text with the widths of a cut model."""
        numbers = [str(gap.number(missing)) for gap in self.gaps]
        return "".join(part for pair in zip(self.pieces, [*numbers, ""], strict=True) for part in pair)


@dataclass(frozen=True)
class Template:
    """See the module.

    Attributes:
        sections: The layers, in order.
        edges: Connections: source and its port, target and its port, and the removable block of the target.
        passages: The removable blocks.
        start: Text before the first layer.
        end: Text after the last edge.
        first: The first layer id for parameters: a power of ten, so that all of theirs have as many digits.
        feeds: Where each parameter enters.
        widths: Constants that depend on widths.
        owners: For the name of each node that belongs to one the matrix that it multiplies, or the structure within
            which it stands.
        constants: Bytes of all constants that are no parameters.
    """

    sections: tuple[Section, ...]
    edges: tuple[tuple[int, int, int, int, str], ...]
    passages: Mapping[str, Passage]
    start: str
    end: str
    first: int
    feeds: Mapping[str, Feed]
    widths: tuple[Width, ...]
    owners: Mapping[str, str]
    constants: Bytes

    def fill(
        self, forms: Mapping[str, Form], missing: Mapping[str, int], skipped: Collection[str] = ()
    ) -> tuple[str, list[tuple[int, int]]]:
        """Return the IR's text, and offset and size of the constants of ``forms`` in the order of ``feeds``.

        Args:
            forms: Form of each parameter that is left.
            missing: Units removed by structure; absent means none.
            skipped: Blocks that are removed whole.
        """
        written, room = Layers(self.first, len(self.constants)), spacing(self.feeds)
        rounded: set[tuple[int, int]] = set()
        around = self._around(skipped)
        for number, (name, feed) in enumerate(self.feeds.items()):
            if name not in forms:
                continue
            written.next = self.first + number * room
            self._add(name, forms[name], written, around)
            if forms[name].static:
                rounded |= {(target, port) for _, _, target, port in feed.reads}
        layers, edges = self._layers(missing, skipped), self._edges(skipped, rounded)
        parts = [self.start, layers, *written.layers, "</layers><edges>", edges, *written.edges, "</edges>", self.end]
        return "".join(parts), written.offsets

    def _layers(self, missing: Mapping[str, int], skipped: Collection[str]) -> str:
        return "".join(section.text(missing) for section in self.sections if section.block not in skipped)

    def _add(self, name: str, form: Form, written: Layers, around: Mapping[Port, Port]) -> None:
        """Add a parameter's layers and edges, and those that round what it multiplies."""
        feed = self.feeds[name]
        output: Output = write(name, form, feed, written)
        for layer, port in feed.ports:
            written.connect(output, layer, port)
        if form.static:
            sources = [origin((source, port), around) for source, port, _, _ in feed.reads]
            for rounding, (_, _, target, port) in zip(fix_range(name, sources, written), feed.reads, strict=True):
                written.connect(rounding, target, port)

    def _around(self, skipped: Collection[str]) -> dict[Port, Port]:
        """Return for what removed blocks made what they would have read."""
        return {self.passages[block].made: self.passages[block].read for block in skipped}

    def _edges(self, skipped: Collection[str], rounded: Collection[tuple[int, int]] = ()) -> str:
        """Return the text of the edges, but of those to inputs that read what was rounded."""
        around = self._around(skipped)
        return "".join(
            edge(*origin((source, source_port), around), target, target_port)
            for source, source_port, target, target_port, block in self.edges
            if block not in skipped and (target, target_port) not in rounded
        )

    def text_size(self, missing: Mapping[str, int], skipped: Collection[str] = ()) -> int:
        """Return the bytes of the text and of the constants without any parameter."""
        return len(self.frame(missing, skipped)) + len(self.constants)

    def frame(self, missing: Mapping[str, int] = MappingProxyType({}), skipped: Collection[str] = ()) -> bytes:
        """Return the text without any parameter."""
        text = (self.start, self._layers(missing, skipped), "</layers><edges></edges>", self._edges(skipped), self.end)
        return "".join(text).encode()

    def parameter_size(self, name: str, form: Form) -> int:
        """Return the bytes that one parameter adds, text and constants, whatever the others are."""
        written = self._written(name, form)
        replaced = sum(len(edge(*read)) for read in self.feeds[name].reads) if form.static else 0
        return sum(len(text.encode()) for text in (*written.layers, *written.edges)) + written.end - replaced

    def data_size(self, name: str, form: Form) -> int:
        """Return the bytes of the constants among them."""
        return self._written(name, form).end

    def _written(self, name: str, form: Form) -> Layers:
        """Return the layers that one parameter adds, its constants from the first byte on."""
        written = Layers(self.first, 0)
        self._add(name, form, written, {})
        return written

    def patched(self, missing: Mapping[str, int]) -> Bytes:
        """Return the constants with the widths of a cut model."""
        constants = self.constants.copy()
        for width in self.widths:
            constants[width.offset : width.offset + width.size] = width.value(missing)
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
            sections=tuple(
                Section(s["block"], tuple(s["pieces"]), tuple(Gap(**gap) for gap in s["gaps"]))
                for s in data["sections"]
            ),
            edges=tuple((int(a), int(b), int(c), int(d), str(block)) for a, b, c, d, block in data["edges"]),
            passages={
                n: Passage((p["read"][0], p["read"][1]), (p["made"][0], p["made"][1]))
                for n, p in data["passages"].items()
            },
            start=data["start"],
            end=data["end"],
            first=data["first"],
            feeds={
                name: Feed(
                    tuple((int(a), int(b)) for a, b in feed["ports"]),
                    feed["transposed"],
                    tuple(feed["shape"]),
                    tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in feed["reads"]),
                )
                for name, feed in data["feeds"].items()
            },
            widths=tuple(Width(Gap(**w["gap"]), w["offset"], w["size"]) for w in data["widths"]),
            owners=data["owners"],
            constants=np.frombuffer((folder / BLOB).read_bytes(), dtype=np.uint8),
        )


def origin(port: Port, around: Mapping[Port, Port]) -> Port:
    """Return whose output is read in place of one that may be gone."""
    while port in around:
        port = around[port]
    return port


def spacing(feeds: Mapping[str, Feed]) -> int:
    """Return how many layer ids are set aside for each parameter."""
    return MOST_LAYERS + max((len(feed.reads) for feed in feeds.values()), default=0)
