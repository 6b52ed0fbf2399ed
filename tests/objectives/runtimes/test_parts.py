"""What the parts of a model take on a machine that others use as well."""

from __future__ import annotations

import numpy as np
import pytest
from slimfront.objectives.runtimes.parts import Parts, seconds


@pytest.mark.parametrize("busy", [0.0, 0.3, 0.5])
def test_times_are_those_of_a_quiet_machine(busy: float) -> None:
    """A neighbour comes and goes: it slows the small model down more than the reference."""
    rng, parts = np.random.default_rng(0), Parts[str]()
    for _ in range(9):
        reference, own = np.where(rng.random(2) < busy, (1.3, 1.6), (1.0, 1.0)) * (1 + 0.01 * rng.random(2))
        parts.units.append(0.010 * reference)
        parts.walls.append(0.002 * own)
        parts.spent.append({"in": 0.0005 * own, "out": 0.0012 * own})
    found, rest = parts.in_units()
    assert found == pytest.approx({"in": 0.05, "out": 0.12}, rel=0.02)
    assert rest == pytest.approx(0.03, rel=0.02)


def test_means_are_shares_of_an_undisturbed_run() -> None:
    parts = Parts[str]([0.010, 0.013, 0.010], [0.002, 0.004, 0.003])
    found, rest = parts.shared_out({"in": 0.0006, "out": 0.0015}, wall=0.003)
    assert found == pytest.approx({"in": 0.04, "out": 0.1}) and rest == pytest.approx(0.06)


def test_a_part_that_did_not_run_takes_no_time() -> None:
    parts = Parts[str]([1.0] * 3, [0.5] * 3, [{"a": 0.2, "b": 0.2}, {"a": 0.2}, {"a": 0.2}])
    assert parts.in_units()[0] == {"a": 0.2, "b": 0.2}
    parts = Parts[str]([1.0] * 3, [0.6, 0.5, 0.6], [{"a": 0.2, "b": 0.2}, {"a": 0.4}, {"a": 0.2, "b": 0.2}])
    assert parts.in_units() == ({"a": 0.4, "b": 0.0}, pytest.approx(0.1))


def test_seconds_are_those_of_the_work() -> None:
    assert 0 <= seconds(lambda: None) < 0.1
