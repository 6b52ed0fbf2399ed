from __future__ import annotations

import numpy as np
import pytest
from slimfront.search.front import Front, Point
from slimfront.search.picking import gains, parse_weights
from slimfront.spaces.configuration import Configuration
from slimfront.studies.errors import NoFeasiblePoint, StudyError

OBJECTIVES = {
    "size": {"unit": "byte", "direction": "minimize"},
    "latency": {"unit": "ms", "direction": "minimize"},
    "accuracy": {"unit": "fraction", "direction": "maximize"},
}


def front(*rows: tuple[float, float, float], **limits: object) -> Front:
    points = [
        Point(n, dict(zip(OBJECTIVES, row, strict=True)), {}, Configuration({}), feasible=not limits)
        for n, row in enumerate(rows)
    ]
    return Front.of(OBJECTIVES, points[0], points, limits)  # type: ignore[arg-type]


ROWS = ((80e6, 8.0, 0.9), (40e6, 4.0, 0.88), (20e6, 2.0, 0.86), (10e6, 1.0, 0.8))


def test_gains_go_by_the_logarithm_unless_a_value_is_zero() -> None:
    found = gains(np.array([[80.0, 0.0], [40.0, 1.0], [20.0, 2.0], [10.0, 4.0]]))
    assert found[:, 0] == pytest.approx([0, 1 / 3, 2 / 3, 1]) and found[:, 1] == pytest.approx([1, 0.75, 0.5, 0])
    # What is maximized is told as its negative.
    assert gains(np.array([[-0.4], [-0.2], [-0.1]]))[:, 0] == pytest.approx([1, 0.5, 0])
    assert gains(np.array([[3.0, -1.0]])) == pytest.approx(np.ones((1, 2)))


def test_balanced_gives_up_no_objective() -> None:
    # By hand: the product of gains is 0, 1/9 · 0.81, 4/9 · 0.61 and 0.
    assert front(*ROWS).pick("balanced").trial == 2
    # The knee, on a linear scale, hardly tells 20 from 10 MB.
    assert front((80e6, 8.0, 0.9), (60e6, 7.0, 0.899), (10e6, 1.0, 0.8)).pick("balanced").trial == 1


def test_weights_decide() -> None:
    all_points = front(*ROWS)
    assert all_points.pick(weights={"size": 1}).trial == 3 and all_points.pick(weights={"accuracy": 2}).trial == 0
    # 1/3 + 0.81 w against 2/3 + 0.61 w, the gain of accuracy on its logarithmic scale.
    assert [all_points.pick(weights={"size": 1, "accuracy": w}).trial for w in (0.5, 1.65, 9.0)] == [3, 2, 0]
    # Scaled anew over what passes.
    assert all_points.pick(weights={"accuracy": 1}, where="size <= 20 MB").trial == 2


@pytest.mark.parametrize("text", ["size", "size=x", "size=1,size=2", "=1", "", "size=nan", "size=__import__('os')"])
def test_what_is_no_list_of_weights(text: str) -> None:
    with pytest.raises(StudyError) as caught:
        parse_weights(text)
    assert caught.value.where == "--weights" and caught.value.allowed


@pytest.mark.parametrize("weights", [{"sise": 1.0}, {"size": -1.0}, {"size": float("inf")}, {"size": 0.0}, {}])
def test_weights_that_decide_nothing(weights: dict[str, float]) -> None:
    with pytest.raises(StudyError, match="weight"):
        front(*ROWS).pick(weights=weights)


def test_a_way_and_weights_are_one_too_many() -> None:
    assert parse_weights(" size = 1, accuracy=2.5") == {"size": 1.0, "accuracy": 2.5}
    with pytest.raises(StudyError, match="weights"):
        front(*ROWS).pick("knee", weights={"size": 1})


def test_nothing_is_picked_from_nothing() -> None:
    with pytest.raises(NoFeasiblePoint, match="nearest"):
        front(*ROWS).pick("balanced", where="size <= 1 MB")
