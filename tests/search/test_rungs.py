"""Who goes on to the next rung."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest
from slimfront.search.ledger import Ledger
from slimfront.search.rungs import Rungs, crowding
from slimfront.search.trial import Trial
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.space import Space
from slimfront.spaces.structure import walk
from slimfront.studies.compressed import Capabilities
from slimfront.studies.space import BitsSpec, DistillationSpec, SpaceSpec

from tests.conftest import example_inputs, make_encoder
from tests.search.test_coordinator import OBJECTIVES

STEPS = (0, 10, 30, 90)
SPACE = Space(
    SpaceSpec(
        bits=BitsSpec(levels=(2, 4, 8, 32), granularity="layer"),
        distillation=DistillationSpec(steps=STEPS, temperature=(1.0, 4.0), learning_rate=(1e-5, 3e-5, 1e-4)),
    ),
    walk(make_encoder("bert"), example_inputs()),
    Capabilities((2, 4, 8, 32), (64, 32), ("f32",)),
)


def draw(seed: int) -> Configuration:
    rng = np.random.default_rng(seed)
    return SPACE.canonical({n: d.values[rng.integers(len(d.values))] for n, d in SPACE.domains.items()})


def put(ledger: Ledger, configuration: Configuration, state: str = "complete", **values: float) -> Trial:
    number = len(ledger)
    bits = sum(int(value) for name, value in configuration.items() if name.startswith("bits/"))
    measured = {"size": float(bits), "latency": bits / 9, "accuracy": 0.8} | values
    details = {"divergence": measured["divergence"]} if "divergence" in measured else {}
    measurements: dict[str, Any] = {n: {"value": v, "unit": "", "steer": v} for n, v in measured.items()}
    violations = {"accuracy": 0.7 - measured["accuracy"]}
    trial = Trial(number, "running", configuration, "sampled" if number else "dense", 0, {}, {}, {}, None, None, 1, {})
    ledger.put(trial)
    ended = Trial(number, state, configuration, trial.kind, 0, measurements, {}, violations, None, None, 1, details)
    ledger.put(ended)
    return ended


def bits(configuration: Configuration) -> dict[str, Any]:
    return {name: value for name, value in configuration.items() if name.startswith("bits/")}


def test_crowding_by_hand() -> None:
    points = np.array([[0.0, 4.0], [1.0, 2.0], [2.0, 1.0], [4.0, 0.0]])
    assert crowding(points).tolist() == [np.inf, pytest.approx(0.5 + 0.75), pytest.approx(0.75 + 0.5), np.inf]
    assert np.isfinite(crowding(np.ones((3, 2)))).sum() == 1


def test_the_best_goes_on_first_and_only_once() -> None:
    rungs, ledger = Rungs(SPACE, 3, OBJECTIVES), Ledger(OBJECTIVES, [])
    put(ledger, SPACE.dense())
    for seed, accuracy in enumerate((0.6, 0.75)):
        put(ledger, rungs.start(draw(seed)), accuracy=accuracy, size=9.0, latency=9.0)
    assert rungs.promotion(ledger, 1) is None
    best = put(ledger, rungs.start(draw(7)), accuracy=0.79, size=9.0, latency=9.0)
    gone = rungs.promotion(ledger, 1)
    assert gone is not None and gone["distillation/steps"] == 10
    assert bits(gone) == bits(best.configuration)
    assert rungs.promotion(ledger, 1) == gone
    put(ledger, gone, accuracy=0.8)
    assert rungs.promotion(ledger, 2) is None


def test_below_lies_what_a_configuration_was() -> None:
    rungs, ledger = Rungs(SPACE, 1, OBJECTIVES), Ledger(OBJECTIVES, [])
    put(ledger, SPACE.dense())
    climbed = [put(ledger, rungs.start(draw(3)), accuracy=0.5).configuration]
    for number in range(2):
        gone = rungs.promotion(ledger, number)
        assert gone is not None
        climbed.append(put(ledger, gone, accuracy=0.5 + 0.1 * number).configuration)
    assert [configuration["distillation/steps"] for configuration in climbed] == [0, 10, 30]
    assert rungs.below(climbed[-1]) == climbed[:-1] and rungs.below(climbed[0]) == []
    assert Rungs(SPACE, None, OBJECTIVES).below(climbed[-1]) == []


@pytest.mark.parametrize(("left", "first"), [(0.5, "kept"), (0.02, "lost")])
def test_what_keeps_the_constraints_goes_first_unless_recovery_gives_back_what_others_lack(
    left: float, first: str
) -> None:
    """The dense model has 0.8, at least 0.7 are asked for; one that had lost 0.5 has ``left`` of it after 90 steps."""
    rungs, ledger = Rungs(SPACE, 2, OBJECTIVES), Ledger(OBJECTIVES, [])
    put(ledger, SPACE.dense())
    for steps in STEPS:
        seen = SPACE.canonical({**draw(3), "distillation/steps": steps})
        put(ledger, seen, accuracy=0.8 - left if steps == STEPS[-1] else 0.3, size=99.0, latency=99.0)
    lost = put(ledger, rungs.start(draw(1)), accuracy=0.2, size=1.0, latency=1.0)
    kept = put(ledger, rungs.start(draw(2)), accuracy=0.71, size=50.0, latency=50.0)
    put(ledger, rungs.start(draw(4)), accuracy=0.1, size=90.0, latency=90.0)
    gone = rungs.promotion(ledger, 0)
    assert gone is not None and bits(gone) == bits({"kept": kept, "lost": lost}[first].configuration)


def test_while_nothing_came_to_the_last_rung_what_lost_much_is_hoped_for() -> None:
    rungs, ledger = Rungs(SPACE, 2, OBJECTIVES), Ledger(OBJECTIVES, [])
    put(ledger, SPACE.dense())
    lost = put(ledger, rungs.start(draw(1)), accuracy=0.4, size=1.0, latency=1.0)
    put(ledger, rungs.start(draw(2)), accuracy=0.71, size=50.0, latency=50.0)
    gone = rungs.promotion(ledger, 0)
    assert gone is not None and bits(gone) == bits(lost.configuration)


@pytest.mark.parametrize(("divergence", "temperature"), [(0.9, 4.0), (0.015, 1.0)])
def test_settings_are_taken_over_from_the_best_of_those_that_had_lost_as_much(
    divergence: float, temperature: float
) -> None:
    """What had lost much comes nearer with a temperature of 4, what had lost little with one of 1."""
    rungs, ledger = Rungs(SPACE, 1, OBJECTIVES), Ledger(OBJECTIVES, [])
    put(ledger, SPACE.dense())
    for seed in range(24):
        lost, warm = (1.0, 0.01)[seed % 2], (1.0, 4.0)[seed // 2 % 2]
        drawn = {**draw(seed), "distillation/temperature": warm}
        left = 0.2 if warm == (4.0 if lost == 1.0 else 1.0) else 0.8
        for steps in STEPS:
            configuration = SPACE.canonical({**drawn, "distillation/steps": steps})
            put(ledger, configuration, size=99.0, latency=99.0, divergence=lost * left if steps else lost)
    own = put(ledger, rungs.start(draw(30)), size=0.1, latency=0.1, divergence=divergence)
    gone = [rungs.promotion(ledger, seed) for seed in range(200)]
    assert all(one is not None and bits(one) == bits(own.configuration) for one in gone)
    # One in four takes what was tried least there.
    share = np.mean([one is not None and one["distillation/temperature"] == temperature for one in gone])
    assert 0.7 < share < 0.95


def test_what_lost_more_learns_faster_as_long_as_nothing_is_known() -> None:
    rungs, ledger = Rungs(SPACE, 1, OBJECTIVES), Ledger(OBJECTIVES, [])
    put(ledger, SPACE.dense())
    for seed, (divergence, rate) in enumerate(((0.01, 1e-5), (0.1, 1e-4), (1.0, 1e-4), (0.03, 3e-5))):
        put(ledger, rungs.start(draw(seed)), accuracy=0.75, divergence=divergence)
        gone = rungs.promotion(ledger, seed)
        assert gone is not None and gone["distillation/learning_rate"] == pytest.approx(rate)
        put(ledger, gone, divergence=divergence)


@pytest.mark.parametrize("seed", range(6))
def test_the_first_that_go_on_try_what_was_tried_least(seed: int) -> None:
    rungs, ledger = Rungs(SPACE, 1, OBJECTIVES), Ledger(OBJECTIVES, [])
    put(ledger, SPACE.dense())
    temperatures = []
    for number in range(2):
        put(ledger, rungs.start(draw(number)), accuracy=0.75, divergence=0.1)
        gone = rungs.promotion(ledger, seed)
        assert gone is not None
        put(ledger, gone, divergence=0.09)
        temperatures.append(gone["distillation/temperature"])
    assert sorted(temperatures) == [1.0, 4.0]


def test_what_was_trained_and_is_as_good_as_the_dense_model_is_done() -> None:
    rungs, ledger = Rungs(SPACE, 1, OBJECTIVES), Ledger(OBJECTIVES, [])
    put(ledger, SPACE.dense())
    for seed, accuracy in enumerate((0.8, 0.79)):
        for steps in STEPS[:2]:
            configuration = SPACE.canonical({**draw(seed), "distillation/steps": steps})
            last = put(ledger, configuration, accuracy=accuracy, size=1.0 + seed, latency=1.0 + seed)
    gone = rungs.promotion(ledger, 0)
    assert gone is not None and bits(gone) == bits(last.configuration) and gone["distillation/steps"] == 30
    put(ledger, gone)
    assert rungs.promotion(ledger, 0) is None


def test_what_is_as_good_as_the_dense_model_but_breaks_a_constraint_goes_on() -> None:
    rungs, ledger = Rungs(SPACE, 1, OBJECTIVES), Ledger(OBJECTIVES, [])
    put(ledger, SPACE.dense(), accuracy=0.6)
    for steps in STEPS[:2]:
        put(ledger, SPACE.canonical({**draw(0), "distillation/steps": steps}), accuracy=0.65)
    gone = rungs.promotion(ledger, 0)
    assert gone is not None and gone["distillation/steps"] == 30


@pytest.mark.parametrize(
    "objectives", [("size", "latency"), ("size", "divergence"), ("size", "accuracy", "divergence")]
)
def test_objectives_without_a_quality_have_rungs_too(objectives: tuple[str, ...]) -> None:
    known = {**OBJECTIVES, "divergence": {"unit": "nat", "direction": "minimize"}}
    entries = {name: known[name] for name in objectives}
    rungs, ledger = Rungs(SPACE, 1, entries), Ledger(entries, [])
    put(ledger, SPACE.dense(), divergence=0.0)
    for steps in STEPS[:2]:
        put(ledger, SPACE.canonical({**draw(0), "distillation/steps": steps}), divergence=0.3)
    gone = rungs.promotion(ledger, 0)
    assert gone is not None and gone["distillation/steps"] == 30


def test_the_order_of_finishing_does_not_matter() -> None:
    first, second = Ledger(OBJECTIVES, []), Ledger(OBJECTIVES, [])
    rungs, rng = Rungs(SPACE, 2, OBJECTIVES), np.random.default_rng(0)
    put(first, SPACE.dense())
    for seed in range(60):
        chosen = rungs.promotion(first, seed) or rungs.start(draw(seed))
        if not first.visited(chosen):
            put(first, chosen, accuracy=float(rng.uniform(0.5, 0.79)), divergence=float(rng.uniform(0.01, 1.0)))
    for seed in range(100, 108):
        put(first, rungs.start(draw(seed)), accuracy=0.75, divergence=float(rng.uniform(0.01, 1.0)))
    for number in [0, *(1 + rng.permutation(len(first) - 1)).tolist()]:
        second.put(first[number])
    # Some seeds take settings over, others draw them.
    gone = [rungs.promotion(first, seed) for seed in range(20)]
    assert None not in gone and len(set(gone)) > 1
    assert gone == [rungs.promotion(second, seed) for seed in range(20)]


def test_each_rung_gets_its_share_and_going_on_continues_the_same_student() -> None:
    """An asynchronous run in miniature: whatever may go on does, else something new begins."""
    rungs, ledger, rng = Rungs(SPACE, 3, OBJECTIVES), Ledger(OBJECTIVES, []), np.random.default_rng(0)
    put(ledger, SPACE.dense())
    counts = dict.fromkeys(STEPS, 0)
    for seed in range(260):
        chosen = rungs.promotion(ledger, seed) or rungs.start(draw(seed))
        if ledger.visited(chosen):
            continue
        steps = int(chosen["distillation/steps"])
        if steps:
            below = {STEPS[STEPS.index(steps) - 1]}
            stems = [c for c in ledger.configurations() if c["distillation/steps"] in below]
            assert any(SPACE.canonical({**chosen, "distillation/steps": next(iter(below))}) == c for c in stems)
        counts[steps] += 1
        state = "stopped" if rng.random() < 0.3 else "complete"
        own = random.Random(str(bits(chosen))).uniform(0.6, 0.78)
        put(ledger, chosen, state, accuracy=own + 0.005 * STEPS.index(steps))
    for low, high in itertools.pairwise(STEPS):
        assert counts[low] // 3 - 1 <= counts[high] <= counts[low] // 3


def test_at_the_end_what_stands_on_the_front_goes_on_to_the_last_rung_the_lowest_first() -> None:
    """Small ones lack 0.05; one of them is beaten, one lacks nothing and goes last, one lacks too much."""
    rungs, ledger = Rungs(SPACE, 3, OBJECTIVES), Ledger(OBJECTIVES, [])
    put(ledger, SPACE.dense())
    values = {1: (0.75, 2.0), 2: (0.74, 3.0), 3: (0.8, 4.0), 4: (0.3, 0.5), 5: (0.76, 3.5)}
    for seed, (accuracy, size) in values.items():
        put(ledger, rungs.start(draw(seed)), accuracy=accuracy, size=size, latency=size)
    higher = SPACE.canonical({**draw(6), "distillation/steps": 10})
    put(ledger, higher, accuracy=0.78, size=3.8, latency=3.8)
    # To go on has given back next to nothing.
    for steps, accuracy in ((0, 0.2), (10, 0.201), (30, 0.202), (90, 0.203)):
        seen = SPACE.canonical({**draw(7), "distillation/steps": steps})
        put(ledger, seen, accuracy=accuracy, size=9.0, latency=9.0)
    went = []
    while (gone := rungs.promotion(ledger, 0, closing=True)) is not None and len(went) < 11:
        seed = next(s for s in range(1, 7) if bits(draw(s)) == bits(gone))
        went.append((seed, int(gone["distillation/steps"])))
        measured = next(t for t in ledger.arrived(0) if bits(t.configuration) == bits(gone)).measurements
        size, accuracy = float(measured["size"]["steer"]), float(measured["accuracy"]["steer"])
        put(ledger, gone, accuracy=accuracy + 0.0001 * went[-1][1], size=size, latency=size)
    assert set(went[:2]) == {(1, 10), (5, 10)}
    assert set(went[2:5]) == {(1, 30), (5, 30), (6, 30)}
    assert set(went[5:8]) == {(1, 90), (5, 90), (6, 90)}
    assert went[8:] == [(3, 10), (3, 30), (3, 90)]
    assert rungs.promotion(ledger, 0, closing=True) == rungs.promotion(ledger, 0)


def test_at_the_end_nothing_goes_on_for_its_own_sake() -> None:
    entries = {name: OBJECTIVES[name] for name in ("size", "latency")}
    rungs, ledger = Rungs(SPACE, 3, entries), Ledger(entries, [])
    put(ledger, SPACE.dense())
    put(ledger, rungs.start(draw(1)))
    assert rungs.promotion(ledger, 0, closing=True) is None


def test_without_a_factor_the_steps_stay_the_samplers() -> None:
    rungs, ledger = Rungs(SPACE, None, OBJECTIVES), Ledger(OBJECTIVES, [])
    configuration = SPACE.canonical({**draw(3), "distillation/steps": 90})
    assert rungs.start(configuration) == configuration
    put(ledger, SPACE.dense())
    for seed in range(9):
        put(ledger, draw(seed))
    assert rungs.promotion(ledger, 0) is None
