from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slimfront.search.box import volume
from slimfront.search.prediction.tables import Floats
from slimfront.search.samplers.decomposition import Decomposition


def drawn(seed: int, count: int, objectives: int, grid: int) -> Floats:
    """Return points of the unit box; on a coarse grid many of them share coordinates or beat each other."""
    points = np.random.default_rng(seed).random((count, objectives))
    return np.round(points * grid) / grid if grid else points


def decomposed(front: Floats) -> Decomposition:
    found = Decomposition(front.shape[1])
    for point in front:
        found.add(point)
    return found


@given(st.integers(0, 2**31), st.integers(0, 14), st.integers(1, 4), st.sampled_from((0, 3)))
def test_what_a_sure_point_adds_is_the_difference_of_two_hypervolumes(
    seed: int, members: int, objectives: int, grid: int
) -> None:
    front, points = drawn(seed, members, objectives, grid), drawn(seed + 1, 5, objectives, grid)
    added = [volume(np.vstack([front, point])) - volume(front) for point in points]
    assert decomposed(front).expected_improvement(points, np.zeros_like(points)) == pytest.approx(added, abs=1e-12)


@given(st.integers(0, 2**31), st.integers(0, 8), st.floats(0.01, 0.5))
def test_what_an_unsure_point_adds_is_the_mean_over_what_it_may_be(seed: int, members: int, spread: float) -> None:
    front, point = drawn(seed, members, 3, 0), drawn(seed + 1, 1, 3, 0)
    # The middles of a thousand equally likely parts.
    parts = np.sort(np.random.default_rng(0).standard_normal(200_000))[100::200]
    maybe = np.repeat(point, len(parts), axis=0)
    maybe[:, 2] += spread * parts
    found = decomposed(front)
    # Beyond the ideal nothing is gained.
    mean = found.expected_improvement(np.maximum(maybe, 0.0), np.zeros_like(maybe)).mean()
    assert found.expected_improvement(point, np.array([[0.0, 0.0, spread]]))[0] == pytest.approx(mean, abs=2e-3)


def test_boxes_grow_with_the_front_and_not_faster() -> None:
    # Nobody on a sphere beats anybody else there.
    points = drawn(0, 400, 3, 0)
    counts = [len(decomposed(points[:n] / np.linalg.norm(points[:n], axis=1)[:, None])) for n in (100, 400)]
    assert counts == [201, 801]


def test_points_that_tie_leave_nothing_behind() -> None:
    """Each beats the one before; all share a coordinate."""
    found = Decomposition(3)
    for number in range(300):
        found.add(np.array([1 - number / 400, 1 - number / 400, 0.5]))
    assert len(found) < 80
    last = np.array([[1 - 299 / 400, 1 - 299 / 400, 0.5]])
    probes = drawn(0, 20, 3, 0)
    expected = [volume(np.vstack([last, probe])) - volume(last) for probe in probes]
    assert found.expected_improvement(probes, np.zeros_like(probes)) == pytest.approx(expected, abs=1e-12)
