from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slimfront.studies.errors import StudyError
from slimfront.studies.limits import parse_limit, parse_where

UNITS = {"size": "byte", "latency": "ms", "accuracy": "fraction"}
DENSE = {"size": 90e6, "latency": 10.0, "accuracy": 0.8}


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("size <= 20 MB", 20e6),
        ("size<=20MB", 20e6),
        ("size <= 2 MiB", 2 * 2**20),
        ("size <= dense / 4", 22.5e6),
        ("latency <= 5 ms", 5.0),
        ("latency <= 0.5 s", 500.0),
        ("latency <= dense * 0.5", 5.0),
        ("accuracy >= dense - 0.01", 0.79),
        ("accuracy >= dense - 1 %", 0.79),
        ("accuracy >= dense", 0.8),
        ("accuracy >= 75%", 0.75),
        ("accuracy <= 1", 1.0),
        ("accuracy >= dense * 1.5", 1.2),
        ("size >= 20", 20.0),
    ],
)
def test_bounds(text: str, bound: float) -> None:
    assert parse_where(text, UNITS).bound(DENSE) == pytest.approx(bound)


@pytest.mark.parametrize(
    "text",
    [
        "size",
        "size < 3",
        "size <= MB",
        "accuracy <= 3 MB",
        "size <= dense / 0",
        "size <= dense / 4 MB",
        "size <= 1e999 MB",
        "size <= dense * 1e400",
        "a <= 1",
        "",
        "__import__('os')",
        "accuracy >= 79",
        "accuracy >= dense - 1",
        "size <= 20",
        "size <= dense * 0",
        "latency <= 0 ms",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(StudyError) as caught:
        parse_where(text, UNITS)
    assert caught.value.exit_code == 2 and caught.value.allowed


@given(value=st.floats(1, 1e9), bound=st.floats(1000, 1e9))
def test_violation_is_positive_exactly_when_broken(value: float, bound: float) -> None:
    upper = parse_limit("size", f"<= {bound!r}", "byte", "x")
    assert (upper.violation(value, DENSE) > 0) == (value > bound)
    lower = parse_limit("size", f">= {bound!r}", "byte", "x")
    assert (lower.violation(value, DENSE) > 0) == (value < bound)
