"""Racing drops what surely misses the bar early, and what reaches it seldom."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slimfront.search.racing import Bar, Logits, Race, boundary, looks

TOTAL = 600


def pair(scatter: float, rng: np.random.Generator, slope: float = 0.7) -> tuple[Logits, Logits, np.ndarray]:
    """Return the logits of a dense model that is right four times in five, of a candidate, and labels."""
    labels = rng.integers(2, size=TOTAL)
    margin = rng.normal(1.5, 1.8, TOTAL)
    own = slope * margin + rng.normal(0, scatter, TOTAL)
    return _logits(margin, labels), _logits(own, labels), labels


def _logits(margin: np.ndarray, labels: np.ndarray) -> Logits:
    signed = np.where(labels == 1, margin, -margin) / 2
    return np.stack([-signed, signed], axis=1).astype(np.float32)


def accuracy(logits: Logits, labels: np.ndarray) -> float:
    return float((logits.argmax(axis=1) == labels).mean())


def run(race: Race, own: Logits, bar: Bar) -> tuple[bool, int]:
    """Return whether the candidate was stopped, and how many sentences it read."""
    told: list[int] = []

    def read(positions: Sequence[int]) -> Logits:
        told.extend(positions)
        return own[list(positions)]

    stopped = race.run(read, bar)
    assert len(set(told)) == len(told)
    return stopped, len(told)


@given(st.integers(1, 5000))
def test_looks_grow_and_end_with_everything(total: int) -> None:
    found = looks(total)
    assert found[-1] == total and all(a < b for a, b in itertools.pairwise(found))


def test_the_boundary_holds_for_a_walk_over_all_looks() -> None:
    """The errors of means over draws without replacement are such a walk."""
    rng, total, exceeded = np.random.default_rng(1), 600, 0
    ends, bound = np.array(looks(total)[:-1]), boundary(total, 0.1)
    for _ in range(2000):
        values = rng.normal(size=total)
        means = values.cumsum()[ends - 1] / ends
        errors = (means - values.mean()) / (values.std() * np.sqrt(1 / ends - 1 / total))
        exceeded += bool(errors.max() > bound)
    assert 0.07 < exceeded / 2000 < 0.125
    assert (
        boundary(600, 1e-6) > boundary(600, 0.0009) > boundary(600, 0.01) > bound > boundary(600, 0.3) > 0
        and boundary(20, 0.1) == 0
    )


@pytest.mark.parametrize(
    ("scatter", "references"),
    [pytest.param(0.05, 0, marks=pytest.mark.slow), (0.4, 0), (1.0, 0), pytest.param(1.0, 12, marks=pytest.mark.slow)],
)
def test_a_candidate_that_just_reaches_the_bar_is_seldom_stopped(scatter: float, references: int) -> None:
    delta, trials, stopped = 0.1, 300, 0
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        dense, own, labels = pair(scatter, rng)
        others = [(dense + rng.normal(0, 1, dense.shape)).astype(np.float32) for _ in range(references)]
        stopped += run(Race(dense, labels, delta, seed, others), own, Bar(0, accuracy(own, labels)))[0]
    assert stopped / trials <= delta + 3 * np.sqrt(delta * (1 - delta) / trials)


def test_scatter_with_heavy_tails_costs_no_more_than_twice_the_error() -> None:
    delta, trials, stopped = 0.1, 300, 0
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        labels, margin = rng.integers(2, size=TOTAL), rng.normal(1.5, 1.8, TOTAL)
        own = _logits(0.9 * margin + 0.3 * rng.standard_t(3, TOTAL), labels)
        stopped += run(Race(_logits(margin, labels), labels, delta, seed), own, Bar(0, accuracy(own, labels)))[0]
    assert stopped / trials <= 2 * delta + 3 * np.sqrt(2 * delta / trials)


def test_what_is_clearly_worse_stops_early_and_its_bound_says_why() -> None:
    read, errors = [], []
    for seed in range(40):
        dense, own, labels = pair(1.5, np.random.default_rng(seed))
        race = Race(dense, labels, 0.05, seed)
        bar = Bar(3, accuracy(own, labels) + 0.08)
        stopped, count = run(race, own, bar)
        assert stopped and race.upper_bound() < bar.accuracy
        errors.append(abs(race.estimate() - accuracy(own, labels)))
        read.append(count)
    assert np.mean(read) < 0.3 * TOTAL and np.mean(errors) < 0.05


def test_earlier_trials_spare_sentences() -> None:
    read: dict[bool, list[int]] = {False: [], True: []}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        labels, margin, shared = rng.integers(2, size=TOTAL), rng.normal(1.5, 1.8, TOTAL), rng.normal(0, 1, TOTAL)
        dense, own = _logits(margin, labels), _logits(0.7 * margin + shared, labels)
        other = _logits(0.8 * margin + 0.7 * shared + rng.normal(0, 0.2, TOTAL), labels)
        for helped in (False, True):
            race = Race(dense, labels, 0.05, seed, [other] if helped else [])
            read[helped].append(run(race, own, Bar(0, accuracy(own, labels) + 0.03))[1])
    assert np.mean(read[True]) < 0.7 * np.mean(read[False])


@pytest.mark.parametrize("total", [5, 40, TOTAL])
def test_read_to_its_end_a_race_knows_the_accuracy(total: int) -> None:
    dense, own, labels = (part[:total] for part in pair(1.0, np.random.default_rng(0)))
    race = Race(dense, labels, 0.05, 0)
    assert run(race, own, Bar(0, 0.0)) == (False, total)
    assert race.estimate() == race.upper_bound() == pytest.approx(accuracy(own, labels))
    # Once all is read the bar decides exactly.
    race = Race(dense, labels, 1e-9, 0)
    assert run(race, own, Bar(0, accuracy(own, labels))) == (False, total)


@given(
    total=st.integers(1, 400),
    size=st.sampled_from([1, 2, 8, 16, 32, 64, 128]),
    seed=st.integers(0, 9),
)
@settings(deadline=None, max_examples=60)
def test_groups_are_read_whole_and_each_once(total: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    dense, own, labels = (part[:total] for part in pair(1.0, rng))
    order = rng.permutation(total).tolist()
    groups = [order[start : start + size] for start in range(0, total, size)]
    home = {index: number for number, group in enumerate(groups) for index in group}
    looked: list[list[int]] = []

    def read(positions: Sequence[int]) -> Logits:
        looked.append(list(positions))
        return own[list(positions)]

    race = Race(dense, labels, 0.05, seed, groups=groups)
    assert not race.run(read, Bar(0, 0.0))
    told = [index for look in looked for index in look]
    assert sorted(told) == list(range(total)) and len(looked[0]) >= min(total, 30)
    assert race.estimate() == pytest.approx(accuracy(own, labels))
    for look in looked:
        assert sorted(look) == sorted(index for number in {home[index] for index in look} for index in groups[number])


def test_groups_of_one_are_no_groups() -> None:
    dense, own, labels = pair(1.0, np.random.default_rng(0))
    bar = Bar(0, accuracy(own, labels) + 0.02)
    alone = [[index] for index in range(TOTAL)]
    races = [Race(dense, labels, 0.05, 7), Race(dense, labels, 0.05, 7, groups=alone)]
    assert run(races[0], own, bar) == run(races[1], own, bar)


def test_groups_keep_the_error_and_spare_sentences() -> None:
    delta, trials, stopped, read = 0.1, 200, 0, []
    for seed in range(trials):
        dense, own, labels = pair(1.0, np.random.default_rng(seed))
        groups = np.random.default_rng(seed).permutation(TOTAL).reshape(-1, 8).tolist()
        stopped += run(Race(dense, labels, delta, seed, groups=groups), own, Bar(0, accuracy(own, labels)))[0]
        worse = Bar(0, accuracy(own, labels) + 0.08)
        read.append(run(Race(dense, labels, delta, seed, groups=groups), own, worse)[1])
    assert stopped / trials <= delta + 3 * np.sqrt(delta * (1 - delta) / trials)
    assert np.mean(read) < 0.35 * TOTAL


def test_a_seed_repeats_a_race() -> None:
    dense, own, labels = pair(1.0, np.random.default_rng(0))
    bar = Bar(0, accuracy(own, labels) + 0.02)
    first, again = Race(dense, labels, 0.05, 7), Race(dense, labels, 0.05, 7)
    assert run(first, own, bar) == run(again, own, bar)
    assert first.upper_bound() == again.upper_bound()


def test_races_of_several_classes() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(5, size=TOTAL)
    dense = (rng.normal(0, 1, (TOTAL, 5)) + 2 * np.eye(5)[labels]).astype(np.float32)
    own = (dense + rng.normal(0, 1, dense.shape)).astype(np.float32)
    stopped, count = run(Race(dense, labels, 0.05, 0), own, Bar(0, accuracy(own, labels) + 0.1))
    assert stopped and count < 0.5 * TOTAL
    assert not run(Race(dense, labels, 0.05, 0), own, Bar(0, accuracy(own, labels) - 0.05))[0]


@pytest.mark.parametrize(("delta", "total"), [(0.0, 9), (1.0, 9), (0.1, 0)])
def test_what_no_race_is_refused(delta: float, total: int) -> None:
    with pytest.raises(ValueError, match="a race needs"):
        Race(np.zeros((total, 2), dtype=np.float32), np.zeros(total, dtype=np.int64), delta, 0)
