"""Small compressed models for the formats."""

from __future__ import annotations

from collections.abc import Sequence

from slimfront.search.export.converted import Compressed
from slimfront.spaces.draft import Draft
from slimfront.spaces.structure import walk
from slimfront.studies.compressed import Capabilities

from tests.conftest import codes_of, example_inputs, make_encoder

EVERY = (8, 4, 3, 6, 2, 16, 32)


def compressed(kind: str, bits: Sequence[int] = EVERY, units: bool = False, block: bool = False) -> Compressed:
    """Return an encoder of two blocks in some widths, each weight in the next one; units and a block may be removed."""
    module, inputs = make_encoder(kind), example_inputs()
    anatomy, capabilities = walk(module, inputs), Capabilities(EVERY, (64, 32), ("f32",))
    draft = Draft(anatomy, {}, capabilities, "f32")
    if units:
        draft.keep = {s.name: list(range(number % 2, s.units, 2)) for number, s in enumerate(anatomy.structures)}
    if block:
        draft.skipped = {anatomy.blocks[0].name}
    weights = [name for group in anatomy.groups for name in group.weights]
    draft.bits = {name: bits[number % len(bits)] for number, name in enumerate(weights)}
    return Compressed(module, draft, draft.stitch(module, codes_of(module, capabilities)), inputs, 16)
