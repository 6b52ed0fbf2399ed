from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slimfront.search.front import losses_of, non_dominated
from slimfront.search.ledger import Ledger
from slimfront.search.trial import Trial
from slimfront.spaces.configuration import Configuration

OBJECTIVES = {
    "size": {"unit": "byte", "direction": "minimize"},
    "accuracy": {"unit": "fraction", "direction": "maximize"},
}


def trial(number: int, size: float = 1.0, accuracy: float = 0.5, **more: Any) -> Trial:
    values = {"size": size, "accuracy": accuracy}
    measured = {n: {"value": v, "unit": "", "interval": None, "steer": v} for n, v in values.items()}
    base: dict[str, Any] = {
        "state": "complete",
        "kind": "sampled" if number else "dense",
        "violations": {},
        "cached_from": None,
        "configuration": Configuration({"bits/all": number}),
        "details": {"cpu": {"total": 2.0}},
    } | more
    return Trial(number=number, seed=0, measurements=measured, files={}, error=None, attempts=1, **base)


ROWS = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6), st.booleans()), min_size=1, max_size=14)


@settings(max_examples=60)
@given(ROWS, st.integers(0, 9))
def test_the_front_kept_trial_by_trial_is_the_front_of_all(rows: list[tuple[int, int, bool]], seed: int) -> None:
    trials = [trial(0, 6, 0.9)]
    for number, (size, accuracy, keeps) in enumerate(rows, 1):
        violations = {"accuracy": -1.0 if keeps else 1.0}
        trials.append(trial(number, size, accuracy / 10, violations=violations))
    random.Random(seed).shuffle(trials)
    ledger = Ledger(OBJECTIVES, trials)
    feasible = [one for one in trials if one.feasible]
    values = [{"size": one.value("size"), "accuracy": one.value("accuracy")} for one in feasible]
    best = {tuple(values[row].items()) for row in non_dominated(losses_of(OBJECTIVES, values))}
    assert {(("size", t.value("size")), ("accuracy", t.value("accuracy"))) for t in ledger.front} == best


def test_artifacts_that_leave_the_front_are_named_once_and_the_dense_one_never() -> None:
    ledger = Ledger(OBJECTIVES, [trial(0, 10, 0.5)])
    assert ledger.put(trial(1, 5, 0.4)) == []
    assert [t.number for t in ledger.put(trial(2, 4, 0.6))] == [1]
    assert [t.number for t in ledger.put(trial(3, 9, 0.1))] == [3]
    stopped = trial(4, 1, 0.1, state="stopped")
    assert ledger.put(stopped) == [stopped] and stopped not in ledger.front


def test_counts_and_kinds() -> None:
    ledger = Ledger(OBJECTIVES, [trial(0), trial(1, state="running"), trial(2, state="stopped")])
    assert (ledger.count("running"), ledger.count("stopped"), ledger.evaluated, ledger.cpu) == (1, 1, 3, 4.0)
    assert [t.number for t in ledger.running()] == [1] and ledger.kinds("sampled") == 2
    ledger.put(trial(1, 0.5, 0.5))
    assert (ledger.count("running"), ledger.count("complete"), ledger.cpu) == (0, 2, 6.0)
    assert [t.number for t in ledger.arrived(0)] == [0, 2, 1] and [t.number for t in ledger.arrived(2)] == [1]


def test_a_duplicate_is_no_evaluation() -> None:
    ledger = Ledger(OBJECTIVES, [trial(0)])
    same = Configuration({"bits/all": 0})
    ledger.put(trial(1, state="running", configuration=same))
    ledger.put(trial(1, configuration=same, cached_from=0, details={}))
    assert (ledger.evaluated, ledger.cached, ledger.streak()) == (1, 1, 1)
    twin = ledger.twin(same)
    assert twin is not None and twin.number == 0


def test_stagnation() -> None:
    ledger = Ledger(OBJECTIVES, [trial(0, 10, 0.5), trial(1, 5, 0.5)])
    assert ledger.hypervolume() == pytest.approx(0.5)
    assert not ledger.stalled(3, 0.001)
    for number in range(2, 5):
        ledger.put(trial(number, 8, 0.4))
    assert ledger.stalled(3, 0.001)
    ledger.put(trial(5, 4, 0.5))
    assert not ledger.stalled(3, 0.001)
