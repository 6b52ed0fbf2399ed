"""The Pareto front: points that no other point beats in every objective."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import moocore
import numpy as np
import numpy.typing as npt
from slimfront.search.binding import bindings
from slimfront.search.box import Box
from slimfront.search.picking import choose, weigh
from slimfront.search.rivals import rivals
from slimfront.spaces.configuration import Configuration
from slimfront.studies.errors import NoFeasiblePoint, StudyError
from slimfront.studies.limits import Limit, parse_where, readable

if TYPE_CHECKING:
    import pandas

Json = dict[str, Any]
Values = Mapping[str, float]


@dataclass(frozen=True)
class Point:
    """One complete trial.

    Attributes:
        trial: Its number.
        values: Value by objective.
        intervals: 95 % interval by objective, where there is one.
        configuration: What was tried.
        kind: How it came about.
        feasible: Whether the study's constraints are kept.
        held_out: Value on the held-out split by objective.
        changes: How the held-out value differs from the dense model's, paired, by objective: ``value``, ``interval``
            and the ``p`` of McNemar's test.
        final: Measurements of a last tournament of the front by objective: ``value`` and ``interval``.
        noisy: Objectives whose interval is wider than it should be, for the machine was not quiet.
        conditions: What bore on a measurement, by objective: load, cores, threads, rounds and the like.
        percentiles: Of the single runs behind a measurement, by objective, where there were enough of them.
        information: Parameters, and multiply-adds of the weight matrices for each token: counted, not measured.
        right: Whether each sentence of the held-out split was judged rightly, packed; empty where that is not known.
        run: The run folder, from which it can be exported.
        target: The runtime to which it was moved, or None.

    Raises:
        ValueError: a value is not finite.
    """

    trial: int
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    configuration: Configuration
    kind: str = "sampled"
    feasible: bool = True
    held_out: Mapping[str, float] = field(default_factory=dict)
    changes: Mapping[str, Json] = field(default_factory=dict)
    final: Mapping[str, Json] = field(default_factory=dict)
    noisy: tuple[str, ...] = ()
    conditions: Mapping[str, Json] = field(default_factory=dict)
    percentiles: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    information: Mapping[str, int] = field(default_factory=dict)
    right: str = ""
    run: Path | None = None
    target: str | None = None

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in self.values.values()):
            raise ValueError(f"trial {self.trial} has a value that is not finite: {dict(self.values)}")

    def settled(self, names: Collection[str]) -> Point:
        """Return the point with what the last tournament measured of some objectives in place of its trial's."""
        known = {name: entry for name, entry in self.final.items() if name in names}
        return replace(
            self,
            values={**self.values, **{name: float(entry["value"]) for name, entry in known.items()}},
            intervals={**self.intervals, **{name: tuple(entry["interval"]) for name, entry in known.items()}},
            noisy=(
                *(name for name in self.noisy if name not in known),
                *(name for name, entry in known.items() if entry.get("noisy")),
            ),
            final={name: entry for name, entry in self.final.items() if name not in known},
        )

    def to_json(self) -> Json:
        """Return the point in the form of ``inspect --json``."""
        found: Json = {"trial": self.trial, **self.values}
        found["intervals"] = {name: list(pair) for name, pair in self.intervals.items()}
        found["held_out"] = dict(self.held_out)
        found["changes"] = dict(self.changes)
        found["final"] = dict(self.final)
        found["noisy"] = list(self.noisy)
        found["conditions"] = dict(self.conditions)
        found["percentiles"] = dict(self.percentiles)
        found["information"] = dict(self.information)
        found["configuration"] = dict(self.configuration)
        return found

    def export(self, out: str | Path, to: str | None = None, examples: bool = True) -> Path:
        """Write the deployable model of this point into ``out``; see :func:`slimfront.search.export.export`."""
        from slimfront.search.export import export

        if self.run is None:
            raise StudyError("this point belongs to no run folder", where="point")
        return export(self.run, self.trial, Path(out), to, examples, self.target)


@dataclass(frozen=True)
class Front:
    """The front of a run, with the dense model as reference.

    Attributes:
        objectives: Unit and direction by objective.
        dense: The dense model's point.
        points: Feasible, mutually non-dominated points by ascending first objective.
        everything: All complete points, duplicates left out.
        limits: The study's constraints by objective.
    """

    objectives: Mapping[str, Json]
    dense: Point
    points: tuple[Point, ...]
    everything: tuple[Point, ...]
    limits: Mapping[str, Limit] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        objectives: Mapping[str, Json],
        dense: Point,
        everything: Sequence[Point],
        limits: Mapping[str, Limit] | None = None,
    ) -> Front:
        """Build the front of some points."""
        feasible = [point for point in everything if point.feasible]
        kept = [feasible[i] for i in non_dominated(losses(objectives, feasible))]
        first = next(iter(objectives))
        return cls(
            objectives,
            dense,
            tuple(sorted(kept, key=lambda p: (p.values[first], p.trial))),
            tuple(everything),
            limits or {},
        )

    @property
    def units(self) -> dict[str, str]:
        """Unit by objective."""
        return {name: str(entry["unit"]) for name, entry in self.objectives.items()}

    @property
    def rematched(self) -> list[str]:
        """The objectives that a last tournament measured of all the points."""
        apart = [set(point.final) for point in self.points if point.trial != self.dense.trial]
        return sorted(set.intersection(*apart)) if apart else []

    @cached_property
    def settled(self) -> Front:
        """The front as it is judged: with what the last tournament measured, where all its points took part in it.

        Its points are in the same order, and other trials stay as the search measured them.
        """
        names = self.rematched
        chosen = {point.trial for point in self.points} - {self.dense.trial}

        def judged(points: tuple[Point, ...]) -> tuple[Point, ...]:
            return tuple(point.settled(names) if point.trial in chosen else point for point in points)

        return replace(self, points=judged(self.points), everything=judged(self.everything))

    def where(self, filters: Sequence[str]) -> tuple[Point, ...]:
        """Return the front's points that pass all filters, such as ``size <= 20MB``.

        Latencies are those of the last tournament, where all points took part in it: others were measured apart.

        Raises:
            StudyError: a filter is malformed.
            NoFeasiblePoint: none passes; how far each budget is out of reach is told, and the nearest are named.
        """
        limits = [parse_where(text, self.units) for text in filters]
        both = zip(self.points, self.settled.points, strict=True)
        passing = tuple(p for p, known in both if all(_broken(limit, known, self.dense) <= 0 for limit in limits))
        if not passing:
            budgets = limits if self.points else [*self.limits.values(), *limits]
            candidates = self.settled.points or self.everything
            bound = bindings(budgets, candidates, self.dense.values) if candidates else []
            raise NoFeasiblePoint(
                "no point of the front passes these filters" if self.points else "no trial keeps the constraints",
                given="; ".join(filters) or None,
                details=[binding.tell(self.units) for binding in bound],
                allowed=f"nearest: {self.nearest(budgets)}",
                hint="relax the filter or the study's constraints, or search longer",
            )
        return passing

    def nearest(self, limits: Sequence[Limit], count: int = 3) -> str:
        """Describe the points that break the limits least, relative to the dense model's values."""
        candidates = self.settled.points or self.everything

        def excess(point: Point) -> float:
            scale = {name: max(abs(value), 1e-12) for name, value in self.dense.values.items()}
            return sum(max(0.0, _broken(limit, point, self.dense)) / scale[limit.objective] for limit in limits)

        chosen = sorted(candidates, key=lambda point: (excess(point), point.trial))[:count]
        return "; ".join(f"trial {p.trial} ({describe(p, self.units)})" for p in chosen) or "none yet"

    def pick(
        self,
        how: str | None = None,
        where: str | Sequence[str] = (),
        weights: Mapping[str, float] | None = None,
    ) -> Point:
        """Return one point, the knee where nothing else is asked for.

        Args:
            how: ``knee``, ``balanced``, ``smallest``, ``fastest`` or ``most-accurate``. The knee is the point closest
                to the best value of every objective, each scaled to 0 … 1 over the points that pass. Balanced is the
                point with the largest product of gains, in which all objectives weigh alike; see
                :mod:`slimfront.search.picking`. Of points alike in the wanted objective the closest one is picked.
            where: One filter or several.
            weights: How much each objective counts, in place of ``how``: the point with the largest weighted sum of
                gains, each on a logarithmic scale from 0 for the worst point that passes to 1 for the best.

        Raises:
            StudyError: there is no such way to pick, or a filter or a weight is malformed.
            NoFeasiblePoint: no point passes.
        """
        if how is not None and weights is not None:
            raise StudyError(
                "choose a way to pick or weights", where="--pick, --weights", given=how, hint="leave one out"
            )
        points = self.where([where] if isinstance(where, str) else list(where))
        known = {point.trial: point for point in self.settled.points}
        values = losses(self.objectives, [known[point.trial] for point in points])
        row = (
            choose(how or "knee", self.objectives, values)
            if weights is None
            else weigh(weights, self.objectives, values)
        )
        return points[row]

    def optimism(self) -> float | None:
        """Return by how much more accurate the front seems on the search split than on the held-out one.

        The mean of what its points lose between the splits beyond what the dense model loses; None where that is not
        known.
        """
        name = "accuracy"
        known = [point for point in self.points if name in point.held_out and point.trial != self.dense.trial]
        if not known or name not in self.dense.held_out:
            return None
        lost = [point.values[name] - point.held_out[name] for point in known]
        return float(np.mean(lost)) - (self.dense.values[name] - self.dense.held_out[name])

    def rivals(self) -> dict[int, int]:
        """Return for some points another one that may beat it; see :mod:`slimfront.search.rivals`."""
        return rivals(self.objectives, self.points)

    def hypervolume(self) -> float:
        """Return the share of the box between the dense model and the ideal that the front dominates.

        See :class:`slimfront.search.box.Box`.
        """
        return Box.of(self.objectives, self.dense.values, self.limits).hypervolume([p.values for p in self.points])

    def frame(self, everything: bool = False) -> pandas.DataFrame:
        """Return the points as a pandas frame by trial, with the columns of ``inspect --csv``.

        Args:
            everything: All complete trials, not only the front's.
        """
        import pandas
        from slimfront.search.inspect.data import rows

        points = self.everything if everything else self.points
        return pandas.DataFrame(rows(self, points)).set_index("trial") if points else pandas.DataFrame()

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table and a picture."""
        from slimfront.search.inspect.notebook import as_html

        return as_html(self)


def _broken(limit: Limit, point: Point, dense: Point) -> float:
    return limit.violation(point.values[limit.objective], dense.values)


def losses_of(objectives: Mapping[str, Json], points: Sequence[Values]) -> npt.NDArray[np.float64]:
    """Return ``(points, objectives)`` with every objective to be minimized."""
    signs = [1 if entry["direction"] == "minimize" else -1 for entry in objectives.values()]
    rows = [[sign * point[name] for name, sign in zip(objectives, signs, strict=True)] for point in points]
    return np.array(rows, dtype=np.float64).reshape(len(points), len(signs))


def losses(objectives: Mapping[str, Json], points: Sequence[Point]) -> npt.NDArray[np.float64]:
    """Return ``(points, objectives)`` with every objective to be minimized."""
    return losses_of(objectives, [point.values for point in points])


def non_dominated(values: npt.NDArray[np.float64]) -> list[int]:
    """Return the rows that no other row beats: ``(points, objectives)``, all minimized. Equal rows keep the first."""
    if not len(values):
        return []
    return [int(i) for i in np.flatnonzero(moocore.is_nondominated(values, keep_weakly=False))]


def describe(point: Point, units: Mapping[str, str]) -> str:
    """Return a point's values in readable units."""
    return ", ".join(f"{name} {readable(value, units[name])}" for name, value in point.values.items())
