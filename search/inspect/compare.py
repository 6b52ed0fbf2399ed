"""Compares two points: of one run, or of two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slimfront.objectives import paired
from slimfront.search.front import Front, Point
from slimfront.search.inspect.documents import Compared
from slimfront.search.picking import PICKS
from slimfront.search.rebuild import recorded
from slimfront.search.rivals import PAIRED, unpacked
from slimfront.search.run import Run
from slimfront.spaces.axes.depth import removed_blocks
from slimfront.spaces.domain import Value
from slimfront.studies.errors import StudyError, nearest

Json = dict[str, Any]
DENSE = "dense"
OPTION = "--compare"


@dataclass(frozen=True)
class Side:
    """One of the two points.

    Attributes:
        run: Its run.
        front: The run's front.
        point: The point.
    """

    run: Run
    front: Front
    point: Point

    def layer(self, parameter: str) -> Value | None:
        """Return the value of a parameter, or None where the point has no such layer."""
        axis, _, place = parameter.partition("/")
        gone = axis != "depth" and any(f"{place}.".startswith(f"{name}.") for name in self._removed)
        return None if gone else self.point.configuration.get(parameter)

    @property
    def _removed(self) -> set[str]:
        return removed_blocks(self.point.configuration)


def require_picks(names: Sequence[str], where: Sequence[str]) -> None:
    """Refuse filters where nothing is picked.

    Raises:
        StudyError: there are some.
    """
    if where and not any(name.rpartition(":")[2] in PICKS for name in names):
        raise StudyError(
            "filters narrow what is picked, and these points are named",
            where="--where",
            given=", ".join(where),
            allowed=f"beside one of {', '.join(PICKS)}",
            hint="leave --where out",
        )


def find(text: str, run: Run, where: Sequence[str] = ()) -> Side:
    """Return the point that a text names.

    Args:
        text: A trial's number, ``dense``, or a way to pick; before it may stand another run's folder and a colon.
        run: The run, where the text names none.
        where: Filters for what is picked.

    Raises:
        StudyError: there is no such run or point.
        NoFeasiblePoint: no point passes the filters.
    """
    folder, _, name = text.rpartition(":")
    run = Run.open(folder) if folder else run
    front = run.front()
    if name.isascii() and name.isdigit():
        trial = recorded(run, int(name), OPTION)
        number = trial.number if trial.cached_from is None else trial.cached_from
        return Side(run, front, next(point for point in front.everything if point.trial == number))
    if name == DENSE:
        return Side(run, front, front.dense)
    if name not in PICKS:
        near = nearest(name, (DENSE, *PICKS))
        raise StudyError(
            "this names no point",
            where=OPTION,
            given=text,
            allowed=f"a trial's number, {DENSE}, {', '.join(PICKS)}; or RUN: and one of these",
            hint=f"did you mean {near!r}?" if near else "choose a trial with 'slimfront inspect'",
        )
    return Side(run, front, front.pick(name, where))


def compare(one: Side, other: Side) -> Compared:
    """Return how the second point differs from the first, number by number and layer by layer."""
    both = (one, other)
    names = dict.fromkeys([*one.point.configuration, *other.point.configuration])
    values = {name: (one.layer(name), other.layer(name)) for name in names}
    return Compared.model_validate(
        {
            "schema_version": 1,
            "compared": [_side(side) for side in both],
            "quantities": list(_quantities(both)),
            "differences": [{"parameter": name, "values": pair} for name, pair in values.items() if pair[0] != pair[1]],
            "alike": [name for name, pair in values.items() if pair[0] == pair[1]],
        }
    )


def _side(side: Side) -> Json:
    return {
        "run": str(side.run.folder),
        "study": side.run.study.name,
        "target": side.run.study.target.runtime,
        "trial": side.point.trial,
        "kind": side.point.kind,
        "configuration": dict(side.point.configuration),
    }


def _quantities(both: tuple[Side, Side]) -> Iterator[Json]:
    one, other = (side.point for side in both)
    units = {**both[1].front.units, **both[0].front.units}
    for name, unit in units.items():
        parts = [
            {"value": p.values[name], "interval": p.intervals.get(name)} if name in p.values else {}
            for p in (one, other)
        ]
        noisy = (name in one.noisy, name in other.noisy)
        yield _quantity(name, "search", unit, parts, noisy)
    for name in dict.fromkeys([*one.held_out, *other.held_out]):
        parts = [{"value": p.held_out.get(name)} for p in (one, other)]
        yield {**_quantity(name, "held_out", units[name], parts), "paired": _paired(both) if name == PAIRED else None}
    for name in dict.fromkeys([*one.final, *other.final]):
        parts = [p.final.get(name, {}) for p in (one, other)]
        noisy = (bool(parts[0].get("noisy")), bool(parts[1].get("noisy")))
        yield _quantity(name, "final", units[name], parts, noisy)
    for name in dict.fromkeys([*one.information, *other.information]):
        parts = [{"value": p.information.get(name)} for p in (one, other)]
        yield _quantity(name, "counted", "", parts)


def _quantity(
    name: str, measured: str, unit: str, parts: Sequence[Mapping[str, Any]], noisy: tuple[bool, bool] = (False, False)
) -> Json:
    before, after = (part.get("value") for part in parts)
    change = None if before is None or after is None else after - before
    return {
        "name": name,
        "measured": measured,
        "unit": unit,
        "values": (before, after),
        "intervals": [part.get("interval") for part in parts],
        "noisy": noisy,
        "change": change,
        "ratio": after / before if change is not None and before else None,
        "paired": None,
    }


def _paired(both: tuple[Side, Side]) -> Json | None:
    """Return the change on the held-out sentences, where both points judged the same ones."""
    one, other = both
    rights = [side.point.right for side in both]
    if not all(rights) or one.run.study.data != other.run.study.data:
        return None
    before, after = map(unpacked, rights)
    return paired.change(before, after).to_json() if before.shape == after.shape else None
