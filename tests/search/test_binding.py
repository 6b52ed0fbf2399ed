from __future__ import annotations

import pytest
from slimfront.search.binding import bindings
from slimfront.search.front import Front
from slimfront.studies.errors import NoFeasiblePoint
from slimfront.studies.limits import parse_limit, parse_where

from tests.search.test_picking import OBJECTIVES, ROWS, front

UNITS = {name: str(entry["unit"]) for name, entry in OBJECTIVES.items()}


def test_each_budget_alone_and_with_the_others() -> None:
    points = front(*ROWS)
    limits = [
        parse_where(text, UNITS) for text in ("size <= 15 MB", "accuracy >= dense - 0.03", "latency <= dense / 10")
    ]
    size, accuracy, latency = bindings(limits, points.points, points.dense.values)
    assert size.alone.trial == 3 and size.kept is None
    assert accuracy.alone.trial == 0 and accuracy.kept is None
    # Nothing is both small and accurate, so that no latency is left to be told.
    assert latency.alone.trial == 3 and latency.kept is None
    size, accuracy = bindings(limits[:2], points.points, points.dense.values)
    assert size.kept is not None and size.kept.trial == 1 and accuracy.kept is not None and accuracy.kept.trial == 3
    told = "the front reaches 10.00 MB (trial 3); with the others kept 40.00 MB (trial 1, 25.00 MB too much)"
    assert size.tell(UNITS) == f"size <= 15 MB: {told}"
    assert accuracy.tell(UNITS).endswith("with the others kept 0.8000 (trial 3, 0.0700 too little)")


def test_a_budget_that_nothing_keeps_is_told() -> None:
    with pytest.raises(NoFeasiblePoint) as caught:
        front(*ROWS).where(["size <= 5 MB", "latency <= 9 ms"])
    assert caught.value.exit_code == 1
    assert "size <= 5 MB: the front reaches 10.00 MB (trial 3, 5.00 MB too much)\n" in str(caught.value)
    assert "latency <= 9 ms: the front reaches 1.000 ms (trial 3); no point keeps the others" in str(caught.value)


def test_of_a_front_without_points_the_constraints_bind() -> None:
    limit = parse_limit("size", "<= 4 MB", "byte", "constraints.size")
    nothing: Front = front(*ROWS, size=limit)
    assert not nothing.points
    with pytest.raises(
        NoFeasiblePoint, match=r"size <= 4 MB: the front reaches 10\.00 MB \(trial 3, 6\.00 MB too much\)"
    ):
        nothing.where(())
    # The nearest to the constraint comes first, not the first trial.
    assert nothing.nearest([limit]).startswith("trial 3 ")
