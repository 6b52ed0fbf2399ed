"""Gaussian process with expected hypervolume improvement (Daulton et al. 2020); slow in large spaces."""

from __future__ import annotations

import optuna
from slimfront.search.samplers.sampler import SAMPLERS
from slimfront.search.samplers.through_optuna import OptunaSampler


@SAMPLERS.register("gp")
class Gp(OptunaSampler):
    """Gaussian process with expected hypervolume improvement (Daulton et al. 2020); slow in large spaces."""

    def make(self, seed: int) -> optuna.samplers.BaseSampler:
        """See :meth:`OptunaSampler.make`."""
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=10)
