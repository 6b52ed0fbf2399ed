"""What every sampler must keep."""

from __future__ import annotations

import pytest
from slimfront.search.samplers import SAMPLERS, Observation
from slimfront.spaces.domain import Domain

DOMAINS = {f"bits/{i}": Domain((8, 4, 2)) for i in range(4)} | {"precision/inference": Domain(("f32", "bf16"))}
DIRECTIONS = ("minimize", "minimize", "maximize")


def observe(values: dict[str, object]) -> Observation:
    size = float(sum(value for value in values.values() if isinstance(value, int)))
    return Observation(values, (size, size / 2, size**0.5), {"accuracy": 4 - size**0.5})  # type: ignore[arg-type]


def history(name: str, count: int) -> list[Observation]:
    seen: list[Observation] = []
    for number in range(count):
        seen.append(observe(dict(SAMPLERS.get(name, where="x")().suggest(DOMAINS, DIRECTIONS, seen, number))))
    return seen


@pytest.mark.parametrize("name", SAMPLERS.names())
def test_suggestions_lie_in_the_domains_and_repeat(name: str) -> None:
    seen = history(name, 14)
    assert all(seen_one.values[key] in DOMAINS[key].values for seen_one in seen for key in DOMAINS)
    sampler = SAMPLERS.get(name, where="x")
    again = [sampler().suggest(DOMAINS, DIRECTIONS, seen, 99) for _ in range(2)]
    assert again[0] == again[1] and set(again[0]) == set(DOMAINS)
    others = {tuple(sampler().suggest(DOMAINS, DIRECTIONS, [], seed).values()) for seed in range(6)}
    assert len(others) > 1


def test_genetic_samplers_leave_the_first_generation() -> None:
    """With a history of small values only, offspring must be small too: they come from parents, not at random."""
    small = [observe({**{f"bits/{i}": 2 for i in range(4)}, "precision/inference": "f32"}) for _ in range(60)]
    for name in ("nsga2", "nsga3"):
        found = [SAMPLERS.get(name, where="x")().suggest(DOMAINS, DIRECTIONS, small, seed) for seed in range(20)]
        share = sum(values[f"bits/{i}"] == 2 for values in found for i in range(4)) / 80
        assert share > 0.6, (name, share)
