"""Multivariate tree-structured Parzen estimator (Ozaki et al. 2022; Falkner et al. 2018)."""

from __future__ import annotations

import optuna
from slimfront.search.samplers.sampler import SAMPLERS, OptunaSampler


@SAMPLERS.register("tpe")
class Tpe(OptunaSampler):
    """Multivariate tree-structured Parzen estimator (Ozaki et al. 2022; Falkner et al. 2018)."""

    def make(self, seed: int) -> optuna.samplers.BaseSampler:
        """See :meth:`OptunaSampler.make`."""
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=10)
