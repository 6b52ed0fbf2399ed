"""NSGA-III (Deb and Jain 2014)."""

from __future__ import annotations

import optuna
from slimfront.search.samplers.sampler import SAMPLERS, OptunaSampler

POPULATION = 20


@SAMPLERS.register("nsga3")
class Nsga3(OptunaSampler):
    """NSGA-III (Deb and Jain 2014)."""

    def make(self, seed: int) -> optuna.samplers.BaseSampler:
        """See :meth:`OptunaSampler.make`."""
        return optuna.samplers.NSGAIIISampler(seed=seed, population_size=POPULATION)
