"""Profiles of layers on a machine that others use as well."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from slimfront.search.prediction.timing import ROUNDS, Bench, _agree, _closest

pytestmark = pytest.mark.usefixtures("unhurried")
DESIGNS: list[Any] = [(f"design {number}", "f32") for number in range(4)]


def profiled(monkeypatch: pytest.MonkeyPatch, busy: Callable[[int], bool]) -> tuple[set[float], int, list[float]]:
    """Profile some designs on a machine with a neighbour, who is there at some ticks: a look and a profile take one.

    Returns:
        Times of the one part that there is, which takes one run of the dense model; profiles; the progress.
    """
    ticks, profiles, shares = [0], [0], list[float]()

    def tick(*_: object) -> bool:
        ticks[0] += 1
        return busy(ticks[0])

    def profile(*_: object) -> dict[str, float]:
        profiles[0] += 1
        return {"": 1.6 if tick() else 1.0}

    rest = "slimfront.objectives.rest"
    monkeypatch.setattr(f"{rest}._look", lambda _run: 13.0 if tick() else 10.0)
    monkeypatch.setattr(f"{rest}.time", SimpleNamespace(monotonic=lambda: float(ticks[0]), sleep=tick))
    monkeypatch.setattr(Bench, "_designs", lambda _self: iter(DESIGNS))
    monkeypatch.setattr(Bench, "_session", lambda *_: SimpleNamespace(run=lambda _request: None))
    space: Any = SimpleNamespace(dense=lambda: None)
    runtime: Any = None
    blueprint: Any = SimpleNamespace(profile=profile)
    compress: Any = lambda _configuration: None  # noqa: E731
    bench = Bench(space, {}, runtime, blueprint, compress, (), {}, {}, {})
    found = bench._profiles(lambda _text, share: shares.append(share))
    assert list(found) == DESIGNS
    return {parts[""] for parts in found.values()}, profiles[0], shares


def test_two_rounds_are_enough_on_a_quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    times, profiles, shares = profiled(monkeypatch, lambda _tick: False)
    assert times == {1.0} and profiles == 2 * len(DESIGNS)
    assert shares == sorted(shares) and shares[-1] == 1.0


@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_what_was_disturbed_does_not_count(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    """Whenever the neighbour comes and goes, also before anything is known of the machine at rest."""
    times, profiles, _ = profiled(monkeypatch, lambda tick: first <= tick % 16 < first + 6 or tick < 5)
    assert times == {1.0} and profiles > 2 * len(DESIGNS)


def test_a_machine_that_never_rests_again_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    times, profiles, shares = profiled(monkeypatch, lambda tick: tick > 1)
    assert times == {1.6} and profiles == ROUNDS * len(DESIGNS) and shares[-1] == 1.0


@pytest.mark.parametrize(
    ("sums", "two", "agree"),
    [
        ((1.3, 1.31, 1.0, 1.02), (1.0, 1.02), True),
        ((1.0, 1.3, 1.32), (1.3, 1.32), True),
        ((1.0, 1.1), (1.0, 1.1), False),
    ],
)
def test_the_shortest_profiles_that_agree_count(sums: tuple[float, ...], two: tuple[float, float], agree: bool) -> None:
    profiles = [{"a": 0.25 * one, "b": 0.75 * one} for one in sums]
    assert tuple(sum(profile.values()) for profile in _closest(profiles)) == pytest.approx(two)
    assert _agree(profiles) is agree and not _agree(profiles[:1])
