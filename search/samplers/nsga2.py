"""NSGA-II (Deb et al. 2002)."""

from __future__ import annotations

import optuna
from slimfront.search.samplers.sampler import SAMPLERS, OptunaSampler

POPULATION = 20


@SAMPLERS.register("nsga2")
class Nsga2(OptunaSampler):
    """NSGA-II (Deb et al. 2002)."""

    def make(self, seed: int) -> optuna.samplers.BaseSampler:
        """See :meth:`OptunaSampler.make`."""
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=POPULATION)
