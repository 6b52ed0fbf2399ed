"""What distillation brought, from made-up trials."""

from __future__ import annotations

from dataclasses import replace

import pytest
from slimfront.search.inspect.distilled import distilled, mean
from slimfront.search.trial import Trial
from slimfront.spaces.configuration import Configuration

OBJECTIVES = {
    "size": {"unit": "byte", "direction": "minimize"},
    "accuracy": {"unit": "fraction", "direction": "maximize"},
}


def trial(
    number: int, bits: int, steps: int, accuracy: float, temperature: float = 1.0, state: str = "complete"
) -> Trial:
    values = {"bits/all": bits, "distillation/steps": steps, "distillation/temperature": temperature}
    measured = {"size": {"value": bits}, "accuracy": {"value": accuracy}}
    # Each hundred steps halve the divergence.
    details = {"divergence": 0.1 * bits * 0.5 ** (steps / 100), "predicted": {"loss": 0.1 * bits}}
    kind = "sampled" if number else "dense"
    return Trial(number, state, Configuration(values), kind, 0, measured, {}, {}, None, None, 1, details)


def test_pairs_differ_in_distillation_alone() -> None:
    trials = [trial(0, 32, 0, 0.9)]
    for number, (bits, gain) in enumerate([(2, 0.01), (3, 0.02), (4, 0.03)]):
        trials.append(trial(3 * number + 1, bits, 0, 0.7))
        trials.append(trial(3 * number + 2, bits, 100, 0.7 + gain, 1.0 if bits == 2 else 4.0))
        trials.append(trial(3 * number + 3, bits, 200, 0.7 + 2 * gain, 1.0 if bits == 2 else 4.0))
    # One that has no partner, and one that failed.
    trials += [trial(10, 8, 100, 0.8), replace(trial(11, 2, 100, 0.1, 4.0, "failed"), measurements={})]
    found = distilled(trials, OBJECTIVES)
    assert found is not None and found["pairs"] == 6 and found["stopped"] == 0 and not found["unmatched"]
    first, second = found["rows"]
    assert (first["value"], first["pairs"]) == (100, 3)
    # Mean 0.02, standard deviation 0.01, Student's t with two degrees of freedom: 4.303 * 0.01 / sqrt(3).
    assert first["changes"]["accuracy"] == pytest.approx((0.02, 0.02 - 0.024842, 0.02 + 0.024842), abs=1e-5)
    assert first["divergence"] == pytest.approx((0.5, 0.5, 0.5)) and second["divergence"][0] == pytest.approx(0.25)
    assert [(row["value"], row["pairs"]) for row in found["temperatures"]] == [(1.0, 1), (4.0, 2)]
    assert found["temperatures"][0]["changes"]["accuracy"] == (pytest.approx(0.01), None, None)
    assert found["lines"][0] == {
        "trials": [1, 2, 3],
        "steps": [0, 100, 200],
        "values": pytest.approx([0.7, 0.71, 0.72]),
    }


def test_what_was_stopped_for_having_lost_counts() -> None:
    trials, gains = [trial(0, 32, 0, 0.9)], [0.02, -0.02, 0.01, -0.03]
    for number, gain in enumerate(gains):
        trials.append(trial(2 * number + 1, number + 2, 0, 0.7))
        trials.append(trial(2 * number + 2, number + 2, 100, 0.7 + gain, state="complete" if gain > 0 else "stopped"))
    found = distilled(trials, OBJECTIVES)
    assert found is not None and (found["pairs"], found["stopped"]) == (4, 2)
    assert found["rows"][0]["changes"]["accuracy"][0] == pytest.approx(-0.005)


def test_without_pairs_trials_are_compared_through_predictions() -> None:
    trials = [trial(0, 32, 0, 0.9), trial(1, 2, 0, 0.7), trial(2, 3, 100, 0.7), trial(3, 4, 100, 0.8)]
    found = distilled(trials, OBJECTIVES)
    assert found is not None and not found["pairs"]
    assert [(row["value"], row["trials"], row["ratio"][0]) for row in found["unmatched"]] == [
        (0, 1, pytest.approx(1.0)),
        (100, 2, pytest.approx(0.5)),
    ]


def test_nothing_is_said_where_nothing_was_distilled() -> None:
    assert distilled([trial(0, 32, 0, 0.9), trial(1, 2, 0, 0.7)], OBJECTIVES) is None


def test_one_value_has_no_interval() -> None:
    assert mean([0.5]) == (0.5, None, None)
