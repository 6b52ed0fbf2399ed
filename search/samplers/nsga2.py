"""NSGA-II (Deb et al. 2002)."""

from __future__ import annotations

import optuna
from slimfront.search.samplers.genetic import GeneticSampler
from slimfront.search.samplers.sampler import SAMPLERS


@SAMPLERS.register("nsga2")
class Nsga2(GeneticSampler):
    """NSGA-II (Deb et al. 2002)."""

    def make(self, seed: int) -> optuna.samplers.BaseSampler:
        """See :meth:`OptunaSampler.make`."""
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=self.population)
