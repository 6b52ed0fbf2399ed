"""What every sampler must keep."""

from __future__ import annotations

import random
from typing import Any

import pytest
from slimfront.search.box import Box
from slimfront.search.samplers import SAMPLERS, Observation, Problem
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.domain import Domain, Value

from tests.search.prediction_of import predictor_of

DOMAINS = {f"bits/{i}": Domain((8, 4, 2)) for i in range(4)} | {"precision/inference": Domain(("f32", "bf16"))}
OBJECTIVES = {n: {"direction": d} for n, d in (("size", "minimize"), ("latency", "minimize"), ("accuracy", "maximize"))}
DENSE = {"size": 32.0, "latency": 1.0, "accuracy": 0.8}
BOX = Box.of(OBJECTIVES, DENSE, {})
PROBLEM = Problem(DOMAINS, {n: e["direction"] for n, e in OBJECTIVES.items()}, BOX, predictor_of(DOMAINS))


def observe(values: dict[str, Value]) -> Observation:
    told = PROBLEM.predictor.predict([values])  # type: ignore[union-attr]
    loss = float(told.loss[0])
    accuracy = 0.8 - 0.1 * loss
    seen = (float(told.size[0]), float(told.latency[0]), accuracy)
    return Observation(Configuration(values), seen, {"accuracy": 0.3 - accuracy}, loss)


def make(name: str) -> Any:
    return SAMPLERS.get(name, where="x")()


def history(name: str, count: int) -> list[Observation]:
    sampler, seen = make(name), [observe({name: domain.values[0] for name, domain in DOMAINS.items()})]
    for number in range(count):
        seen.append(observe(sampler.suggest(PROBLEM, seen, number)))
    return seen


@pytest.mark.parametrize("name", SAMPLERS.names())
def test_suggestions_lie_in_the_domains_and_repeat(name: str) -> None:
    seen = history(name, 14)
    assert all(one.values[key] in DOMAINS[key].values for one in seen for key in DOMAINS)
    again = [make(name).suggest(PROBLEM, seen, 99) for _ in range(2)]
    assert again[0] == again[1] and set(again[0]) == set(DOMAINS)
    others = {tuple(make(name).suggest(PROBLEM, seen[:1], seed).values()) for seed in range(6)}
    assert len(others) > 1


@pytest.mark.parametrize("name", [name for name in SAMPLERS.names() if name != "gp"])
def test_what_a_sampler_remembers_does_not_change_what_it_suggests(name: str) -> None:
    """One that saw the history grow suggests what a fresh one does, through generations and windows."""
    rng = random.Random(0)
    seen = [observe({name: rng.choice(domain.values) for name, domain in DOMAINS.items()}) for _ in range(190)]
    old = make(name)
    for count in (1, 3, 19, 20, 21, 40, 59, 61, 119, 121, 190):
        assert old.suggest(PROBLEM, seen[:count], count) == make(name).suggest(PROBLEM, seen[:count], count)
    # A trial with a lower number ended later than others: the history did not only grow.
    seen.insert(5, seen.pop())
    assert old.suggest(PROBLEM, seen, 1) == make(name).suggest(PROBLEM, seen, 1)


@pytest.mark.parametrize("name", SAMPLERS.names())
def test_no_sampler_needs_a_prediction(name: str) -> None:
    bare = Problem(DOMAINS, PROBLEM.directions)
    assert set(make(name).suggest(bare, [], 0)) == set(DOMAINS)


def test_genetic_samplers_leave_the_first_generation() -> None:
    """With a history of small values only, offspring must be small too: they come from parents, not at random."""
    small = [observe({**{f"bits/{i}": 2 for i in range(4)}, "precision/inference": "f32"}) for _ in range(60)]
    for name in ("nsga2", "nsga3"):
        found = [make(name).suggest(PROBLEM, small, seed) for seed in range(20)]
        share = sum(values[f"bits/{i}"] == 2 for values in found for i in range(4)) / 80
        assert share > 0.6, (name, share)
