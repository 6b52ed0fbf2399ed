"""Whole models whose latency tells what their parts take together."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from slimfront.objectives.sessions import Session
from slimfront.search.prediction.probes import HEAT, PASSES, RANDOM, ROOM, chosen, probed, side_by_side
from slimfront.search.prediction.timing import _agree, _closest
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.space import Space
from slimfront.spaces.structure import walk
from slimfront.studies.compressed import Capabilities
from slimfront.studies.space import BitsSpec, DistillationSpec, SpaceSpec

from tests.conftest import example_inputs, make_encoder

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
        # The machine is slower from group to group, and now and then disturbed.
        own = np.array([[5.0 - 4.0 * strength(one)] for one in models]) * len(groups)
        return own * np.where(np.arange(20) % 2, 1.0, 1.5), {"waited": 0.0}

    monkeypatch.setattr("slimfront.search.prediction.probes.at_rest", timed)
    shares: list[float] = []
    found = probed(SPACE, Model, (), 3, shares.append)
    probes = [one for one, _ in found]
    assert [ratio for _, ratio in found] == pytest.approx([1 - 0.8 * strength(Configuration(one)) for one in probes])
    assert all(models[0] == SPACE.dense() and len(models) <= 4 for models in groups)
    assert sorted(map(str, loaded[1:])) == sorted(str(Configuration(one)) for one in probes * PASSES)
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)
    half = len(groups) // 2
    assert groups[:half] != groups[half:]


def test_large_models_are_timed_one_by_one() -> None:
    assert side_by_side({"weight": (1000, 1000), "bias": (1000,)}) == HEAT
    assert side_by_side({"weight": (ROOM // 12 // 4096, 4096)}) == 3
    assert side_by_side({"weight": (110_000, 1000)}) == 1 == side_by_side({"weight": (400_000, 1000)})


@pytest.mark.parametrize(
    ("sums", "two", "agree"),
    [
        ((1.3, 1.31, 1.0, 1.02), (1.0, 1.02), True),
        ((1.0, 1.3, 1.32), (1.3, 1.32), True),
        ((1.0, 1.1), (1.0, 1.1), False),
    ],
)
def test_the_shortest_profiles_that_agree_count(sums: tuple[float, ...], two: tuple[float, float], agree: bool) -> None:
    profiles = [{"a": 0.25 * one, "b": 0.75 * one} for one in sums]
    assert tuple(sum(profile.values()) for profile in _closest(profiles)) == pytest.approx(two)
    assert _agree(profiles) is agree and not _agree(profiles[:1])
