"""Trials that misbehave: each costs itself alone, and is told by its kind."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import psutil
from slimfront.search.front import Front
from slimfront.search.run import Run

from tests.faults.processes import ALL, Trivial, wait_for, workers
from tests.faults.trivial import MISBEHAVIOURS, values_of

KINDS = {
    "raising": "failed",
    "endless": "failed",
    "not_a_number": "not finite",
    "infinite": "not finite",
    "not_finite_measurement": "not finite",
    "misshapen": "failed",
    "leaving": "crashed",
    "failing": "crashed",
    "segmentation_fault": "crashed",
    "killed": "crashed",
    "greedy": "out of memory",
    "greedy_child": "out of memory",
    "refused": "out of memory",
    "sleeping": "timed out",
    "sleeping_parent": "timed out",
    "stuck": "timed out",
    "shouting": "failed",
    "babbling": "crashed",
    "changing": "failed",
}


def test_bad_trials_are_classified_and_the_front_is_that_of_the_others(
    trivial_study: Callable[..., Trivial], misbehave: Callable[[dict[int | str, str]], None]
) -> None:
    count = 200 if ALL else 60
    rng = random.Random(0)
    hows = [*MISBEHAVIOURS, *rng.choices([*MISBEHAVIOURS], k=max(0, count * 3 // 10 - len(MISBEHAVIOURS)))]
    bad = dict(zip(sorted(rng.sample(range(1, count), len(hows))), rng.sample(hows, len(hows)), strict=True))
    misbehave(bad)
    limits = {"trial_timeout": "8s", "trial_memory": "600MB", "failures": 0.5}
    study = trivial_study("bad", trials=count, workers=2, **limits)
    assert study.launch("run") == 0, study.told("run")
    trials = {trial.number: trial for trial in study.trials("run")}
    assert len([t for t in trials.values() if t.cached_from is None]) == count
    found = {number: str(trials[number].error).partition(":")[0] for number in bad}
    assert found == {number: KINDS[how] for number, how in bad.items()}
    assert {number for number, trial in trials.items() if trial.state == "failed"} == set(bad)
    front = Run.open(study.runs / "run").front()
    good = [point for point in front.everything if point.trial not in bad]
    for point in good:
        assert point.values == values_of(point.configuration)
    assert front.points == Front.of(front.objectives, front.dense, good).points and len(front.points) > 1
    assert wait_for(lambda: not workers() and not _sleepers(), 5)


def _sleepers() -> list[int]:
    return [p.pid for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "3599"]]


def test_too_many_failures_end_the_search_with_its_front(
    trivial_study: Callable[..., Trivial], misbehave: Callable[[dict[int | str, str]], None]
) -> None:
    misbehave(dict.fromkeys(range(6, 30), "raising"))
    study = trivial_study("hopeless", trials=30, failures=0.1)
    assert study.launch("run") == 5
    assert "failed: ValueError: this quantizer cannot" in study.told("run")
    assert len(Run.open(study.runs / "run").front().points) > 0


def test_a_tournament_that_fails_costs_itself_alone(
    trivial_study: Callable[..., Trivial], misbehave: Callable[[dict[int | str, str]], None]
) -> None:
    misbehave({"tournament": "killed"})
    study = trivial_study("untimed", trials=12)
    assert study.launch("run") == 0
    assert "the front could not be timed once more: the worker died: crashed" in study.told("run")
    front = Run.open(study.runs / "run").front()
    assert len(front.points) > 1 and all(point.held_out and not point.final for point in front.points)
    misbehave({})
    assert study.launch("run") == 0
    again = Run.open(study.runs / "run").front()
    pairs = zip(front.points, again.points, strict=True)
    assert again.points == tuple(replace(point, final=found.final) for point, found in pairs)
    assert all(point.final for point in again.points if point.trial != again.dense.trial)
