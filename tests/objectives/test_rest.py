"""What is timed on a machine that others use as well."""

from __future__ import annotations

import math

import numpy as np
import pytest
from slimfront.objectives.rest import AT_REST, MEMORY, PATIENCE, POLL, Rest, at_rest
from slimfront.objectives.stopwatch import undisturbed


def told(monkeypatch: pytest.MonkeyPatch, looks: list[float], found: list[float]) -> list[float]:
    """Let looks and measurements find so many milliseconds; return how long was waited, as far as it came."""
    slept: list[float] = []
    seen, measured = iter(looks), iter(found)
    monkeypatch.setattr("slimfront.objectives.rest.time.sleep", slept.append)
    monkeypatch.setattr("slimfront.objectives.rest.time.monotonic", lambda: sum(slept))
    monkeypatch.setattr("slimfront.objectives.rest._look", lambda _run: next(seen))
    monkeypatch.setattr(
        "slimfront.objectives.rest.compared", lambda *_rest: (np.array([[next(measured)], [3.0]]), {"load": 0.0})
    )
    return slept


def test_a_measurement_waits_for_rest_and_is_repeated_where_it_was_disturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = told(monkeypatch, [15.0, 14.0, 9.1, 9.0], [14.0, 9.5, 1.0])
    times, around = at_rest([lambda: None, lambda: None], 1, rest=9.0, patience=5.0)
    assert undisturbed(times[0]) == 9.5 < AT_REST * 9.0 and len(slept) == 2
    assert around == {"load": 0.0, "waited": sum(slept)} and sum(slept) > 0


def test_patience_has_an_end_and_the_least_disturbed_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = told(monkeypatch, [15.0, 9.0, *[15.0] * 9], [13.0, 14.0, 1.0])
    times, around = at_rest([lambda: None, lambda: None], 1, rest=9.0, patience=2.0)
    assert undisturbed(times[0]) == 13.0 and sum(slept) >= 2.0
    assert around["disturbed"]


def test_rest_is_waited_for_as_long_as_patience_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = told(monkeypatch, [9.0, 14.0, 10.0, *[14.0] * 30], [])
    rest = Rest(share=0.1)
    rest.come(lambda: None)
    assert rest.level == 9.0 and not slept
    slept.append(10.0)
    rest.come(lambda: None)
    assert slept == [10.0, POLL]
    rest.come(lambda: None)
    # A tenth of the time, of which some was waited before.
    assert 1.0 <= sum(slept) - 10.0 < 1.0 + 2 * POLL
    slept.append(600.0)
    before = sum(slept)
    rest.come(lambda: None)
    assert PATIENCE <= sum(slept) - before < PATIENCE + POLL


def test_what_was_at_rest_is_told_by_all_that_is_known_by_now(monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, [14.0, 9.0, *[14.0] * (2 * MEMORY)], [])
    rest = Rest(memory=None)
    assert rest.look(lambda: None) == 14.0 and rest.was(14.0)
    for _ in range(2 * MEMORY + 1):
        rest.look(lambda: None)
    assert rest.level == 9.0 and rest.was(9.0 * AT_REST) and not rest.was(14.0)


def test_nothing_is_waited_for_where_rest_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = told(monkeypatch, [], [14.0])
    times, around = at_rest([lambda: None, lambda: None], 1, rest=math.inf, patience=5.0)
    assert undisturbed(times[0]) == 14.0 and not slept and "disturbed" not in around


def test_a_machine_that_became_slower_for_good_has_a_rest_of_its_own() -> None:
    rest = Rest()
    assert rest.level == math.inf
    for milliseconds in (9.0, 10.0, 12.0):
        rest.saw(milliseconds, 0.0)
    assert rest.level == 9.0
    for _ in range(MEMORY):
        rest.saw(12.0, 0.0)
    assert rest.level == 12.0


def test_waiting_takes_a_tenth_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("slimfront.objectives.rest.time.monotonic", lambda: now[0])
    rest = Rest()
    assert rest.patience == 0.0
    now[0] += 8.0
    assert rest.patience == pytest.approx(0.8)
    rest.saw(9.0, 0.7)
    assert rest.patience == pytest.approx(0.1)
    now[0] += 600.0
    assert rest.patience == PATIENCE
