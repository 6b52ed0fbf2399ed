"""Evolves the front inside the prediction and measures what is likely to enlarge it most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from slimfront.search.prediction.frontier import frontier
from slimfront.search.prediction.tables import Floats, Ints
from slimfront.search.samplers.moves import Moves
from slimfront.search.samplers.random import Random
from slimfront.search.samplers.sampler import SAMPLERS, Observation, Problem, Sampler
from slimfront.search.samplers.screen import Archive, Screen
from slimfront.spaces.domain import Value

# The smallest share of the box that is worth a trial.
LEAST = 1e-6
ROUNDS, OFFSPRING, SURVIVORS, PARENTS = 3, 64, 16, 64


@SAMPLERS.register("evolution")
class Evolution(Sampler):
    """Screened evolution.

    Parents are the front's members and the configurations along the predicted front. Their offspring live through a
    few rounds inside the prediction; the one that is expected to add most hypervolume for its price is suggested. The
    expectation is over all that the accuracy may turn out to be, so that what is uncertain gets its chance. Where
    nothing can be predicted, the suggestion is random.
    """

    plans = True

    def __init__(self) -> None:
        self._archive: Archive | None = None
        self._frontier: Ints | None = None

    def suggest(self, problem: Problem, history: Sequence[Observation], seed: int) -> dict[str, Value]:
        """See :meth:`Sampler.suggest`."""
        rng = np.random.default_rng(seed)
        if problem.predictor is None or problem.box is None:
            return Random().suggest(problem, history, seed)
        archive = self._known(problem, history)
        levels = self._evolve(problem, archive, rng)
        return _first_fresh(problem, levels) or Random().suggest(problem, history, seed)

    def along_the_front(self, problem: Problem, history: Sequence[Observation]) -> dict[str, Value] | None:
        """Return the configuration along the predicted front that adds most, or None where none adds anything."""
        if problem.predictor is None or problem.box is None:
            return None
        archive = self._known(problem, history)
        levels = self._along(problem)
        screen = Screen(archive)
        return _first_fresh(problem, _worthwhile(levels, screen.improvements(levels)))

    def expected(
        self, problem: Problem, history: Sequence[Observation], values: Mapping[str, Value]
    ) -> dict[str, float]:
        """Return the divergence and the qualities that a history lets one expect of a configuration."""
        if problem.predictor is None or problem.box is None:
            return {}
        archive = self._known(problem, history)
        levels = problem.predictor.tables.levels([values])
        loss = problem.predictor.at(levels).loss
        found = {"divergence": float(archive.correction().divergence(levels, loss)[0][0])}
        return found | {
            name: float(archive.correction(name).accuracy(levels, loss)[0][0]) for name in archive.qualities
        }

    def _known(self, problem: Problem, history: Sequence[Observation]) -> Archive:
        if self._archive is None or self._archive.problem is not problem or not self._archive.update(history):
            self._archive = Archive(problem)
            self._archive.update(history)
        return self._archive

    def _along(self, problem: Problem) -> Ints:
        assert problem.predictor is not None
        if self._frontier is None:
            self._frontier = np.unique(_settled(problem, frontier(problem.predictor)), axis=0)
        return self._frontier

    def _evolve(self, problem: Problem, archive: Archive, rng: np.random.Generator) -> Ints:
        """Return candidates, the best first."""
        assert problem.predictor is not None
        moves = Moves(problem.domains, problem.predictor, rng)
        screen = Screen(archive)
        front = archive.parents()
        front = front if len(front) <= PARENTS else front[rng.choice(len(front), PARENTS, replace=False)]
        alive = self._along(problem)
        improvements = screen.improvements(alive)
        for _ in range(ROUNDS):
            best = _order(improvements)[:SURVIVORS]
            # The front's members add nothing any more, but what is near them may.
            parents = np.vstack([alive[best], front])
            born = np.unique(_settled(problem, moves.offspring(parents, OFFSPRING)), axis=0)
            alive = np.vstack([alive[best], born])
            improvements = np.concatenate([improvements[best], screen.improvements(born)])
        return _worthwhile(alive, improvements)


def _settled(problem: Problem, levels: Ints) -> Ints:
    """Return levels ``(candidates, parameters)`` in which fixed parameters have theirs."""
    found = levels.copy()
    for place, (name, domain) in enumerate(problem.domains.items()):
        if name in problem.fixed:
            found[:, place] = domain.values.index(problem.fixed[name])
    return found


def _worthwhile(levels: Ints, improvements: Floats) -> Ints:
    """Return the levels from which something may be expected, the best first."""
    return levels[_order(improvements)[: int((improvements > LEAST).sum())]]


def _order(improvements: Floats) -> Ints:
    return np.argsort(-improvements, kind="stable")


def _first_fresh(problem: Problem, levels: Ints) -> dict[str, Value] | None:
    """Return the first of some levels ``(candidates, parameters)`` that was never tried, as values."""
    for row in levels:
        values = {n: domain.values[level] for (n, domain), level in zip(problem.domains.items(), row, strict=True)}
        if problem.fresh(values):
            return values
    return None
