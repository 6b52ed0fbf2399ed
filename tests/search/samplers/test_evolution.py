from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slimfront.search.box import Box
from slimfront.search.prediction.correction import Correction, Seen
from slimfront.search.prediction.tables import Tables
from slimfront.search.samplers import SAMPLERS, Observation, Problem
from slimfront.search.samplers.evolution import Evolution
from slimfront.search.samplers.moves import Moves
from slimfront.search.samplers.screen import RECENT, Archive, Screen
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.domain import Domain, Value

from tests.search.prediction_of import predictor_of

NAMES = [f"bits/encoder.layer.{block}.{part}" for block in range(3) for part in ("qkv", "ffn")]
DOMAINS = {name: Domain((16, 8, 6, 4, 2)) for name in NAMES} | {"precision/inference": Domain(("a", "b", "c"), False)}
PREDICTOR = predictor_of(DOMAINS)
OBJECTIVES = {n: {"direction": d} for n, d in (("size", "minimize"), ("latency", "minimize"), ("accuracy", "maximize"))}
BOX = Box.of(OBJECTIVES, {"size": 96.0, "latency": 1.0, "accuracy": 0.8}, {})
DIRECTIONS = {name: entry["direction"] for name, entry in OBJECTIVES.items()}


def problem(tried: set[Configuration] | None = None) -> Problem:
    return Problem(
        DOMAINS, DIRECTIONS, BOX, PREDICTOR, fresh=lambda values: Configuration(values) not in (tried or set())
    )


def observe(values: dict[str, Value]) -> Observation:
    told = PREDICTOR.predict([values])
    loss = float(told.loss[0])
    seen = (float(told.size[0]), float(told.latency[0]), 0.8 - 0.1 * loss**0.5)
    return Observation(Configuration(values), seen, {}, loss)


def uniform() -> list[Observation]:
    return [observe(dict.fromkeys(NAMES, bits) | {"precision/inference": "a"}) for bits in (16, 8, 6, 4, 2)]


def volume_after(name: str, count: int, seed: int) -> float:
    seen, tried = uniform(), {Configuration(one.values) for one in uniform()}
    sampler, posed = SAMPLERS.get(name, where="x")(), problem(tried)
    for number in range(count):
        values = sampler.suggest(posed, seen, 1000 * seed + number)
        tried.add(Configuration(values))
        seen.append(observe(values))
    return BOX.hypervolume([dict(zip(OBJECTIVES, one.objectives, strict=True)) for one in seen])


def test_it_gains_more_than_chance_with_the_same_trials() -> None:
    before = BOX.hypervolume([dict(zip(OBJECTIVES, one.objectives, strict=True)) for one in uniform()])
    for seed in range(3):
        ours, chance = (volume_after(name, 20, seed) - before for name in ("evolution", "random"))
        assert ours > 2 * chance and ours > 0


def test_nothing_is_suggested_twice() -> None:
    seen, tried = uniform(), set()
    posed, sampler = problem(tried), Evolution()
    for number in range(40):
        tried.add(Configuration(sampler.suggest(posed, seen, number)))
    assert len(tried) == 40


def test_the_front_is_walked_until_nothing_is_expected_of_it() -> None:
    seen, tried = uniform(), set()
    posed, sampler, found = problem(tried), Evolution(), []
    while (values := sampler.along_the_front(posed, seen)) is not None:
        found.append(values)
        tried.add(Configuration(values))
        seen.append(observe(values))
    assert 3 < len(found) == len(tried)


def test_without_a_history_something_is_suggested() -> None:
    assert Evolution().suggest(problem(), [], 0).keys() == DOMAINS.keys()


def test_where_no_loss_is_tolerated_what_surely_loses_is_worth_nothing() -> None:
    from slimfront.studies.limits import parse_limit

    limit = parse_limit("accuracy", ">= dense", "fraction", "x")
    box = Box.of(OBJECTIVES, {"size": 96.0, "latency": 1.0, "accuracy": 0.8}, {"accuracy": limit})
    kept, lost = ({"size": 24.0, "latency": 0.5, "accuracy": value} for value in (0.8, 0.7))
    assert box.hypervolume([kept]) == pytest.approx(0.75 * 0.5) and box.hypervolume([lost]) == 0
    archive = Archive(Problem(DOMAINS, DIRECTIONS, box, PREDICTOR))
    archive.update(uniform()[:1])
    mild, hard = np.array([[1, 0, 0, 0, 0, 0, 0]]), np.array([[4, 4, 4, 4, 4, 4, 0]])
    found = [float(Screen(archive).improvements(levels)[0]) for levels in (mild, hard)]
    assert found[0] > 100 * found[1]


def test_improvements_are_those_of_the_box_on_average() -> None:
    archive = Archive(Problem(DOMAINS, DIRECTIONS, BOX, predictor_of(DOMAINS), step_price=0.0))
    archive.update(uniform())
    levels = np.random.default_rng(0).integers(3, size=(20, len(DOMAINS)))
    told = PREDICTOR.at(levels)
    accuracy, spread = archive.correction().accuracy(levels, told.loss)
    front = [dict(zip(OBJECTIVES, one.objectives, strict=True)) for one in uniform()]
    before, rng = BOX.hypervolume(front), np.random.default_rng(1)
    for row, improvement in enumerate(Screen(archive).improvements(levels)):
        sure = {"size": float(told.size[row]), "latency": float(told.latency[row])}
        drawn = accuracy[row] + spread[row] * rng.standard_normal(1000)
        added = [BOX.hypervolume([*front, sure | {"accuracy": float(one)}]) - before for one in drawn]
        assert improvement == pytest.approx(np.mean(added), abs=5 * float(np.std(added)) / 1000**0.5 + 1e-3)
        assert improvement > 0


def test_an_archive_follows_a_history_and_refuses_another() -> None:
    """Workers finish out of order: a trial may turn up before those that are known already."""
    seen, archive = uniform(), Archive(problem())
    probes = np.random.default_rng(0).random((9, 3))
    histories = [seen[:1], seen[:3], [*seen[:2], seen[4]], [*seen[:2], seen[3], seen[4]], seen]
    for history in histories:
        assert archive.update(history)
        whole = Archive(archive.problem)
        whole.update(history)
        volumes = [one.decomposition.expected_improvement(probes, 0 * probes).tolist() for one in (archive, whole)]
        assert volumes[0] == volumes[1] and archive.parents().tolist() == whole.parents().tolist()
    long = [observe(dict.fromkeys(NAMES, 8) | {"precision/inference": "a"}) for _ in range(100)]
    assert archive.update([*seen, *long]) and not archive.update(seen[1:])


def test_what_is_learnt_depends_on_the_history_alone() -> None:
    """A search that goes on suggests what it would have without a break; not every trial is learnt from at once."""
    rows, bits = np.random.default_rng(0).integers(5, size=(420, 6)), np.array((16, 8, 6, 4, 2))
    seen = [observe(dict(zip(NAMES, bits[row].tolist(), strict=True)) | {"precision/inference": "a"}) for row in rows]
    probes = np.random.default_rng(1).integers(5, size=(9, 7)) * [1, 1, 1, 1, 1, 1, 0]

    def told(correction: Correction) -> list[float]:
        return correction.accuracy(probes, PREDICTOR.at(probes).loss)[0].tolist()

    def anew(history: list[Observation]) -> list[float]:
        archive = Archive(problem())
        assert archive.update(history)
        return told(archive.correction())

    grown, learnt = Archive(problem()), []
    for count in range(1, len(seen)):
        assert grown.update(seen[:count])
        learnt.append(grown.correction())
        if count % 37 == 0:
            assert told(learnt[-1]) == anew(seen[:count])
    assert len({id(one) for one in learnt}) < 0.6 * len(seen)
    changed = [*seen[:395], seen[0], *seen[396:400]]
    assert grown.update(changed) and told(grown.correction()) == anew(changed)


@given(st.integers(0, 2**31), st.integers(1, 40))
def test_offspring_stay_in_the_space(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    counts = np.array([len(domain.values) for domain in DOMAINS.values()])
    parents = rng.integers(counts, size=(4, len(counts)))
    born = Moves(DOMAINS, PREDICTOR, rng).offspring(parents, count)
    assert born.shape[1] == len(counts) and (born >= 0).all() and (born < counts).all()


def test_a_trade_keeps_size_or_latency_and_changes_two_layers() -> None:
    rng = np.random.default_rng(0)
    parent = np.array([2, 2, 2, 2, 2, 2, 0])
    born = Moves(DOMAINS, PREDICTOR, rng).trade(parent, 40)
    told, before = PREDICTOR.at(born), PREDICTOR.at(parent[None])
    moved = (born != parent).sum(axis=1)
    assert set(moved.tolist()) == {2} and (np.abs(told.size - before.size) <= 2).mean() > 0.9


def test_blocks_are_crossed_over_whole() -> None:
    rng = np.random.default_rng(0)
    ones, twos = np.zeros((50, 7), dtype=np.int64), np.ones((50, 7), dtype=np.int64)
    born = Moves(DOMAINS, PREDICTOR, rng).cross(ones, twos)
    pairs = born[:, :6].reshape(50, 3, 2)
    assert (pairs[:, :, 0] == pairs[:, :, 1]).all() and 0 < born.mean() < 1


def test_a_long_history_is_learnt_from_its_recent_part_and_its_front(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []

    def learn(tables: Tables, seen: Seen, dense: float, least: float) -> Correction:
        counts.append(len(seen.levels))
        return Correction(tables, seen, dense, least)

    monkeypatch.setattr("slimfront.search.samplers.screen.Correction", learn)
    rows = np.random.default_rng(0).integers(5, size=(2000, 6)).tolist()
    bits = (16, 8, 6, 4, 2)
    seen = [
        observe(dict(zip(NAMES, (bits[level] for level in row), strict=True)) | {"precision/inference": "a"})
        for row in rows
    ]
    for count in (100, 2000):
        archive = Archive(problem())
        archive.update(seen[:count])
        archive.correction()
    assert counts[0] == 100 and RECENT <= counts[1] <= 2 * RECENT
