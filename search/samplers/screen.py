"""Which of many candidates is likely to enlarge the front most, before any is built."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from slimfront.search.front import non_dominated
from slimfront.search.prediction.correction import Correction, Seen
from slimfront.search.prediction.tables import Floats, Ints
from slimfront.search.samplers.decomposition import Decomposition
from slimfront.search.samplers.sampler import Observation, Problem

# The correction is fitted to so many of the last observations, and to as many members of the front at most.
RECENT = 160


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
        self._front = np.zeros((0, len(problem.directions)))
        self.free = Decomposition(len(problem.directions))
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
            values = np.vstack([self._front, scaled[feasible]])
            kept = non_dominated(values)
            self._places, self._front = [places[row] for row in kept], values[kept]
            for point in scaled[feasible]:
                self.free.add(point)
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
    """Ranks candidates by the hypervolume that they are expected to add, for its price.

    Args:
        archive: What is known.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive, self._correction = archive, archive.correction()

    def gains(self, levels: Ints) -> Floats:
        """Return the share of the box that each is expected to add, for the price of a trial, ``(candidates,)``."""
        problem = self._archive.problem
        assert problem.predictor is not None
        found = self._archive.free.expected(*self._forecast(levels))
        return found / (1.0 + problem.predictor.tables.steps.at(levels) * problem.step_price)

    def _forecast(self, levels: Ints) -> tuple[Floats, Floats]:
        """Return what is expected in the box, and its standard deviation, ``(candidates, objectives)`` each.

        Size is exact, and latencies are compared by what is predicted, so only the accuracy is uncertain.
        """
        problem = self._archive.problem
        assert problem.predictor is not None and problem.box is not None
        found = problem.predictor.at(levels)
        columns = {"size": found.size.astype(np.float64), "latency": found.latency}
        spread = np.zeros((len(levels), len(problem.directions)))
        if "accuracy" in problem.directions:
            place = list(problem.directions).index("accuracy")
            columns["accuracy"], doubt = self._correction.accuracy(levels, found.loss)
            spread[:, place] = doubt / problem.box.span[place]
        return problem.box.relative(np.stack([columns[name] for name in problem.directions], axis=1)), spread
