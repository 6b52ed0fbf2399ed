"""How far each budget is out of a front's reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimfront.studies.limits import Limit, readable

if TYPE_CHECKING:
    from slimfront.search.front import Point


@dataclass(frozen=True)
class Binding:
    """How one budget binds.

    Attributes:
        limit: The budget.
        bound: What it asks for, in the objective's unit.
        alone: The point that is best in its objective.
        kept: The best one of those that keep all other budgets, or None where none does.
    """

    limit: Limit
    bound: float
    alone: Point
    kept: Point | None

    def tell(self, units: Mapping[str, str]) -> str:
        """Return in words what is reached, and by how much that is too much or too little."""
        text = f"{self.limit.objective} {self.limit.text}: the front reaches {self._reached(self.alone, units)}"
        if self.kept is None:
            return f"{text}; no point keeps the others"
        return text if self.kept is self.alone else f"{text}; with the others kept {self._reached(self.kept, units)}"

    def _reached(self, point: Point, units: Mapping[str, str]) -> str:
        unit, value = units[self.limit.objective], point.values[self.limit.objective]
        short = value - self.bound if self.limit.upper else self.bound - value
        text = f"{readable(value, unit)} (trial {point.trial}"
        return (
            f"{text}, {readable(short, unit)} too {'much' if self.limit.upper else 'little'})"
            if short > 0
            else f"{text})"
        )


def bindings(limits: Sequence[Limit], points: Sequence[Point], dense: Mapping[str, float]) -> list[Binding]:
    """Return how each of several budgets binds on some points.

    Args:
        limits: The budgets.
        points: At least one point.
        dense: The dense model's values.
    """

    def best(limit: Limit, among: Sequence[Point]) -> Point:
        return min(among, key=lambda point: (limit.violation(point.values[limit.objective], dense), point.trial))

    found = []
    for limit in limits:
        others = [other for other in limits if other is not limit]
        kept = [p for p in points if all(o.violation(p.values[o.objective], dense) <= 0 for o in others)]
        found.append(Binding(limit, limit.bound(dense), best(limit, points), best(limit, kept) if kept else None))
    return found
