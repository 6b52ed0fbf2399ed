"""Uniformly at random."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from slimfront.search.samplers.sampler import SAMPLERS, Observation, Problem
from slimfront.search.samplers.through_optuna import OptunaSampler


@SAMPLERS.register("random")
class Random(OptunaSampler):
    """Uniformly at random."""

    def make(self, seed: int) -> optuna.samplers.BaseSampler:
        """See :meth:`OptunaSampler.make`."""
        return optuna.samplers.RandomSampler(seed=seed)

    def relevant(self, problem: Problem, history: Sequence[Observation]) -> Sequence[Observation]:  # noqa: ARG002
        """Return nothing: chance has no memory."""
        return ()
