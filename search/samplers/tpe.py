"""Multivariate tree-structured Parzen estimator (Ozaki et al. 2022; Falkner et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna
from slimfront.search.front import non_dominated
from slimfront.search.samplers.sampler import SAMPLERS, Observation, Problem
from slimfront.search.samplers.through_optuna import OptunaSampler

# The estimator's price grows with the trials that it is shown: at least so many of the last, at most twice as many.
BLOCK = 60


@SAMPLERS.register("tpe")
class Tpe(OptunaSampler):
    """Multivariate tree-structured Parzen estimator (Ozaki et al. 2022; Falkner et al. 2018)."""

    def make(self, seed: int) -> optuna.samplers.BaseSampler:
        """See :meth:`OptunaSampler.make`."""
        # Trials that run are not in the history: there is nothing to lie about.
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=10, constant_liar=False)

    def relevant(self, problem: Problem, history: Sequence[Observation]) -> Sequence[Observation]:
        """Return the last trials, and those before them that no other beats."""
        start = BLOCK * max(0, len(history) // BLOCK - 1)
        return [*_best(problem, history[:start]), *history[start:]]


def _best(problem: Problem, observations: Sequence[Observation]) -> list[Observation]:
    """Return the feasible observations that no other beats, at most a block of them."""
    feasible = [seen for seen in observations if seen.feasible]
    signs = [1 if direction == "minimize" else -1 for direction in problem.directions.values()]
    values = np.array([seen.objectives for seen in feasible]).reshape(len(feasible), len(signs)) * signs
    return [feasible[row] for row in non_dominated(values)][-BLOCK:]
