"""How far the values of each parameter are compressed in a download, level by level."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from slimfront.objectives.download import LEVEL, packed_size
from slimfront.objectives.runtimes.runtime import Blueprint
from slimfront.search.bank import Bank
from slimfront.spaces.draft import Scores
from slimfront.spaces.masks import Pattern
from slimfront.spaces.space import Space
from slimfront.studies.cache import cached, digest
from slimfront.studies.compressed import QuantizedTensor

Progress = Callable[[str, float], None]
# A parameter, its bits, and which of its weights are zero.
Kind = tuple[str, int, Pattern | None]
FILE, VERSION = "packing.json", 1


@dataclass(frozen=True)
class Packing:
    """Which share of their bytes is left of parts of the files when they are compressed.

    Attributes:
        values: Of each parameter's values, by kind.
        rest: Of all that stands between them.
    """

    values: Mapping[Kind, float]
    rest: float


def packing(
    space: Space,
    scores: Scores,
    bank: Bank,
    blueprint: Blueprint,
    identity: Mapping[str, object],
    progress: Progress,
) -> Packing:
    """Return which share of each parameter's bytes is left when they are compressed by themselves.

    A compressor looks at stretches of a file, each much shorter than a matrix: what is left of the parameters one by
    one adds up to what is left of the file. Rows and columns of one matrix are alike: shares hold for parts of it, too.

    Args:
        space: The space.
        scores: Importance of units.
        bank: Codes of every level.
        blueprint: Knows the bytes.
        identity: All on which codes depend, as JSON.
        progress: Called with a text and the finished share.
    """
    frame = blueprint.frame()
    kinds = list(dict.fromkeys(_kinds(space, scores, bank.weights)))

    def build(folder: Path) -> None:
        shares = []
        for number, kind in enumerate(kinds):
            data = blueprint.data(kind[0], _tensor(bank, *kind))
            shares.append(packed_size(data) / max(1, len(data)))
            progress("compressing every layer at every level", (number + 1) / len(kinds))
        shares.append(packed_size(frame) / len(frame))
        (folder / FILE).write_text(json.dumps(shares), encoding="utf-8")

    key = {
        **identity,
        "kinds": [str(kind) for kind in kinds],
        "frame": digest(frame.decode("latin-1")),
        "zstandard": LEVEL,
        "version": VERSION,
    }
    *values, rest = map(float, json.loads((cached("packing", key, build) / FILE).read_text(encoding="utf-8")))
    return Packing(dict(zip(kinds, values, strict=True)), rest)


def _kinds(space: Space, scores: Scores, names: Iterable[str]) -> Iterator[Kind]:
    for configuration in space.grid("bits", "unstructured"):
        draft = space.draft(scores, configuration)
        for name in names:
            yield name, draft.bits.get(name, 32), draft.zeros.get(name)


def _tensor(bank: Bank, name: str, bits: int, zeros: Pattern | None) -> torch.Tensor | QuantizedTensor:
    found = bank.codes(name, bits, None, zeros)
    return found.half() if bits == 16 and isinstance(found, torch.Tensor) else found
