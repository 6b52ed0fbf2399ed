from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from slimfront.search.choosing import Chooser
from slimfront.search.ledger import Ledger
from slimfront.search.samplers import SAMPLERS
from slimfront.search.trial import Trial
from slimfront.spaces.space import Space
from slimfront.spaces.structure import walk
from slimfront.studies.compressed import Capabilities
from slimfront.studies.errors import StudyError
from slimfront.studies.reader import parse_study
from slimfront.studies.space import BitsSpec, DistillationSpec, SpaceSpec, SparsitySpec

from tests.conftest import example_inputs, make_encoder
from tests.search.prediction_of import predictor_of
from tests.search.test_coordinator import OBJECTIVES

ANATOMY = walk(make_encoder("bert", blocks=3), example_inputs())
CAPABILITIES = Capabilities((2, 4, 8, 32), (64, 32), ("f32",))


def lay(fixed: dict[str, int | float | str]) -> Space:
    spec = SpaceSpec(
        sparsity=SparsitySpec(levels=(0.0, 0.5)),
        bits=BitsSpec(levels=(2, 4, 8, 32), granularity="role"),
        distillation=DistillationSpec(steps=(0, 4), temperature=(1.0, 2.0), weight=(1.0,)),
        fixed=fixed,
    )
    return Space(spec, ANATOMY, CAPABILITIES)


def test_all_but_the_dense_model_have_the_fixed_values() -> None:
    free, space = lay({}), lay({"bits/*": 8, "bits/head": 32, "sparsity/*.attention": 0})
    held = {name for name in space.domains if name.startswith("bits/") or name.endswith(".attention")}
    assert set(space.fixed) == held and space.fixed["bits/head"] == 32
    dense, *tried = space.uniform()
    assert dense == space.dense() == free.dense() and len(set(tried)) == len(tried) and dense not in tried
    for configuration in tried:
        assert {name: configuration[name] for name in held} == space.fixed
        assert all(
            other[name] == value for other in space.neighbours(configuration) for name, value in space.fixed.items()
        )
    assert space.points == 2 ** (len(space.domains) - len(held)) == 2**5
    assert free.points == space.points * 4 ** len([name for name in held if "bits" in name]) * 2**3


def test_the_longest_pattern_counts_whatever_the_order() -> None:
    given: dict[str, int | float | str] = {"bits/*": 8, "bits/ffn*": 4, "bits/head": 32}
    found = {tuple(sorted(lay(dict(order)).fixed.items())) for order in itertools.permutations(given.items())}
    assert len(found) == 1
    fixed = dict(found.pop())
    assert fixed["bits/head"] == 32 and fixed["bits/embeddings"] == 8
    assert {value for name, value in fixed.items() if name.startswith("bits/ffn")} == {4}


@pytest.mark.parametrize(
    ("fixed", "message"),
    [
        ({"bits/hed": 8}, r"(?s)space\.fixed\.bits/hed: no parameter.*did you mean 'bits/head'"),
        ({"bits/ffn*": 4, "bits/*_in": 8}, r"(?s)two patterns give bits/ffn_in different values.*8, as"),
        ({"bits/head": 3}, r"(?s)space\.fixed\.bits/head: bits/head cannot.*3.*32, 8, 4, 2"),
        ({"*.attention": 0.5, "*.ffn": 0.5, "bits/*": 8, "distil*": 4}, r"(?s)distillation/temperature cannot.*4"),
        ({"*.attention": 0.5, "*.ffn": 0.5, "bits/*": 8, "*/steps": 4, "*/temperature": 2.0}, "all parameters"),
    ],
)
def test_what_cannot_be_fixed_is_refused(fixed: dict[str, int | float | str], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        lay(fixed)


@pytest.mark.parametrize("sampler", ["evolution", "random", "tpe"])
@pytest.mark.parametrize("factor", [None, 2])
def test_every_sampler_keeps_to_them(
    study_data: Callable[..., dict[str, Any]], sampler: str, factor: int | None
) -> None:
    space = lay({"bits/embeddings": 4, "sparsity/*.ffn": 0.5, "distillation/temperature": 2.0})
    study = parse_study(study_data("bert", sampler=sampler, reduction_factor=factor))
    ledger = Ledger(OBJECTIVES, [])
    predictor = predictor_of(space.domains, scale=1e-3)
    chooser = Chooser(study, space, SAMPLERS.get(sampler, where="x")(), {}, ledger, OBJECTIVES, predictor)
    kinds = set()
    for number in range(40):
        choice = chooser.next()
        assert choice is not None
        kinds.add(choice.kind)
        told = predictor.predict([choice.configuration])
        loss = float(told.loss[0])
        values = {"size": float(told.size[0]), "latency": float(told.latency[0]), "accuracy": 0.8 - 0.05 * loss**0.5}
        measured = {name: {"value": value, "unit": "", "steer": value} for name, value in values.items()}
        details = {"divergence": loss, "sentences": 100}
        given = (choice.configuration, choice.kind, 0, measured, {}, {}, None, None, 1, details)
        ledger.put(Trial(number, "complete", *given))
        if choice.kind != "dense":
            steps = int(choice.configuration["distillation/steps"])
            assert choice.configuration["bits/embeddings"] == 4
            assert all(choice.configuration[name] == 0.5 for name in space.domains if name.endswith(".ffn"))
            assert choice.configuration["distillation/temperature"] == (2.0 if steps else 1.0)
    assert {"dense", "uniform", "sampled"} <= kinds and ("promoted" in kinds) == (factor is not None)
