from __future__ import annotations

import json
import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.space import Space
from slimfront.spaces.structure import walk
from slimfront.studies.compressed import Capabilities
from slimfront.studies.errors import StudyError
from slimfront.studies.space import BitsSpec, DepthSpec, DistillationSpec, SpaceSpec, SparsitySpec

from tests.conftest import codes_of, cut_copy, example_inputs, make_encoder

MODULE, INPUTS = make_encoder("bert", blocks=3), example_inputs()
ANATOMY = walk(MODULE, INPUTS)
CAPABILITIES = Capabilities((2, 3, 4, 6, 8, 16, 32), (128, 64, 32), ("f32", "bf16"))
SPACE = Space(
    SpaceSpec(
        sparsity=SparsitySpec(levels=(0.33, 0.67), granularity="layer"),
        bits=BitsSpec(levels=(2, 4, 8), granularity="layer"),
        precision=("f32", "bf16"),
        distillation=DistillationSpec(steps=(0, 10), temperature=(1.0, 2.0), weight=(0.5, 1.0)),
    ),
    ANATOMY,
    CAPABILITIES,
)


def sample(seed: int) -> Configuration:
    rng = random.Random(seed)
    return SPACE.canonical({name: rng.choice(domain.values) for name, domain in SPACE.domains.items()})


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_canonical_is_idempotent_and_json_keeps_it(seed: int) -> None:
    configuration = sample(seed)
    assert SPACE.canonical(configuration) == configuration
    again = Configuration(json.loads(configuration.to_json()))
    assert again == configuration and hash(again) == hash(configuration) and again.sha256 == configuration.sha256
    for other in list(SPACE.neighbours(configuration))[:5]:
        assert other != configuration and all(other[n] in d.values for n, d in SPACE.domains.items())


def test_distillation_without_steps_is_one_configuration() -> None:
    values = dict(SPACE.dense())
    twins = {
        SPACE.canonical({**values, "distillation/temperature": t, "distillation/weight": w})
        for t in SPACE.domains["distillation/temperature"].values
        for w in SPACE.domains["distillation/weight"].values
    }
    assert len(twins) == 1


def test_uniform_begins_dense_and_never_repeats() -> None:
    uniform = SPACE.uniform()
    assert uniform[0] == SPACE.dense() and len(set(uniform)) == len(uniform) >= 8
    for configuration in uniform:
        for role in ("bits/", "sparsity/"):
            # Widths are whole heads and neurons, so a level is the same wherever it can be.
            assert len({v for name, v in configuration.items() if name.startswith(role)}) == 1


def test_stitched_model_is_smaller_and_the_dense_one_untouched() -> None:
    before = {name: value.clone() for name, value in MODULE.named_parameters()}
    scores = {s.name: torch.arange(s.units).float() for s in ANATOMY.structures}
    draft = SPACE.draft(scores, SPACE.uniform()[-1])
    codes = codes_of(MODULE, CAPABILITIES)
    cut = cut_copy(draft, MODULE, codes)
    count = [sum(p.numel() for p in module.parameters()) for module in (cut, MODULE)]
    assert count[0] < count[1]
    with torch.no_grad():
        assert torch.isfinite(cut(**INPUTS).logits).all()
    assert all(torch.equal(value, before[name]) for name, value in MODULE.named_parameters())
    for structure in ANATOMY.structures:
        assert abs(draft.kept[structure.name] - 0.33 * structure.units) <= 1
    stitched = draft.stitch(MODULE, codes)
    assert {name: tensor.shape for name, tensor in stitched.tensors.items()} == {
        name: tuple(value.shape) for name, value in cut.named_parameters()
    }


def test_empty_space_is_refused() -> None:
    with pytest.raises(StudyError, match="space is empty"):
        Space(SpaceSpec(bits=BitsSpec(levels=(32,))), ANATOMY, CAPABILITIES)


def test_what_is_chosen_for_a_removed_block_does_not_count() -> None:
    space = Space(
        SpaceSpec(
            depth=DepthSpec(levels=(0.34,)),
            sparsity=SparsitySpec(levels=(0.33, 0.67), granularity="layer"),
            bits=BitsSpec(levels=(2, 4, 8), granularity="layer"),
        ),
        ANATOMY,
        CAPABILITIES,
    )
    gone = next(block for block in ANATOMY.blocks if block.name.endswith(".1"))
    rng, twins = random.Random(0), set()
    for _ in range(20):
        own = {n: rng.choice(d.values) for n, d in space.domains.items() if gone.name in n}
        twins.add(space.canonical({**space.dense(), **own, f"depth/{gone.name}": "removed"}))
    assert len(twins) == 1
    scores = {s.name: torch.arange(s.units).float() for s in ANATOMY.structures}
    shapes = {name: tuple(value.shape) for name, value in MODULE.named_parameters()}
    draft = space.draft(scores, twins.pop())
    assert set(shapes) - set(draft.forms(shapes)) == set(gone.weights) and draft.kept == {} and draft.compresses
    tried = [c for c in space.uniform() if "removed" in c.values()]
    assert tried and all(c["depth/bert.encoder.layer.2"] == "removed" for c in tried)
    assert all(c["depth/bert.encoder.layer.0"] == "kept" for c in tried)


@pytest.mark.parametrize(
    ("groups", "widths"), [({}, {2: 32, 4: 32, 8: 96}), ({2: "row", 8: 32}, {2: 96, 4: 32, 8: 32}), ({4: 128}, {4: 32})]
)
def test_groups_are_as_wide_as_the_study_says(groups: dict[int, Any], widths: dict[int, int]) -> None:
    """Rows of 96 weights: 64 and 128 do not divide them."""
    space = Space(SpaceSpec(bits=BitsSpec(groups=groups, granularity="all")), ANATOMY, CAPABILITIES)
    assert SpaceSpec.model_validate_json(SpaceSpec(bits=BitsSpec(groups=groups)).model_dump_json()).bits == BitsSpec(
        groups=groups
    )
    name = "bert.encoder.layer.0.attention.self.query.weight"
    for bits, width in widths.items():
        draft = space.draft({}, space.compose(bits={"bits/all": bits}))
        assert draft.forms({name: (96, 96)})[name].group == width


@pytest.mark.parametrize(
    ("groups", "where"), [({4: 48}, r"(?s)space\.bits\.groups\.4: .*48"), ({5: 32}, r"(?s)space\.bits\.groups: .*5")]
)
def test_groups_that_the_target_does_not_run_are_refused(groups: dict[int, Any], where: str) -> None:
    with pytest.raises(StudyError, match=where):
        Space(SpaceSpec(bits=BitsSpec(groups=groups)), ANATOMY, CAPABILITIES)


def test_one_threshold_removes_the_share_wherever_scores_are_low() -> None:
    levels = (0.25, 0.5, 0.75)
    space = Space(SpaceSpec(sparsity=SparsitySpec(levels=levels, granularity="threshold")), ANATOMY, CAPABILITIES)
    assert set(space.domains) == {"sparsity/attention", "sparsity/ffn"}
    neurons = [s for s in ANATOMY.structures if s.kind == "neurons"]
    # Blocks of 192 neurons whose scores are twice and four times as high.
    scores = {s.name: torch.rand(s.units) * 2.0**number for number, s in enumerate(neurons)}
    scores |= {s.name: torch.rand(s.units) for s in ANATOMY.structures if s.kind == "heads"}
    before = None
    for level in levels:
        draft = space.draft(scores, space.compose(sparsity={"sparsity/attention": 0.0, "sparsity/ffn": level}))
        kept = [draft.kept.get(s.name, s.units) for s in neurons]
        assert all(count % 64 == 0 and count >= 64 for count in kept) and kept == sorted(kept) and kept[0] < kept[-1]
        # Widths are rounded, and a block keeps 64 at least.
        assert abs(sum(kept) - 3 * 192 * (1 - level)) <= 128
        sets = {s.name: set(draft.keep.get(s.name, range(s.units))) for s in neurons}
        assert before is None or all(sets[name] <= before[name] for name in sets)
        before = sets
    all_heads = space.draft(scores, space.compose(sparsity={"sparsity/attention": 0.75, "sparsity/ffn": 0.0}))
    left = sum(all_heads.kept.get(s.name, s.units) for s in ANATOMY.structures if s.kind == "heads")
    assert 3 <= left <= 4 and not any(s.name in all_heads.kept for s in neurons)
