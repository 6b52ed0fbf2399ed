"""Uniform random choice."""

from __future__ import annotations

import optuna
from slimfront.search.samplers.sampler import SAMPLERS, OptunaSampler


@SAMPLERS.register("random")
class Random(OptunaSampler):
    """Uniform random choice."""

    def make(self, seed: int) -> optuna.samplers.BaseSampler:
        """See :meth:`OptunaSampler.make`."""
        return optuna.samplers.RandomSampler(seed=seed)
