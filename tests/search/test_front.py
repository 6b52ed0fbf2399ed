from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slimfront.objectives.measurement import Measurement
from slimfront.search.front import Front, Point, non_dominated
from slimfront.search.inspect.table import summary
from slimfront.search.rivals import packed, unpacked
from slimfront.spaces.configuration import Configuration
from slimfront.studies.errors import NoFeasiblePoint

OBJECTIVES = {
    "size": {"unit": "byte", "direction": "minimize"},
    "accuracy": {"unit": "fraction", "direction": "maximize"},
}


def point(trial: int, size: float, accuracy: float, feasible: bool = True) -> Point:
    return Point(trial, {"size": size, "accuracy": accuracy}, {}, Configuration({}), feasible=feasible)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=30))
def test_non_dominated_is_the_definition(rows: list[tuple[int, int, int]]) -> None:
    values = np.array(rows, dtype=float)

    def beats(a: np.ndarray, b: np.ndarray) -> bool:
        return bool((a <= b).all() and (a < b).any())

    kept = non_dominated(values)
    assert not any(beats(values[j], values[i]) for i in kept for j in range(len(rows)))
    for i in set(range(len(rows))) - set(kept):
        assert any(beats(values[j], values[i]) or (values[j] == values[i]).all() for j in kept)


def test_front_and_hypervolume_by_hand() -> None:
    dense = point(0, 100, 0.8)
    front = Front.of(OBJECTIVES, dense, [dense, point(1, 50, 0.8), point(2, 25, 0.4), point(3, 10, 0.79, False)])
    assert [p.trial for p in front.points] == [2, 1]
    # In the box of relative size and relative loss: (0.5, 0) and (0.25, 0.5) against (1, 1).
    assert front.hypervolume() == pytest.approx(0.5 * 1 + 0.25 * 0.5)


def test_numbers_must_be_finite() -> None:
    with pytest.raises(ValueError, match="finite"):
        point(0, float("inf"), 0.5)
    with pytest.raises(ValueError, match="finite"):
        Measurement(float("nan"), "ms")
    with pytest.raises(ValueError, match="ascend"):
        Measurement(1.0, "ms", (2.0, 1.0))


def test_points_that_are_alike_in_what_is_wanted_are_told_apart_by_the_rest() -> None:
    objectives = {**OBJECTIVES, "latency": {"unit": "ms", "direction": "minimize"}}

    def timed(trial: int, size: float, accuracy: float, latency: float) -> Point:
        return Point(trial, {"size": size, "accuracy": accuracy, "latency": latency}, {}, Configuration({}))

    dense = timed(0, 100, 0.8, 9.9)
    front = Front.of(objectives, dense, [dense, timed(1, 50, 0.8, 10), timed(2, 10, 0.5, 5), timed(3, 90, 0.6, 4)])
    assert len(front.points) == 4 and front.pick("most-accurate").trial == 1


def test_a_point_is_told_in_words() -> None:
    cut = {"sparsity/attention": 0.25, "sparsity/ffn": 0.75, "vocabulary/removed": 0.5}
    assert summary(Configuration(cut)) == "50% of the vocabulary removed; 25% of heads and 75% of neurons removed"
    gone = {"bits/a.layer.1.qkv": 4, "bits/a.layer.10.qkv": 4, "bits/a.layer.2.qkv": 32, "depth/a.layer.2": "removed"}
    assert summary(Configuration(gone)) == "bits qkv 4; without a.layer.2"
    assert summary(Configuration({"sparsity/all": 0.5})) == "50% of heads and neurons removed"
    assert summary(Configuration({"sparsity/a.0.attention": 0.0, "sparsity/a.0.ffn": 0.5})) == "50% of neurons removed"


def again(trial: int, size: float, accuracy: float, held_out: float, change: float = 0.0, reach: float = 0.01) -> Point:
    ends = [change - reach, change + reach]
    return replace(
        point(trial, size, accuracy),
        intervals={"accuracy": (accuracy - 0.03, accuracy + 0.03)},
        held_out={"accuracy": held_out},
        changes={"accuracy": {"value": change, "interval": ends, "p": 1.0}},
    )


def test_a_point_that_a_smaller_one_may_beat_is_told() -> None:
    dense = again(0, 100, 0.80, 0.82, reach=0.001)
    chosen = [dense, again(1, 50, 0.79, 0.80, -0.02), again(2, 20, 0.78, 0.798, -0.022), again(3, 5, 0.7, 0.72, -0.1)]
    front = Front.of(OBJECTIVES, dense, chosen)
    assert len(front.points) == 4
    # Paired with the dense model on the held-out split 2 is no worse than 1, and 3 surely is.
    assert front.rivals() == {1: 2}
    rest = [replace(one, changes={}) if one.trial == 3 else one for one in chosen]
    assert Front.of(OBJECTIVES, dense, rest).rivals() == {}


def test_accuracies_are_compared_sentence_by_sentence() -> None:
    dense = again(0, 100, 0.80, 0.82, reach=0.02)
    # Paired with the dense model, all of them may be alike; paired with each other, the second is surely worse.
    rng = np.random.default_rng(0)
    right = rng.random(2000) < 0.8
    worse = right & (rng.random(2000) > 0.04)
    first, second = again(1, 50, 0.79, 0.80, -0.02, reach=0.02), again(2, 20, 0.78, 0.78, -0.04, reach=0.02)
    alike = Front.of(OBJECTIVES, dense, [first, second])
    assert alike.rivals() == {1: 2}
    told = [replace(first, right=packed(right)), replace(second, right=packed(worse))]
    assert (unpacked(told[1].right) == worse).all()
    assert Front.of(OBJECTIVES, dense, told).rivals() == {}
    assert Front.of(OBJECTIVES, dense, [told[0], replace(second, right=packed(right))]).rivals() == {1: 2}


def test_what_the_search_split_flatters_is_told() -> None:
    dense = again(0, 100, 0.80, 0.82)
    front = Front.of(OBJECTIVES, dense, [dense, again(1, 50, 0.79, 0.78), again(2, 20, 0.78, 0.75)])
    # Dense is 0.02 better on the other split, the two are 0.01 and 0.03 worse.
    assert front.optimism() == pytest.approx(0.02 + 0.02)
    assert Front.of(OBJECTIVES, dense, [point(0, 100, 0.8), point(1, 50, 0.79)]).optimism() is None


def test_the_last_tournament_decides_where_all_took_part() -> None:
    told = {
        "latency": {"unit": "ms", "direction": "minimize"},
        "accuracy": {"unit": "fraction", "direction": "maximize"},
    }

    def timed(trial: int, latency: float, accuracy: float, final: float | None) -> Point:
        found = Point(trial, {"latency": latency, "accuracy": accuracy}, {}, Configuration({"a": trial}))
        return found if final is None else replace(found, final={"latency": {"value": final, "interval": [0, 9]}})

    dense, lucky, quick = timed(0, 10.0, 0.8, None), timed(1, 2.0, 0.78, 5.0), timed(2, 4.0, 0.79, 3.0)
    front = Front.of(told, dense, [dense, lucky, quick])
    assert front.pick("fastest") is quick and front.where(["latency <= 3.5 ms"]) == (quick,)
    assert front.rematched == ["latency"]
    judged = {point.trial: point for point in front.settled.everything}
    assert [judged[trial].values["latency"] for trial in (0, 1, 2)] == [10.0, 5.0, 3.0]
    assert judged[1].intervals["latency"] == (0, 9) and not judged[1].final and judged[0] is dense
    assert front.settled.pick("fastest").trial == 2
    with pytest.raises(NoFeasiblePoint, match=r"reaches 3\.000 ms"):
        front.where(["latency <= 2.5 ms"])
    apart = Front.of(told, dense, [dense, lucky, replace(quick, final={})])
    assert apart.pick("fastest") is lucky and apart.where(["latency <= 2.5 ms"]) == (lucky,)
    assert apart.rematched == [] and apart.settled == apart
