from __future__ import annotations

import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from slimfront.objectives.stopwatch import (
    LEAST_ROUNDS,
    MOST_HALVES,
    MOST_ROUNDS,
    MOST_SETTLING,
    SETTLE,
    WARM_UP,
    Ratio,
    _warm_up,
    compared,
    conditions,
    interleaved,
    median,
    one_at_a_time,
    percentiles,
    ratio,
    settle,
)


def times(rng: np.random.Generator, factor: float, rounds: int = 60, load: float = 0.0) -> np.ndarray:
    """Return made-up milliseconds of two runs; a load comes and goes, and slows each down by an amount of its own."""
    state, slow = rng.random() < 0.5, []
    for _ in range(rounds):
        state = state if rng.random() < 0.8 else not state
        slow.append(1 + load * state * rng.uniform(0.5, 1.5, size=2))
    noise = np.exp(0.02 * rng.standard_normal((rounds, 2)))
    return 5.0 * noise * np.array(slow) * np.array([1.0, factor])


@pytest.mark.parametrize("load", [0.0, 0.6])
def test_the_same_run_is_rarely_found_faster_or_slower(load: float) -> None:
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(400):
        dense, own = times(rng, 1.0, load=load).T
        found = ratio(own, dense)
        assert found.low <= found.value <= found.high
        wrong += not found.low <= 1.0 <= found.high
    assert wrong <= 0.07 * 400


def test_a_slower_run_is_found_slower_or_the_measurement_is_noisy() -> None:
    rng = np.random.default_rng(1)
    for factor, load in ((1.05, 0.0), (1.2, 0.0), (1.1, 0.6)):
        told = [ratio(own, dense) for dense, own in (times(rng, factor, load=load).T for _ in range(100))]
        assert np.mean([found.high < 1 for found in told]) <= 0.02
        assert np.mean([found.low > 1 or found.noisy for found in told]) >= 0.95


def test_noise_is_what_is_wider_than_it_should_be() -> None:
    assert Ratio(0.5, 0.48, 0.52).noisy and not Ratio(0.5, 0.492, 0.508).noisy
    own = 3.0 + 0.01 * np.random.default_rng(2).standard_normal(50)
    found = median(own)
    assert found.low <= found.value == np.median(own) <= found.high and found.high - found.low < 0.02


def test_rounds_go_on_until_the_interval_is_narrow_or_time_is_up() -> None:
    calls = [0, 0, 0]

    def run(place: int) -> None:
        calls[place] += 1
        time.sleep(0.001)

    found = interleaved([lambda: run(0), lambda: run(1), lambda: run(2)], seconds=5.0)
    assert found.shape[1] == 3 and LEAST_ROUNDS <= len(found) <= MOST_ROUNDS and (found >= 1.0).all()
    # Each is run before it is timed, short ones more often.
    assert min(calls) > 3 * len(found)
    assert len(interleaved([lambda: time.sleep(0), lambda: time.sleep(0.002)], seconds=0.0)) == LEAST_ROUNDS


def test_a_run_is_repeated_until_it_has_run_for_a_while() -> None:
    assert settle(lambda: time.sleep(2 * SETTLE)) == 1
    assert settle(lambda: None) == MOST_SETTLING


def _hold(own: Path, told: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    tempfile.tempdir = str(own)
    with one_at_a_time():
        start = time.monotonic()
        time.sleep(0.3)
        told.put((start, time.monotonic()))


@pytest.mark.parametrize(("slowed", "halves"), [([], 2), ([0], MOST_HALVES), ([0, 1], MOST_HALVES)])
def test_a_pair_is_warm_when_both_are(slowed: list[int], halves: int) -> None:
    assert halves_of_a_warm_up(2, slowed) == halves


@pytest.mark.parametrize(("slowed", "halves"), [([], 2), ([3], 2), ([0, 1, 2, 3, 4], MOST_HALVES)])
def test_many_are_warm_when_most_are(slowed: list[int], halves: int) -> None:
    assert halves_of_a_warm_up(9, slowed) == halves


def halves_of_a_warm_up(count: int, slowed: list[int]) -> int:
    """Return how many stretches it takes some runs, of which some take another time in each, to be warm."""
    rounds = 0

    def one_round(runs: list[None], _rng: np.random.Generator) -> list[float]:
        nonlocal rounds
        rounds += 1
        grown = 1.0 + (rounds - 1) // WARM_UP
        return [grown if place in slowed else 1.0 for place in range(len(runs))]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slimfront.objectives.stopwatch._round", one_round)
        _warm_up([lambda: None] * count, np.random.default_rng(0))
    return rounds // WARM_UP


def test_two_processes_measure_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of two runs, or of two users, keep their temporary files in folders of their own."""
    monkeypatch.setattr("slimfront.objectives.stopwatch.PLACE", tmp_path)
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    both = [context.Process(target=_hold, args=(tmp_path / str(number), told)) for number in range(2)]
    for process in both:
        process.start()
    (start, end), (later, last) = sorted(told.get(timeout=60) for _ in range(2))
    for process in both:
        process.join()
    assert start < end <= later < last


def test_what_bears_on_a_time_is_told() -> None:
    found = conditions()
    assert isinstance(found["load"], float) and found["load"] >= 0 and set(found) <= {"load", "cores", "governor"}
    times, around = compared([lambda: None, lambda: time.sleep(0.001)], threads=3, seconds=0.0, least=30)
    assert times.shape == (2, 30) and times[1].min() >= 1.0 > np.median(times[0])
    assert around["threads"] == 3 and around["rounds"] == 30 and "load" in around


def test_percentiles_need_enough_runs() -> None:
    own = np.random.default_rng(3).permutation(1000) / 10
    assert percentiles(own[:99]) == {} and set(percentiles(own[:999])) == {"p90"}
    assert percentiles(own) == {"p90": pytest.approx(89.91), "p99": pytest.approx(98.901)}
