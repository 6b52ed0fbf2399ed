"""An exported module with gaps: what is left of its file when parameters and widths are taken out of it.

Files in the encoding of protocol buffers may be put together from parts: fields that repeat are one list wherever they
stand. So every part is encoded once, and the size of a file is the sum of its parts'.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from slimfront.objectives.runtimes.onnxruntime.image import OPSETS
from slimfront.objectives.runtimes.onnxruntime.parameters import Feed, Use, Written, varint, write
from slimfront.objectives.runtimes.twins import Gap, Width
from slimfront.studies.compressed import Form

Json = dict[str, Any]
TEXT, BLOB = "template.json", "parts.bin"
IR_VERSION = 10
# The graph's length, whatever it is, takes so many bytes; the field's number (7, lengths and bytes) takes one.
LENGTH = 5
NOTHING: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True)
class Section:
    """Nodes and constants that are there or not together.

    Attributes:
        block: The removable block to which they belong, or nothing.
        data: Their encoding.
        widths: Integers in it that depend on widths.
        detour: Whether they stand in for the block once it is gone.
    """

    block: str
    data: bytes
    widths: tuple[Width, ...] = ()
    detour: bool = False

    def of(self, missing: Mapping[str, int]) -> bytes:
        """Return the encoding with the widths of a cut model."""
        found = bytearray(self.data)
        for width in self.widths:
            found[width.offset : width.offset + width.size] = width.value(missing).tobytes()
        return bytes(found)


@dataclass(frozen=True)
class Slot:
    """A node that is made anew for the form of a parameter.

    Attributes:
        parameter: The parameter.
        use: Which of its uses.
    """

    parameter: str
    use: int


@dataclass(frozen=True)
class Template:
    """See the module.

    Attributes:
        start: Name, inputs and output of the graph.
        parts: Everything else but the parameters, in the order in which it is computed.
        feeds: Where each parameter enters.
        owners: For the name of each node, or of the parameter by which it multiplies, the structure or the block within
            which it stands.
    """

    start: bytes
    parts: tuple[Section | Slot, ...]
    feeds: Mapping[str, Feed]
    owners: Mapping[str, str]

    @property
    def blocks(self) -> tuple[str, ...]:
        """The removable blocks."""
        return tuple(part.block for part in self.parts if isinstance(part, Section) and part.detour)

    def fill(
        self, forms: Mapping[str, Form], missing: Mapping[str, int], skipped: Collection[str] = ()
    ) -> list[bytes | int]:
        """Return the file in pieces; a number stands for so many bytes of a parameter's values, in the order of feeds.

        Args:
            forms: Form of each parameter that is left.
            missing: Units removed by structure; absent means none.
            skipped: Blocks that are removed whole.
        """
        written = {name: self.written(name, forms[name]) for name in self.feeds if name in forms}
        pieces = [piece for one in written.values() for piece in one.pieces]
        for part in self.parts:
            if isinstance(part, Slot):
                pieces += written[part.parameter].nodes[part.use : part.use + 1] if part.parameter in written else []
            elif (part.block in skipped) == part.detour:
                pieces.append(part.of(missing))
        size = len(self.start) + sum(piece if isinstance(piece, int) else len(piece) for piece in pieces)
        return [_head() + varint(size, LENGTH) + self.start, *pieces]

    def written(self, name: str, form: Form) -> Written:
        """Return what a parameter adds."""
        return write(name, form, self.feeds[name])

    def frame(self, missing: Mapping[str, int] = NOTHING, skipped: Collection[str] = ()) -> bytes:
        """Return the file without any parameter."""
        return b"".join(piece for piece in self.fill({}, missing, skipped) if isinstance(piece, bytes))

    def frame_size(self, skipped: Collection[str] = ()) -> int:
        """Return its bytes, which do not depend on widths."""
        parts = (part for part in self.parts if isinstance(part, Section) and (part.block in skipped) == part.detour)
        return len(_head()) + LENGTH + len(self.start) + sum(len(part.data) for part in parts)

    def save(self, folder: Path) -> None:
        """Write the template into a folder."""
        data = {
            "start": len(self.start),
            "parts": [asdict(part) | _length(part) for part in self.parts],
            "feeds": {name: asdict(feed) for name, feed in self.feeds.items()},
            "owners": dict(self.owners),
        }
        (folder / TEXT).write_text(json.dumps(data), encoding="utf-8")
        encoded = (part.data for part in self.parts if isinstance(part, Section))
        (folder / BLOB).write_bytes(self.start + b"".join(encoded))

    @classmethod
    def load(cls, folder: Path) -> Template:
        """Read a template from a folder."""
        data = json.loads((folder / TEXT).read_text(encoding="utf-8"))
        blob = (folder / BLOB).read_bytes()
        start = int(data["start"])
        feeds = {
            name: Feed(f["transposed"], tuple(f["shape"]), tuple(Use(**use) for use in f["uses"]), f["whole"])
            for name, f in data["feeds"].items()
        }
        return cls(blob[:start], tuple(_parts(data["parts"], blob[start:])), feeds, data["owners"])


def _head() -> bytes:
    """Return all of the file before the graph's length."""
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    model = onnx.ModelProto(ir_version=IR_VERSION, producer_name="slimfront", opset_import=opsets)
    return bytes(model.SerializeToString()) + b"\x3a"


def _length(part: Section | Slot) -> Json:
    return {"data": len(part.data)} if isinstance(part, Section) else {}


def _parts(entries: list[Json], blob: bytes) -> Iterator[Section | Slot]:
    for entry in entries:
        if "parameter" in entry:
            yield Slot(**entry)
            continue
        widths = tuple(Width(Gap(**w["gap"]), w["offset"], w["size"]) for w in entry["widths"])
        yield Section(entry["block"], blob[: entry["data"]], widths, entry["detour"])
        blob = blob[entry["data"] :]


def joined(pieces: list[bytes | int], values: Iterator[np.ndarray[Any, np.dtype[np.uint8]]]) -> bytes:
    """Return a filled file with the values of its parameters."""
    return b"".join(piece if isinstance(piece, bytes) else next(values).tobytes() for piece in pieces)
