"""Which of the teacher's blocks a student's learns from."""

from __future__ import annotations

import torch
from slimfront.search.recovery.taps import Seen, Taps
from slimfront.spaces.structure import walk

from tests.conftest import example_inputs, make_encoder


def test_a_block_learns_from_the_last_one_for_which_it_stands_in() -> None:
    module, inputs = make_encoder("bert", blocks=4), example_inputs()
    anatomy = walk(module, inputs)
    taps, names = Taps(module, anatomy, hidden=True, attention=True), [block.name for block in anatomy.blocks]
    with torch.no_grad(), taps.read() as teacher:
        module(**inputs)
    assert list(teacher.hidden) == names and len(teacher.attention) == 12
    mask = inputs["attention_mask"].bool()
    # Blocks 1 and 3 are gone: block 0 stands in for 1, and block 2 for 3.
    right = Seen({names[0]: teacher.hidden[names[1]], names[2]: teacher.hidden[names[3]]}, teacher.attention)
    wrong = Seen({name: teacher.hidden[name] for name in (names[0], names[2])}, teacher.attention)
    assert taps.hidden(right, teacher, mask).item() == 0 and taps.hidden(wrong, teacher, mask).item() > 0
    assert taps.hidden(Seen(), teacher, mask).item() == 0 == taps.attention(Seen(), teacher, {}, mask).item()
    assert abs(taps.attention(right, teacher, {}, mask).item()) < 1e-6
