"""Racing drops what is beaten early, and what is not almost never."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom
from slimfront.search.racing import LOOKS, SPEND, Race, Rival, Urn, chunks, refutes

TOTAL = 400
Bools = npt.NDArray[np.bool_]


def pair(accuracy: float, difference: float, flips: float, rng: np.random.Generator) -> tuple[Bools, Bools]:
    """Return a rival and a candidate: ``flips`` of the sentences go either way, the difference on top."""
    rival = np.zeros(TOTAL, dtype=np.bool_)
    rival[: int(accuracy * TOTAL)] = True
    rng.shuffle(rival)
    candidate = rival.copy()
    right, wrong = np.flatnonzero(rival), np.flatnonzero(~rival)
    both = int(flips * TOTAL / 2)
    candidate[rng.choice(wrong, both, replace=False)] = True
    candidate[rng.choice(right, both + int(difference * TOTAL), replace=False)] = False
    return rival, candidate


def run(rivals: list[Rival], candidate: Bools, delta: float, seed: int) -> tuple[Race, int]:
    race, order = Race(rivals, TOTAL, delta), np.random.default_rng(seed).permutation(TOTAL)
    for chunk in chunks(TOTAL):
        race.update(order[chunk], candidate[order[chunk]])
        if race.beaten_by() is not None:
            return race, chunk.stop
    return race, TOTAL


@pytest.mark.parametrize("margin", [0.0, 0.03])
def test_a_candidate_that_is_just_good_enough_is_seldom_stopped(margin: float) -> None:
    rng = np.random.default_rng(0)
    delta, trials = 0.1, 600
    rival, candidate = pair(0.8, margin, 0.1, rng)
    stopped = sum(
        run([Rival(0, rival, margin)], candidate, delta, seed)[0].beaten_by() is not None for seed in range(trials)
    )
    assert stopped / trials <= delta + 3 * np.sqrt(delta * (1 - delta) / trials)


def test_error_is_shared_between_rivals() -> None:
    rng = np.random.default_rng(1)
    delta, trials = 0.1, 400
    rival, candidate = pair(0.8, 0.0, 0.1, rng)
    other = pair(0.8, 0.0, 0.2, rng)[0]
    candidates_equal = [Rival(0, rival), Rival(1, other, float(other.mean() - candidate.mean()))]
    stopped = sum(run(candidates_equal, candidate, delta, seed)[0].beaten_by() is not None for seed in range(trials))
    assert stopped / trials <= delta + 3 * np.sqrt(delta * (1 - delta) / trials)


def test_what_is_clearly_worse_stops_early_and_its_bound_says_why() -> None:
    rng = np.random.default_rng(2)
    seen = []
    for seed in range(50):
        rival, candidate = pair(0.8, 0.2, 0.06, rng)
        race, count = run([Rival(3, rival)], candidate, 0.05, seed)
        beaten = race.beaten_by()
        assert beaten is not None and beaten.trial == 3
        assert race.upper_bound() <= rival.mean() + 1e-6
        assert 0 <= race.estimate() <= 1
        seen.append(count)
    assert np.mean(seen) < 0.5 * TOTAL


def test_bound_holds() -> None:
    rng = np.random.default_rng(3)
    missed = 0
    for seed in range(200):
        rival, candidate = pair(0.8, 0.05, 0.1, rng)
        race, order = Race([Rival(0, rival)], TOTAL, 0.1), np.random.default_rng(seed).permutation(TOTAL)
        race.update(order[:150], candidate[order[:150]])
        missed += race.upper_bound() < candidate.mean() - 1e-9
    assert missed <= 0.1 * 200 + 3 * np.sqrt(200 * 0.09)


def test_identical_candidate_is_never_stopped_and_a_hopeless_one_always() -> None:
    rival = pair(0.8, 0.0, 0.0, np.random.default_rng(4))[0]
    assert run([Rival(0, rival)], rival, 0.2, 0)[0].beaten_by() is None
    race, count = run([Rival(0, rival)], np.zeros(TOTAL, dtype=np.bool_), 0.01, 0)
    assert race.beaten_by() is not None and count < TOTAL / 4


def test_all_seen_gives_the_accuracy_itself() -> None:
    rival, candidate = pair(0.8, 0.02, 0.1, np.random.default_rng(5))
    race = Race([Rival(0, rival, 1.0)], TOTAL, 0.05)
    race.update(np.arange(TOTAL), candidate)
    assert race.estimate() == pytest.approx(candidate.mean())
    assert race.upper_bound() == pytest.approx(candidate.mean(), abs=1e-6)
    alone = Race([], TOTAL, 0.05)
    alone.update(np.arange(TOTAL), candidate)
    assert alone.beaten_by() is None and alone.upper_bound() == alone.estimate() == candidate.mean()


def test_one_sentence() -> None:
    race = Race([Rival(0, np.array([True]))], 1, 0.05)
    race.update(np.array([0]), np.array([False]))
    assert race.beaten_by() is not None and race.upper_bound() == race.estimate() == 0.0


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5000))
def test_chunks_cover_everything_once(total: int) -> None:
    found = [index for part in chunks(total) for index in range(total)[part]]
    assert found == list(range(total))


def test_shares_of_the_error_add_up_to_all_of_it() -> None:
    assert sum(SPEND) == pytest.approx(1.0) and len(SPEND) == len(LOOKS)


@settings(max_examples=30, deadline=None)
@given(st.integers(5, 40), st.integers(5, 40), st.data())
def test_test_is_exact(misses: int, hits: int, data: st.DataObject) -> None:
    """Every pair of urns at the null is drawn from in every way: the test rejects at most at its level."""
    drawn = data.draw(st.integers(1, misses)), data.draw(st.integers(1, hits))
    held = data.draw(st.integers(0, min(misses, hits)))
    chance = 0.0
    for wins in range(max(0, drawn[0] - misses + held), min(held, drawn[0]) + 1):
        for losses in range(max(0, drawn[1] - hits + held), min(held, drawn[1]) + 1):
            if refutes(Urn(misses, drawn[0], wins), Urn(hits, drawn[1], losses), 0, 0.1):
                chance += hypergeom.pmf(wins, misses, held, drawn[0]) * hypergeom.pmf(losses, hits, held, drawn[1])
    assert chance <= 0.1 + 1e-9


@pytest.mark.parametrize("delta", [0.0, 1.0, -1.0])
def test_nonsense_is_refused(delta: float) -> None:
    with pytest.raises(ValueError, match="delta"):
        Race([], 10, delta)
    with pytest.raises(ValueError, match="sentences"):
        Race([Rival(0, np.array([True]))], 2, 0.05)
