"""NSGA-III (Deb and Jain 2014)."""

from __future__ import annotations

import optuna
from slimfront.search.samplers.genetic import GeneticSampler
from slimfront.search.samplers.sampler import SAMPLERS


@SAMPLERS.register("nsga3")
class Nsga3(GeneticSampler):
    """NSGA-III (Deb and Jain 2014)."""

    def make(self, seed: int) -> optuna.samplers.BaseSampler:
        """See :meth:`OptunaSampler.make`."""
        return optuna.samplers.NSGAIIISampler(seed=seed, population_size=self.population)
