"""Which of many candidates is likely to enlarge the front most, before any is built."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
from slimfront.search.prediction.correction import Correction, Seen
from slimfront.search.prediction.tables import Floats, Ints
from slimfront.search.samplers.decomposition import Decomposition
from slimfront.search.samplers.sampler import Observation, Problem

# The correction is fitted to so many of the last observations, and to as many members of the front at most.
RECENT = 160
# It is fitted anew once the observations have grown by one part in so many, but never later than after so many.
FRESH, LATEST = 50, 8
# So many of the last states are kept.
RETURN = 64


@dataclass(frozen=True)
class _State:
    """The front after some observations: their number, the members' places among them, and what they leave free."""

    count: int
    places: tuple[int, ...]
    decomposition: Decomposition


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
        nothing = _State(0, (), Decomposition(len(problem.directions)))
        # Workers finish out of order: a history may change in its last few places.
        self._states = deque([nothing], maxlen=RETURN)
        self._corrections: dict[str, Correction] = {}
        self._fitted = 0

    @property
    def decomposition(self) -> Decomposition:
        """What the front leaves free."""
        return self._states[-1].decomposition

    def update(self, history: Sequence[Observation]) -> bool:
        """Take what is new in a history; return False, and change nothing, where too little of it is as it was."""
        pairs = enumerate(zip(self._told, history, strict=False))
        same = next((place for place, (old, new) in pairs if old is not new), min(len(self._told), len(history)))
        fitted = len(history) - len(history) % min(max(len(history) // FRESH, 1), LATEST)
        if min(same, fitted) < self._states[0].count:
            return False
        if same < self._fitted or self._fitted != fitted:
            self._corrections.clear()
            self._fitted = fitted
        while self._states[-1].count > same:
            self._states.pop()
        del self._told[same:], self._rows[same:]
        fresh = list(history[same:])
        if fresh:
            self._rows += list(self._predictor.tables.levels([seen.values for seen in fresh]))
            scaled = self._box.scaled(np.array([seen.objectives for seen in fresh]))
            for seen, point in zip(fresh, scaled, strict=True):
                self._told.append(seen)
                self._states.append(self._after(point if seen.feasible else None))
        return True

    def _after(self, point: Floats | None) -> _State:
        last, count = self._states[-1], len(self._told)
        decomposition = copy(last.decomposition)
        stay = None if point is None else decomposition.add(point)
        if stay is None:
            return replace(last, count=count)
        return _State(count, (*compress(last.places, stay), count - 1), decomposition)

    def parents(self) -> Ints:
        """Return the levels of the front's members, ``(members, parameters)``."""
        count = len(self._predictor.tables.losses)
        return np.array([self._rows[place] for place in self._states[-1].places], dtype=np.int64).reshape(-1, count)

    @property
    def qualities(self) -> tuple[str, ...]:
        """Those of the problem's objectives that fall as the divergence grows."""
        return tuple(name for name in self.problem.qualities if name in self.problem.directions)

    def correction(self, quality: str | None = None) -> Correction:
        """Return the correction of one quality that the history teaches; of the first, if there is any, where None."""
        name = quality or next(iter(self.qualities), "")
        if name not in self._corrections:
            self._corrections[name] = self._learn(name)
        return self._corrections[name]

    def _learn(self, quality: str) -> Correction:
        members = self._states[self._fitted - len(self._told) - 1].places
        thinned = members[:: len(members) // RECENT + 1]
        places = sorted({*thinned, *range(max(0, self._fitted - RECENT), self._fitted)})
        told = [self._told[place] for place in places]
        names = list(self.problem.directions)
        accuracy = [seen.objectives[names.index(quality)] if quality in names else np.nan for seen in told]
        divergence = [np.nan if seen.divergence is None else seen.divergence for seen in told]
        count = len(self._predictor.tables.losses)
        levels = np.array([self._rows[place] for place in places], dtype=np.int64).reshape(-1, count)
        seen = Seen(levels, np.array(divergence, dtype=np.float64), np.array(accuracy, dtype=np.float64))
        ends = zip(self._box.ideal, self._box.worst, strict=True)
        dense, least = dict(zip(self._box.names, ends, strict=True)).get(quality, (1.0, 0.0))
        return Correction(self._predictor.tables, seen, dense, least)


class Screen:
    """Ranks candidates by the hypervolume that they are expected to add, for its price.

    Args:
        archive: What is known.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def improvements(self, levels: Ints) -> Floats:
        """Return the share of the box that each is expected to add, for the price of a trial, ``(candidates,)``."""
        problem = self._archive.problem
        assert problem.predictor is not None
        found = self._archive.decomposition.expected_improvement(*self._forecast(levels))
        return found / (1.0 + problem.predictor.tables.steps.at(levels) * problem.step_price)

    def _forecast(self, levels: Ints) -> tuple[Floats, Floats]:
        """Return what is expected in the box, and its standard deviation, ``(candidates, objectives)`` each.

        Size is exact, download nearly, and latencies are compared by what is predicted: only what is lost is uncertain.
        """
        problem = self._archive.problem
        assert problem.predictor is not None and problem.box is not None
        found = problem.predictor.at(levels)
        columns = found.costs()
        columns |= {name: columns[proxy] for name, proxy in problem.proxies.items()}
        spread = np.zeros((len(levels), len(problem.directions)))
        if "divergence" in problem.directions:
            place = list(problem.directions).index("divergence")
            columns["divergence"], scatter = self._archive.correction().divergence(levels, found.loss)
            # Of a lognormal the mean is uncertain by this part of itself, to first order.
            spread[:, place] = np.minimum(scatter, 1.0) * columns["divergence"] / (problem.box.span[place] or 1.0)
        for name in self._archive.qualities:
            place = list(problem.directions).index(name)
            columns[name], deviation = self._archive.correction(name).accuracy(levels, found.loss)
            spread[:, place] = deviation / problem.box.span[place] if problem.box.span[place] else 0.0
        return problem.box.relative(np.stack([columns[name] for name in problem.directions], axis=1)), spread
