"""Corrects predicted losses by what stitched trials really gave: per-layer errors are not additive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from slimfront.search.prediction.predictor import POWER, combined
from slimfront.search.prediction.residuals import ResidualProcess
from slimfront.search.prediction.tables import Floats, Ints, Tables

if TYPE_CHECKING:
    from sklearn.linear_model import BayesianRidge

# Divergences below this are all alike: nothing is lost.
FLOOR = 1e-4
# A logarithm of the divergence is brought to about -1 … 1, so that one prior suits all weights.
CENTRE, SCALE = -4.0, 3.0
# Trials without which nothing is corrected; until then the accuracy falls by GUESS times the root of the divergence,
# give or take SCATTER: on a thousand sentences of which a tenth are judged otherwise, what chance alone makes. What
# loses much scatters more, by SHARE of what it loses; the fit is repeated with the weights that follow from it.
LEAST, GUESS, SCATTER, SHARE, PASSES = 4, 0.2, 0.01, 0.25, 3
# Standard deviation of the divergence's logarithm without any trial, and at most: what was never seen is no less known
# for what was.
UNKNOWN = 1.0
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
    of the order of ``sqrt(KL)``, exceeds its margin. Nothing is expected to be more accurate than the dense model.

    Args:
        tables: The tables.
        seen: Trials measured so far.
        dense: The dense model's accuracy.
        least: The accuracy below which a model is of no use.
    """

    def __init__(self, tables: Tables, seen: Seen, dense: float, least: float = 0.0) -> None:
        self._tables, self._dense, self._most_lost = tables, dense, dense - least
        self._ridge: BayesianRidge | None = None
        self._floor, self._loss, self._scatter = 0.0, np.array([0.0, GUESS]), 1.0
        known = np.isfinite(seen.divergence)
        measured = np.maximum(seen.divergence[known], 0.0)
        both = known & np.isfinite(seen.accuracy)
        if both.sum() >= LEAST:
            self._fit_loss(np.maximum(seen.divergence[both], 0.0), dense - seen.accuracy[both])
        mixed = np.array([row for row, _ in tables.mixtures], dtype=np.int64).reshape(-1, len(tables.losses))
        levels = np.vstack([mixed, seen.levels[known].reshape(-1, len(tables.losses))])
        if len(levels) >= LEAST:
            self._fit(levels, np.concatenate([[divergence for _, divergence in tables.mixtures], measured]))
        expected, deviation = self.alone(seen.levels, combined(tables, seen.levels))
        told = np.isfinite(seen.accuracy)
        self._residuals = ResidualProcess(tables, seen.levels[told], (seen.accuracy - expected)[told], deviation[told])

    def _fit_loss(self, divergence: Floats, lost: Floats) -> None:
        # Imported where it is used: a start should not wait for it.
        from sklearn.linear_model import LinearRegression

        weights = np.ones(len(lost))
        for _ in range(PASSES):
            line = LinearRegression(positive=True, fit_intercept=False).fit(_terms(divergence), lost, weights)
            self._loss = np.asarray(line.coef_, dtype=np.float64)
            expected = _terms(divergence) @ self._loss
            weights = _guessed(expected) ** -2
        squares = LEAST + (weights * (lost - expected) ** 2).sum()
        self._scatter = float(np.sqrt(squares / (LEAST + len(lost))))

    def _fit(self, levels: Ints, divergence: Floats) -> None:
        from sklearn.linear_model import BayesianRidge

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

    def divergence(self, levels: Ints, loss: Floats) -> tuple[Floats, Floats]:
        """Return the expected KL divergence in nats, and the standard deviation of its logarithm.

        Args:
            levels: The configurations, ``(configurations, parameters)``.
            loss: What the tables say of them, ``(configurations,)``.
        """
        logs, deviation = self._logs(levels, loss), np.full(len(levels), UNKNOWN)
        if self._ridge is not None:
            features = self._features(levels, logs)
            logs = logs + features @ self._ridge.coef_
            known = ((features @ self._ridge.sigma_) * features).sum(axis=1)
            deviation = np.minimum(np.sqrt(known + 1.0 / self._ridge.alpha_), UNKNOWN)
        return np.exp(np.minimum(logs, MOST)), deviation

    def accuracy(self, levels: Ints, loss: Floats) -> tuple[Floats, Floats]:
        """Return the expected accuracy and its standard deviation, ``(configurations,)`` each."""
        expected, deviation = self.alone(levels, loss)
        change, left = self._residuals.posterior(levels, deviation)
        return np.minimum(expected + change, self._dense), left

    def alone(self, levels: Ints, loss: Floats) -> tuple[Floats, Floats]:
        """Return what the divergence lets one expect of the accuracy, and the standard deviation.

        What is not known of the divergence is carried over by the slope of the loss; what the divergence leaves of the
        accuracy comes on top. Where more is lost than may be, the deviation is the one with which a normal has the same
        chance of usefulness as the divergence's logarithm, whose upper side is much the longer.
        """
        divergence, deviation = self.divergence(levels, loss)
        lost = _terms(divergence) @ self._loss
        carried = deviation * (_terms(divergence) @ (self._loss * (1.0, 0.5)))
        far = np.log(np.maximum(divergence, FLOOR)) - np.log(self._tolerated())
        useless = far > 0
        carried[useless] = deviation[useless] * (lost[useless] - self._most_lost) / far[useless]
        # What loses more than may be lost scatters no further back.
        scatter = self._scatter * _guessed(np.minimum(lost, max(self._most_lost, 0.0)))
        return self._dense - lost, np.hypot(carried, scatter)

    def _tolerated(self) -> float:
        """Return the divergence at which as much is lost as may be."""
        linear, root = self._loss
        most = max(self._most_lost, FLOOR)
        if linear == 0:
            return float((most / root) ** 2) if root > 0 else np.inf
        # Written so that nothing cancels where little is lost along the root.
        return float((2 * most / (np.sqrt(root**2 + 4 * linear * most) + root)) ** 2)

    def _features(self, levels: Ints, logs: Floats) -> Floats:
        """Return what the residual may depend on: the tables' own word, who contributes to it, and the recovery.

        Few trials are recovered, so that recovery may change the tables' word only, not each contribution.
        """
        powers = self._tables.single_losses(levels) ** POWER
        shares = powers / np.maximum(powers.sum(axis=1, keepdims=True), 1e-12)
        recovered = (self._tables.steps.at(levels) > 0).astype(np.float64)[:, None]
        own = np.hstack([np.ones_like(recovered), ((logs - CENTRE) / SCALE)[:, None]])
        found: Floats = np.hstack([own, shares, own * recovered])
        return found


def _guessed(lost: Floats) -> Floats:
    """Return the standard deviation of the accuracy that is supposed where so much is expected to be lost."""
    return np.hypot(SCATTER, SHARE * lost)


def _terms(divergence: Floats) -> Floats:
    return np.stack([divergence, np.sqrt(divergence)], axis=1)
