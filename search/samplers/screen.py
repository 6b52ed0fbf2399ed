"""Which of many candidates is likely to enlarge the front most, before any is built."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from slimfront.search.box import volume
from slimfront.search.front import non_dominated
from slimfront.search.prediction.correction import Correction, Seen
from slimfront.search.prediction.tables import Floats, Ints
from slimfront.search.samplers.sampler import Observation, Problem

# The correction is fitted to so many of the last observations, and to as many members of the front at most.
RECENT = 160
# What a candidate adds is measured against so many members of the front, those that leave it least.
NEAREST = 256


class Archive:
    """A history as arrays, extended as it grows, so that a long one costs no more than a short one.

    Args:
        problem: What is searched; it must hold a box and a predictor.
    """

    def __init__(self, problem: Problem) -> None:
        assert problem.box is not None and problem.predictor is not None
        self.problem, self._box, self._predictor = problem, problem.box, problem.predictor
        self._told: list[Observation] = []
        self._rows: list[Ints] = []
        self._places: list[int] = []
        self.front = np.zeros((0, len(problem.directions)))
        self._correction: Correction | None = None

    def update(self, history: Sequence[Observation]) -> bool:
        """Take what is new in a history; return False, and change nothing, where it does not extend the last one."""
        if list(history[: len(self._told)]) != self._told:
            return False
        fresh = list(history[len(self._told) :])
        if fresh:
            self._correction = None
            self._rows += list(self._predictor.tables.levels([seen.values for seen in fresh]))
            scaled = self._box.scaled(np.array([seen.objectives for seen in fresh]))
            first = len(self._told)
            feasible = [number for number, seen in enumerate(fresh) if seen.feasible]
            places = [*self._places, *(first + number for number in feasible)]
            values = np.vstack([self.front, scaled[feasible]])
            kept = non_dominated(values)
            self._places, self.front = [places[row] for row in kept], values[kept]
            self._told += fresh
        return True

    def parents(self) -> Ints:
        """Return the levels of the front's members, ``(members, parameters)``."""
        count = len(self._predictor.tables.losses)
        return np.array([self._rows[place] for place in self._places], dtype=np.int64).reshape(-1, count)

    def correction(self) -> Correction:
        """Return the correction that the history teaches."""
        if self._correction is None:
            self._correction = self._learn()
        return self._correction

    def _learn(self) -> Correction:
        first = max(0, len(self._told) - RECENT)
        thinned = self._places[:: len(self._places) // RECENT + 1]
        places = sorted({*thinned, *range(first, len(self._told))})
        told = [self._told[place] for place in places]
        names = list(self.problem.directions)
        accuracy = [seen.objectives[names.index("accuracy")] if "accuracy" in names else np.nan for seen in told]
        divergence = [np.nan if seen.divergence is None else seen.divergence for seen in told]
        levels = np.array([self._rows[place] for place in places], dtype=np.int64)
        seen = Seen(levels, np.array(divergence, dtype=np.float64), np.array(accuracy, dtype=np.float64))
        dense = dict(zip(self._box.names, self._box.ideal, strict=True)).get("accuracy", 1.0)
        return Correction(self._predictor.tables, seen, dense)


class Screen:
    """Ranks candidates by the hypervolume that they are predicted to add, for its price.

    Args:
        archive: What is known.
        rng: Draws the correction from its posterior; its mean is taken where None.
    """

    def __init__(self, archive: Archive, rng: np.random.Generator | None) -> None:
        self._archive, self._correction = archive, archive.correction()
        self._draws = None if rng is None else rng.standard_normal(self._correction.features)

    def gains(self, levels: Ints) -> Floats:
        """Return the added share of the box, divided by the price of a trial, for ``(candidates, parameters)``."""
        problem, front = self._archive.problem, self._archive.front
        scaled = self.scaled(levels)
        found = np.zeros(len(levels))
        # One axis for the candidates, one for the front's members.
        beaten = np.any(np.all(front[None] <= scaled[:, None], axis=2), axis=1)
        for row in np.flatnonzero((scaled < 1).all(axis=1) & ~beaten):
            found[row] = added(front, scaled[row])
        assert problem.predictor is not None
        steps = problem.predictor.tables.steps.at(levels)
        return found / (1.0 + steps * problem.step_price)

    def scaled(self, levels: Ints) -> Floats:
        """Return the predicted objectives in the box, ``(candidates, objectives)``."""
        problem = self._archive.problem
        assert problem.predictor is not None and problem.box is not None
        found = problem.predictor.at(levels)
        columns = {
            "size": found.size.astype(np.float64),
            "latency": found.latency,
            "accuracy": self._correction.accuracy(levels, found.loss, self._draws),
        }
        return problem.box.scaled(np.stack([columns[name] for name in problem.directions], axis=1))


def added(front: Floats, point: Floats) -> float:
    """Return the share of the box that a point adds to a front, both scaled.

    That is what the front leaves of the point's own box: its members count there with the larger of their coordinates
    and the point's. Of a large front only those that cover most of it are asked, so that the time does not grow; the
    rest lies almost wholly behind them.

    Args:
        front: ``(members, objectives)``.
        point: ``(objectives,)``.
    """
    corners = np.maximum(front, point)
    covered = (1 - corners).prod(axis=1)
    if len(front) > NEAREST:
        corners = corners[np.argpartition(-covered, NEAREST)[:NEAREST]]
    return float((1 - point).prod()) - volume(corners)
