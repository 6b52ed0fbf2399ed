"""Corrects predicted losses by what stitched trials really gave: per-layer errors are not additive."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.linear_model import BayesianRidge, LinearRegression
from slimfront.search.prediction.predictor import POWER, combined
from slimfront.search.prediction.tables import Floats, Ints, Tables

# Divergences below this are all alike: nothing is lost.
FLOOR = 1e-4
# A logarithm of the divergence is brought to about -1 … 1, so that one prior suits all weights.
CENTRE, SCALE = -4.0, 3.0
# Trials without which nothing is corrected; until then the accuracy falls by GUESS times the root of the divergence.
LEAST, GUESS = 4, 0.2
# Training moves a model away from dense even where nothing was lost: a little less than the least that was seen.
NEAR, MOST_FLOOR = 0.8, 0.05
# Logarithm of the largest divergence that is predicted.
MOST = 3.0


@dataclass(frozen=True)
class Seen:
    """What trials gave.

    Attributes:
        levels: ``(trials, parameters)``.
        divergence: KL divergence from dense in nats, ``(trials,)``; NaN where it is not known.
        accuracy: ``(trials,)``.
    """

    levels: Ints
    divergence: Floats
    accuracy: Floats


class Correction:
    """Predicts divergence and accuracy.

    The logarithm of the divergence is the tables' own plus a Bayesian ridge regression (MacKay 1992, "Bayesian
    Interpolation") on what the levels contribute, so that without any trial the tables alone speak. The loss of
    accuracy is ``a KL + b sqrt(KL)`` with ``a, b >= 0``: to first order a prediction flips where the logits' noise,
    of the order of ``sqrt(KL)``, exceeds its margin.

    Args:
        tables: The tables.
        seen: Trials measured so far.
        dense: The dense model's accuracy.
    """

    def __init__(self, tables: Tables, seen: Seen, dense: float) -> None:
        self._tables, self._dense = tables, dense
        self._ridge: BayesianRidge | None = None
        self._floor, self._loss = 0.0, np.array([0.0, GUESS])
        known = np.isfinite(seen.divergence)
        measured = np.maximum(seen.divergence[known], 0.0)
        if known.sum() >= LEAST:
            line = LinearRegression(positive=True, fit_intercept=False)
            line.fit(_terms(measured), dense - seen.accuracy[known])
            self._loss = np.asarray(line.coef_, dtype=np.float64)
        mixed = np.array([row for row, _ in tables.mixtures], dtype=np.int64).reshape(-1, len(tables.losses))
        levels = np.vstack([mixed, seen.levels[known].reshape(-1, len(tables.losses))])
        if len(levels) >= LEAST:
            self._fit(levels, np.concatenate([[divergence for _, divergence in tables.mixtures], measured]))

    def _fit(self, levels: Ints, divergence: Floats) -> None:
        recovered = self._tables.steps.at(levels) > 0
        if recovered.any():
            self._floor = min(NEAR * float(divergence[recovered].min()), MOST_FLOOR)
        logs = self._logs(levels, combined(self._tables, levels))
        target = np.log(np.maximum(divergence, FLOOR))
        self._ridge = BayesianRidge(fit_intercept=False).fit(self._features(levels, logs), target - logs)

    def _logs(self, levels: Ints, loss: Floats) -> Floats:
        """Return the logarithm of what the tables say; a recovered model never comes nearer to dense than a floor."""
        recovered = self._tables.steps.at(levels) > 0
        found: Floats = np.log(np.maximum(loss, FLOOR) + np.where(recovered, self._floor, 0.0))
        return found

    def divergence(self, levels: Ints, loss: Floats, draws: Floats | None = None) -> Floats:
        """Return the expected KL divergence in nats.

        Args:
            levels: The configurations, ``(configurations, parameters)``.
            loss: What the tables say of them, ``(configurations,)``.
            draws: Standard normal numbers, ``(features,)``: one draw from the posterior instead of its mean.
        """
        logs = self._logs(levels, loss)
        if self._ridge is not None:
            weights = self._ridge.coef_ if draws is None else self._ridge.coef_ + self._root @ draws
            logs = logs + self._features(levels, logs) @ weights
        found: Floats = np.exp(np.minimum(logs, MOST))
        return found

    def accuracy(self, levels: Ints, loss: Floats, draws: Floats | None = None) -> Floats:
        """Return the expected accuracy; see :meth:`divergence`."""
        found: Floats = self._dense - _terms(self.divergence(levels, loss, draws)) @ self._loss
        return found

    @property
    def features(self) -> int:
        """How many numbers a draw from the posterior takes."""
        return 2 * (2 + len(self._tables.losses))

    @cached_property
    def _root(self) -> Floats:
        """Return a matrix whose product with standard normal numbers has the posterior's covariance."""
        assert self._ridge is not None
        values, vectors = np.linalg.eigh(self._ridge.sigma_)
        found: Floats = vectors * np.sqrt(np.maximum(values, 0.0))
        return found

    def _features(self, levels: Ints, logs: Floats) -> Floats:
        """Return what the residual may depend on: the tables' own word, who contributes to it, and the recovery."""
        powers = self._tables.single_losses(levels) ** POWER
        shares = powers / np.maximum(powers.sum(axis=1, keepdims=True), 1e-12)
        recovered = (self._tables.steps.at(levels) > 0).astype(np.float64)[:, None]
        plain = np.hstack([np.ones_like(recovered), ((logs - CENTRE) / SCALE)[:, None], shares])
        found: Floats = np.hstack([plain, plain * recovered])
        return found


def _terms(divergence: Floats) -> Floats:
    return np.stack([divergence, np.sqrt(divergence)], axis=1)
