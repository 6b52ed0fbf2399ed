"""What every axis must keep."""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace

import pytest
import torch
from slimfront.spaces.axes import AXES
from slimfront.spaces.draft import Draft
from slimfront.spaces.structure import Anatomy, walk
from slimfront.studies.compressed import Capabilities
from slimfront.studies.space import (
    BitsSpec,
    DepthSpec,
    DistillationSpec,
    SpaceSpec,
    SparsitySpec,
    UnstructuredSpec,
    VocabularySpec,
)
from slimfront.studies.vocabulary import Vocabulary, find_table

from tests.conftest import codes_of, cut_copy, example_inputs, make_encoder

CAPABILITIES = Capabilities((2, 3, 4, 6, 8, 16, 32), (128, 64, 32), ("f32", "bf16"))
FULL = SpaceSpec(
    depth=DepthSpec(levels=(0.5,)),
    sparsity=SparsitySpec(levels=(0.5,)),
    vocabulary=VocabularySpec(levels=(0.5,)),
    bits=BitsSpec(levels=(4, 8)),
    unstructured=UnstructuredSpec(levels=(0.5, "2:4", 0.25)),
    precision=("bf16",),
    distillation=DistillationSpec(steps=(10,)),
)


@pytest.mark.parametrize("name", AXES.names())
@pytest.mark.parametrize("granularity", ["layer", "role", "all"])
def test_axis_contract(name: str, granularity: str) -> None:
    module, inputs = make_encoder("bert"), example_inputs()
    anatomy = replace(walk(module, inputs), vocabulary=Vocabulary(find_table(module, inputs), 120, 44))
    spec = FULL.model_copy(
        update={
            "sparsity": SparsitySpec(levels=(0.5,), granularity=granularity),
            "bits": BitsSpec(levels=(4, 8), granularity=granularity),
            "unstructured": UnstructuredSpec(levels=(0.5, "2:4", 0.25), granularity=granularity),
        }
    )
    axis = AXES.get(name, where="space")(spec, anatomy, CAPABILITIES)
    domains, scores = axis.domains(), {s.name: torch.rand(s.units) for s in anatomy.structures}
    assert domains and all("/" in parameter for parameter in domains)
    assert set(axis.dense()) == set(domains)

    untouched = Draft(anatomy, scores, CAPABILITIES, "f32")
    axis.apply(untouched, axis.dense())
    assert (
        untouched.kept == {} and untouched.rows is None and untouched.recovery is None and untouched.precision == "f32"
    )
    assert set(untouched.bits.values()) <= {32} and untouched.zeros == {}
    with torch.no_grad():
        assert torch.equal(
            cut_copy(untouched, module, codes_of(module, CAPABILITIES))(**inputs).logits, module(**inputs).logits
        )

    for values in axis.uniform():
        assert all(value in domains[parameter].values for parameter, value in values.items())
        assert axis.canonical(axis.canonical(values)) == axis.canonical(values)
    changed = Draft(anatomy, scores, CAPABILITIES, "f32")
    axis.apply(changed, axis.uniform()[-1])
    seen = (changed.kept, changed.skipped, changed.rows, changed.recovery, changed.precision, changed.zeros)
    assert seen != ({}, set(), None, None, "f32", {}) or set(changed.bits.values()) != set(untouched.bits.values())
    matrices = set(dict(module.named_parameters()))
    assert all(weights <= matrices and parameter in domains for parameter, weights in axis.weights().items())


@pytest.mark.parametrize("name", AXES.names())
def test_absent_section_leaves_no_choice(name: str) -> None:
    axis = AXES.get(name, where="space")(SpaceSpec(), walk(make_encoder("bert"), example_inputs()), CAPABILITIES)
    assert axis.domains() == {}


def test_levels_of_zeros_have_one_order_whatever_they_are_called() -> None:
    """Of the same share more is lost the fewer neighbours there are to choose from; sets have no order of their own."""
    given = ("4:8", "1:2", 0.5, "02:4", "2:4", 0.25)
    for levels in itertools.permutations(given, len(given)):
        spec = SpaceSpec(unstructured=UnstructuredSpec(levels=levels, granularity="all"))
        axis = AXES.get("unstructured", where="space")(spec, walk_of_bert(), CAPABILITIES)
        assert axis.domains()["unstructured/all"].values == (0.0, 0.25, 0.5, "4:8", "2:4", "1:2")


@functools.cache
def walk_of_bert() -> Anatomy:
    return walk(make_encoder("bert"), example_inputs())


def test_fixed_ranges_are_for_linear_layers_alone() -> None:
    module, inputs = make_encoder("bert"), example_inputs()
    anatomy, spec = walk(module, inputs), SpaceSpec(bits=BitsSpec(levels=(4, "8-static")))
    capabilities = replace(CAPABILITIES, static=(8,))
    axis = AXES.get("bits", where="space")(spec, anatomy, capabilities)
    assert {domain.values for domain in axis.domains().values()} == {(32, "8-static", 4)}
    values = dict.fromkeys(axis.domains(), "8-static")
    draft = Draft(anatomy, {}, CAPABILITIES, "f32")
    axis.apply(draft, axis.canonical(values))
    assert set(draft.bits.values()) == {8} and draft.static == set(anatomy.linear)
    both = AXES.get("bits", where="space")(SpaceSpec(bits=BitsSpec()), anatomy, capabilities)
    tables = {name for name, weights in both.weights().items() if not weights & draft.static}
    assert tables and {name for name, level in both.canonical(values).items() if level == 8} == tables
    lacking = AXES.get("bits", where="space")(spec, anatomy, CAPABILITIES)
    assert {domain.values for domain in lacking.domains().values()} == {(32, 4)}
