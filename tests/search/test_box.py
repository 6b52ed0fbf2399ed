from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slimfront.search.box import Box, volume
from slimfront.studies.limits import parse_limit

OBJECTIVES = {"size": {"direction": "minimize"}, "accuracy": {"direction": "maximize"}}
DENSE = {"size": 100.0, "accuracy": 0.8}


def test_without_limits_the_box_goes_from_dense_and_zero_to_the_ideal() -> None:
    box = Box.of(OBJECTIVES, DENSE, {})
    assert (box.worst, box.ideal) == ((100.0, 0.0), (0.0, 0.8))
    assert box.hypervolume([{"size": 50, "accuracy": 0.8}]) == pytest.approx(0.5)
    assert box.hypervolume([{"size": 50, "accuracy": 0.6}]) == pytest.approx(0.5 * 0.75)
    assert box.hypervolume([DENSE]) == 0 == box.hypervolume([])


def test_a_limit_is_the_worst_that_counts() -> None:
    accuracy = parse_limit("accuracy", ">= dense - 0.04", "fraction", "x")
    box = Box.of(OBJECTIVES, DENSE, {"accuracy": accuracy, "size": parse_limit("size", "<= dense / 2", "byte", "x")})
    assert box.worst == pytest.approx((50.0, 0.76)) and box.ideal == (0.0, 0.8)
    assert box.hypervolume([{"size": 25, "accuracy": 0.79}]) == pytest.approx(0.5 * 0.75)
    assert box.hypervolume([{"size": 25, "accuracy": 0.75}]) == 0


def test_a_limit_on_the_far_side_changes_nothing() -> None:
    size = parse_limit("size", ">= 10 B", "byte", "x")
    assert Box.of(OBJECTIVES, DENSE, {"size": size}) == Box.of(OBJECTIVES, DENSE, {})


@given(st.lists(st.tuples(*[st.floats(0, 1)] * 3), min_size=1, max_size=6), st.tuples(*[st.floats(0, 1)] * 3))
def test_volume_is_monotone_and_bounded(points: list[tuple[float, ...]], other: tuple[float, ...]) -> None:
    before, after = volume(np.array(points)), volume(np.array([*points, other]))
    alone = float(np.prod(1 - np.array(other)))
    assert before - 1e-12 <= after <= before + alone + 1e-12 and after >= alone - 1e-12


def test_where_dense_is_best_the_box_begins_at_the_worst_or_at_the_bound() -> None:
    objectives = {"size": {"direction": "minimize"}, "divergence": {"direction": "minimize", "worst": 0.5}}
    dense = {"size": 100.0, "divergence": 0.0}
    assert Box.of(objectives, dense, {}).hypervolume([{"size": 50, "divergence": 0.1}]) == pytest.approx(0.5 * 0.8)
    limit = parse_limit("divergence", "<= 0.2 nat", "nat", "x")
    box = Box.of(objectives, dense, {"divergence": limit})
    assert box.hypervolume([{"size": 50, "divergence": 0.1}]) == pytest.approx(0.5 * 0.5)
    assert box.hypervolume([{"size": 50, "divergence": 0.3}]) == 0


def test_a_dense_model_that_only_guesses_leaves_a_box() -> None:
    box = Box.of({"mcc": {"direction": "maximize"}}, {"mcc": -0.1}, {})
    assert box.span > 0 and box.hypervolume([{"mcc": -0.1}]) == 1 and box.hypervolume([{"mcc": -0.2}]) == 0
