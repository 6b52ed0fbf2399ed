"""Whole models whose latency tells what their parts take together."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from slimfront.objectives.sessions import Session
from slimfront.search.prediction.probes import HEAT, MOST, PASSES, RANDOM, ROOM, chosen, probed, side_by_side
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.space import Space
from slimfront.spaces.structure import walk
from slimfront.studies.compressed import Capabilities
from slimfront.studies.space import BitsSpec, DistillationSpec, SpaceSpec

from tests.conftest import example_inputs, make_encoder

pytestmark = pytest.mark.usefixtures("unhurried")
SPACE = Space(
    SpaceSpec(bits=BitsSpec(levels=(2, 4, 8, 32), granularity="layer"), distillation=DistillationSpec(steps=(0, 10))),
    walk(make_encoder("bert"), example_inputs()),
    Capabilities((2, 4, 8, 32), (64, 32), ("f32",)),
)


def strength(configuration: Configuration) -> float:
    """Return the mean level of the bits, from 0 to 1."""
    domains = {name: domain.values for name, domain in SPACE.domains.items() if name.startswith("bits/")}
    places = [values.index(configuration[name]) / (len(values) - 1) for name, values in domains.items()]
    return float(np.mean(places))


def test_probes_reach_from_one_end_of_the_space_to_the_other() -> None:
    probes = list(chosen(SPACE, random.Random(0)))
    own = probes[-RANDOM:]
    assert probes[:-RANDOM] == [SPACE.bare(one) for one in SPACE.uniform()[::2]]
    assert len(set(probes)) == len(probes) and all(one["distillation/steps"] == 0 for one in probes)
    found = [strength(one) for one in own]
    assert found[0] < 0.25 and found[-1] > 0.75
    assert np.corrcoef(np.arange(RANDOM), found)[0, 1] > 0.8


def test_each_probe_is_timed_in_every_pass_beside_the_dense_model(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Configuration] = []
    groups: list[list[Configuration]] = []

    class Model(Session):  # type: ignore[misc]
        inputs, threads = ("input_ids",), 1

        def __init__(self, configuration: Configuration) -> None:
            loaded.append(configuration)
            self.configuration = configuration

        def run(self, batch: Any) -> Any:
            raise AssertionError

    def timed(runs: Sequence[partial[None]], *_: object) -> tuple[np.ndarray[Any, Any], dict[str, float]]:
        models = [run.args[0].configuration for run in runs]
        groups.append(models)
        own = np.array([[5.0 - 4.0 * strength(one)] for one in models]) * np.ones(20)
        # Most runs of the others are disturbed in every group, and everything in two of them.
        own[1:, ::3] *= 1.5
        own[1:, 1::3] *= 1.5
        return own * np.where([[one == SPACE.dense()] for one in models], 1.3, 1.6) ** (len(groups) in (2, 5)), {
            "waited": 0.0
        }

    monkeypatch.setattr("slimfront.search.prediction.probes.at_rest", timed)
    shares: list[float] = []
    found = probed(SPACE, Model, (), 3, shares.append)
    probes = [one for one, _ in found]
    assert [ratio for _, ratio in found] == pytest.approx([1 - 0.8 * strength(Configuration(one)) for one in probes])
    assert all(models[0] == SPACE.dense() and len(models) <= 4 for models in groups)
    counts = Counter(map(str, loaded[1:]))
    disturbed = Counter(str(one) for number in (1, 4) for one in groups[number][1:])
    assert counts == {str(Configuration(one)): PASSES + disturbed[str(Configuration(one))] for one in probes}
    assert shares == sorted(shares) and shares[-1] == 1.0
    half = -(-len(probes) // 3)
    assert groups[:half] != groups[half : 2 * half]


def test_on_a_machine_that_never_rests_there_is_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def timed(runs: Sequence[object], *_: object) -> tuple[np.ndarray[Any, Any], dict[str, float]]:
        calls.append(len(runs))
        return np.full((len(runs), 20), 5.0 if len(calls) == 1 else 6.0 + len(calls) % 2), {"waited": 0.0}

    monkeypatch.setattr("slimfront.search.prediction.probes.at_rest", timed)
    model: Any = SimpleNamespace(threads=1)
    found = probed(SPACE, lambda _configuration: model, (), len(SPACE.uniform()) + RANDOM, lambda _share: None)
    assert len(calls) == MOST and [ratio for _, ratio in found] == pytest.approx([1.0] * len(found))


def test_large_models_are_timed_one_by_one() -> None:
    assert side_by_side({"weight": (1000, 1000), "bias": (1000,)}) == HEAT
    assert side_by_side({"weight": (ROOM // 12 // 4096, 4096)}) == 3
    assert side_by_side({"weight": (110_000, 1000)}) == 1 == side_by_side({"weight": (400_000, 1000)})
