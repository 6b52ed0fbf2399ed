from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slimfront.objectives.paired import change


def answers(both: int, lost: int, won: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    before = np.repeat([True, True, False, False], [both, lost, won, neither])
    return before, np.repeat([True, False, True, False], [both, lost, won, neither])


def test_mcnemar_by_hand() -> None:
    # Of 12 sentences on which they differ 2 are won: 2 (1 + 12 + 66) / 2 ** 12.
    found = change(*answers(80, 10, 2, 8))
    assert found.value == -0.08 and found.p == pytest.approx(2 * 79 / 4096)
    # Agresti and Min: (2.5 - 10.5) / 102 ± 1.96 sqrt(13 - 64 / 102) / 102.
    assert found.low == pytest.approx((-8 - 1.959964 * (13 - 64 / 102) ** 0.5) / 102, abs=1e-6)
    assert found.high == pytest.approx((-8 + 1.959964 * (13 - 64 / 102) ** 0.5) / 102, abs=1e-6)


@given(st.integers(1, 300), st.integers(0, 60), st.integers(0, 60), st.integers(0, 100))
def test_which_model_comes_first_only_turns_the_sign(both: int, lost: int, won: int, neither: int) -> None:
    before, after = answers(both, lost, won, neither)
    one, other = change(before, after), change(after, before)
    assert one.value == -other.value and one.p == pytest.approx(other.p) and 0 <= one.p <= 1
    assert one.low <= one.value <= one.high and one.low == pytest.approx(-other.high)
    if lost == won == 0:
        assert one.p == 1 and one.low < 0 < one.high


def test_intervals_hold_what_is_true() -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(400):
        kind = rng.choice(4, size=500, p=[0.75, 0.06, 0.04, 0.15])
        found = change(kind < 2, (kind == 0) | (kind == 2))
        held.append(found.low <= -0.02 <= found.high)
    assert 0.93 <= np.mean(held) <= 0.985


def test_other_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="the same examples"):
        change(np.ones(3, dtype=bool), np.ones(4, dtype=bool))
