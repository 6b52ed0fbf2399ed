"""The last tournament: what disturbs the machine must not change what it finds."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from threading import get_ident
from typing import Any

import numpy as np
import pytest
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.stopwatch import across
from slimfront.search.occasion import Entrant, Occasion, _labels, _loaded, occasion
from slimfront.search.tournament import HEAT, LONG, MORE, OCCASIONS, Effort, alone, known_rest, latencies, tournament
from slimfront.search.trial import Trial
from slimfront.spaces.configuration import Configuration
from slimfront.studies.errors import SlimfrontError


def told(times: Any, tokens: int = 1, waited: float = 0.0) -> dict[str, Any]:
    rows = np.array(times, dtype=np.float64)
    asked = [[8] * tokens] * len(rows)
    return {
        "times": rows.tolist(),
        "tokens": asked,
        "conditions": {"load": 0.5, "rounds": rows.shape[1], "waited": waited},
    }


def test_heats_go_on_until_the_machine_was_at_rest_often_enough() -> None:
    entrants, rests = list(range(HEAT + 3)), list[float]()
    dense = iter([9.0, 13.0, 12.0, 9.5, 9.2, 12.5, 9.1, 9.3, 12.4])

    def ask(heat: Sequence[int], rest: float, _patience: float) -> dict[str, Any]:
        rests.append(rest)
        return told([[next(dense)] * 4, *([[float(one + 1)] * 4 for one in heat])])

    shares: list[float] = []
    (first, few), (second, more) = tournament(entrants, ask, Effort(3, 60.0), shares.append)
    assert [*first, *second] == entrants and len(first) == HEAT
    # The first heat met 9, 12, 9.2 and 9.1 ms, the second one 13, 9.5, 12.5, 9.3 and 12.4.
    assert rests == [math.inf, *[9.0] * 8]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert sorted(one.rest for one in few) == [9.0, 9.1, 9.2]
    assert sorted(one.rest for one in more) == [9.3, 9.5, 12.4]


def test_a_machine_that_never_rests_ends_the_tournament_all_the_same() -> None:
    asked: list[tuple[float, float]] = []

    def ask(_heat: Sequence[int], rest: float, patience: float) -> dict[str, Any]:
        asked.append((rest, patience))
        return told([[20.0 + len(asked)], [1.0]], waited=patience)

    ((_, found),) = tournament([1], ask, Effort(3, 35.0), rest=10.0)
    assert asked == [(10.0, 15.0), (10.0, 15.0), (10.0, 5.0)]
    asked.clear()
    ((_, found),) = tournament([1], ask, Effort(3, 100.0), rest=10.0)
    assert asked == [(10.0, 15.0)] * (3 + MORE) and [one.rest for one in found] == [21.0, 22.0, 23.0]


def test_a_further_process_is_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, clock = list[float](), [0.0]

    def ask(_heat: Sequence[int], _rest: float, patience: float) -> dict[str, Any]:
        asked.append(patience)
        clock[0] += 8.0
        return told([[20.0], [1.0]])

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    tournament([1], ask, Effort(1, 7.0), rest=10.0)
    assert asked == [7.0]
    asked.clear()
    tournament([1], ask, Effort(1, 17.0), rest=10.0)
    assert asked == [15.0, 9.0, 1.0]


def test_a_neighbour_of_the_core_changes_no_ratio() -> None:
    rng = np.random.default_rng(0)

    def met(busy: float) -> Occasion:
        # Beside a neighbour the dense model takes 1.3 times as long, the other one twice.
        slow = rng.random(80) < busy
        noise = np.exp(rng.normal(0, 0.02, (2, 80)))
        return Occasion.of(told([8 * np.where(slow, 1.3, 1.0) * noise[0], 3 * np.where(slow, 2.0, 1.0) * noise[1]]))

    quiet, busy = ([met(share) for _ in range(OCCASIONS)] for share in (0.0, 0.6))
    (one,), (other,) = latencies(quiet, 8.0), latencies(busy, 8.0)
    assert one.value == pytest.approx(3.0, rel=0.02) and other.value == pytest.approx(3.0, rel=0.02)
    assert one.interval is not None and one.interval[0] < one.value < one.interval[1]
    medians = [np.median(found.times[1]) / np.median(found.times[0]) for found in busy]
    assert np.mean(medians) > 1.3 * 3 / 8
    assert alone(busy).value == pytest.approx(8.0, rel=0.05)
    assert one.conditions["occasions"] == OCCASIONS and one.conditions["rounds"] == 80 * OCCASIONS
    assert set(one.percentiles) == {"p90"}
    (mixed,) = latencies([Occasion.of(told([[1, 2], [3, 4]], 2))] * 3, 8.0)
    assert not mixed.percentiles


@pytest.mark.parametrize("count", [1, 8])
def test_the_interval_holds_what_other_occasions_find(count: int) -> None:
    rng, inside = np.random.default_rng(1), []
    for _ in range(1600 // count):
        # Each occasion has an effect of its own on each model, and on the one that all are compared with.
        first, second = (np.exp(rng.normal(0, 0.02, (OCCASIONS, count + 1))) for _ in range(2))
        pairs = zip(across(first), across(second), strict=True)
        inside += [found.low <= again.value <= found.high for found, again in pairs]
    assert 0.93 < np.mean(inside) < 0.99


def test_a_process_that_fails_is_named(tmp_path: Path) -> None:
    request = ({"input_ids": np.ones((1, 4), dtype=np.int64)},)
    with pytest.raises(SlimfrontError, match=r"manifest\.json") as caught:
        occasion([Entrant(tmp_path / "nowhere", request)], math.inf, 0.0, 0.1, 1)
    assert "nowhere" in str(caught.value) and caught.value.exit_code == 4


@pytest.mark.parametrize(("runtime", "beside"), [("pytorch", False), ("openvino", True)])
def test_only_what_can_be_is_loaded_side_by_side(runtime: str, beside: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's loader replaces a method of all modules meanwhile: another thread's weights would be lost."""
    threads = set[int]()
    monkeypatch.setattr("slimfront.search.occasion.load", lambda artifact: threads.add(get_ident()) or artifact)
    artifacts = [Artifact(Path(str(number)), {}, runtime, {}) for number in range(5)]
    assert _loaded(artifacts) == artifacts
    assert (get_ident() not in threads) == beside


def test_answers_that_are_not_finite_are_no_label() -> None:
    assert _labels(np.array([[0.1, 0.2], [np.nan, 1.0], [3.0, 1.0], [np.inf, 0.0]], dtype=np.float32)) == [1, -1, 0, -1]


def test_a_short_search_is_worth_one_process() -> None:
    def after(seconds: float, own: Sequence[int] = ()) -> Effort:
        told = {"cpu": {"total": seconds, "session": 0.6, "latency": 1.4}}
        trial = Trial(0, "complete", Configuration({}), "dense", 0, {}, {}, {}, None, None, 1, told)
        return Effort.after([trial], OCCASIONS, own)

    # Three times two seconds are spent on the timing itself.
    assert after(400.0, [0]) == Effort(OCCASIONS, pytest.approx(20.0 - 6.0))
    assert after(10.0, [0]).patience == 0

    assert after(LONG) == Effort(OCCASIONS, pytest.approx(0.05 * LONG)) and after(10.0) == Effort(1, 0.5)
    assert [after(seconds).rounds() for seconds in (LONG, 10.0)] == [7, 20] and after(LONG).rounds(1000) == 334
    rng = np.random.default_rng(2)
    only = [Occasion.of(told(np.array([[8.0], [3.0]]) * np.exp(rng.normal(0, 0.02, (2, 40)))))]
    (found,) = latencies(only, 8.0)
    assert found.value == pytest.approx(3.0, rel=0.02) and alone(only).value == pytest.approx(8.0, rel=0.02)
    assert found.interval is not None and found.interval[0] < found.value < found.interval[1]


def test_rest_is_what_the_least_disturbed_trials_found() -> None:
    def trial(dense: float | None) -> Trial:
        found = {"latency": {"conditions": {} if dense is None else {"dense": dense}}}
        return Trial(0, "complete", Configuration({}), "sampled", 0, found, {}, {}, None, None, 1)

    times = [9.0, None, *[12.0] * 8, 8.0, 9.0]
    assert 8.0 < known_rest([trial(dense) for dense in times]) <= 9.0
    assert known_rest([trial(None)]) == known_rest([]) == math.inf


def test_what_no_process_found_at_rest_is_noisy() -> None:
    quiet, loud = told([[8.0] * 9, [3.0] * 9], waited=1.0), told([[8.0] * 9, [3.0] * 9], waited=2.0)
    loud["conditions"]["disturbed"] = True
    for entries, noisy in (([quiet] * 3, False), ([quiet, quiet, loud], True)):
        (found,) = latencies([Occasion.of(entry) for entry in entries], 8.0)
        assert found.noisy is noisy and found.conditions["waited"] == (4.0 if noisy else 3.0)
