"""Forecasts how many sentences a candidate gets right from its logits on some of them.

The margin of a sentence is the logit of its label less the largest other one: ties aside, it is right where that is
positive. The margins of the dense model and of earlier trials are known for all sentences, and a candidate's scatter
around a linear combination of them: models that were compressed alike err alike. Where a sentence was read its answer
counts; where not, the chance that the combination and the scatter give it. The total of a finite population is so
predicted from a model of it (Royall 1970, "On finite population sampling theory under certain linear regression
models"). Margins tell far more than right and wrong, for each says how near it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaln, stdtr

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
# How many sentences it counts for that a candidate has the dense model's slope, and that it leans towards no label and
# no earlier trial. A free lean would be overrated in small samples: the estimate would be too low, and good candidates
# would be dropped.
SLOPE, LEAN = 1.0, 20.0
# One sentence counts for a scatter of this share of the dense margins: the first ones may miss what is rare.
SCATTER = 0.05
# Share of a trial's margins that is no more than rounding.
ROUNDING = 1e-6
# Strata of a mean over sentences that were not drawn at random.
STRATA = 8


def margins(logits: npt.NDArray[np.floating], labels: Ints) -> Floats:
    """Return the logit of the label less the largest other one, ``(sentences,)``.

    Args:
        logits: ``(sentences, classes)``.
        labels: ``(sentences,)``.
    """
    rows = np.arange(len(labels))
    others = logits.astype(np.float64)
    own = others[rows, labels]
    others[rows, labels] = -np.inf
    found: Floats = own - others.max(axis=1)
    return found


@dataclass(frozen=True)
class Forecast:
    """What is known of a candidate's share of right answers.

    Attributes:
        mean: The expected share of all sentences.
        deviation: Its standard deviation.
        chances: For each sentence the chance that it is right; 0 or 1 where it was read.
    """

    mean: float
    deviation: float
    chances: Floats


class Forecaster:
    """Regresses margins on the dense model's, on what earlier trials have beside those, and on the label.

    Args:
        dense: The dense model's margins, ``(sentences,)``.
        labels: ``(sentences,)``.
        others: Margins of earlier trials, ``(sentences,)`` each.
    """

    def __init__(self, dense: Floats, labels: Ints, others: Sequence[Floats] = ()) -> None:
        self._scale = _size(dense)
        along = dense / self._scale
        beside = [(margin, margin - along * float(np.mean(along * margin))) for margin in others]
        # What is left of a trial that answers as the dense model does is rounding.
        scaled = [along, *(rest / _size(rest) for margin, rest in beside if _size(rest) > ROUNDING * _size(margin))]
        self._features = np.column_stack([*scaled, np.eye(int(labels.max()) + 1)[labels]])

    def forecast(self, seen: Ints, margin: Floats, right: Bools) -> Forecast:
        """Return the forecast of a ridge regression towards the dense model.

        What it predicts of a sentence is Student's t with the regression's effective degrees of freedom.

        Args:
            seen: Positions of the sentences that were read, at least one, ``(seen,)``.
            margin: The candidate's margins there, ``(seen,)``.
            right: Whether it is right there, ``(seen,)``.
        """
        total, rows = len(self._features), self._features[seen]
        weights, inverse, freedom, scale = self._fit(rows, margin)
        unseen = np.ones(total, dtype=np.bool_)
        unseen[seen] = False
        left = self._features[unseen]
        spread = scale * np.sqrt(1 + ((left @ inverse) * left).sum(axis=1))
        places = left @ weights / spread
        chances = np.zeros(total)
        chances[seen], chances[unseen] = right, stdtr(freedom, places)
        # Each unseen sentence falls one way or the other, and the line and the scatter are only estimated.
        density = _density(places, freedom)
        slope = (density / spread) @ left
        variance = float((chances[unseen] * (1 - chances[unseen])).sum())
        variance += scale**2 * float(slope @ inverse @ slope) + float(density @ places) ** 2 / (2 * freedom)
        return Forecast(float(chances.mean()), float(np.sqrt(variance)) / total, chances)

    def _fit(self, rows: Floats, margin: Floats) -> tuple[Floats, Floats, float, float]:
        """Return the weights, the inverse of their precision, degrees of freedom and the scatter."""
        expected = np.zeros(rows.shape[1])
        expected[0] = self._scale
        prior = np.diag([SLOPE, *([LEAN] * (rows.shape[1] - 1))])
        inverse: Floats = np.linalg.inv(rows.T @ rows + prior).astype(np.float64)
        weights: Floats = expected + inverse @ (rows.T @ (margin - rows @ expected))
        freedom = max(1.0, len(rows) - float(np.trace(inverse @ rows.T @ rows)))
        expected_scatter = (SCATTER * self._scale) ** 2
        squares = float(np.sum((margin - rows @ weights) ** 2)) + expected_scatter
        return weights, inverse, freedom, float(np.sqrt(squares / (freedom + 1)))


def _density(places: Floats, freedom: float) -> Floats:
    """Return Student's density; that of scipy.stats spends most of its time on its arguments."""
    scale = np.exp(-betaln(freedom / 2, 0.5)) / np.sqrt(freedom)
    found: Floats = scale * (1 + places**2 / freedom) ** (-(freedom + 1) / 2)
    return found


def _size(margin: Floats) -> float:
    return float(np.sqrt(np.mean(margin**2))) or 1.0


def stratified_mean(values: Floats, seen: Ints, sort_by: Floats) -> float:
    """Return the mean over all sentences of something known for some, which were read because of ``sort_by``.

    Strata of equal size along ``sort_by`` count as they do among all sentences; those without any value do not count.

    Args:
        values: ``(seen,)``.
        seen: Positions of the sentences, at least one, ``(seen,)``.
        sort_by: For each sentence, ``(sentences,)``.
    """
    strata = np.zeros(len(sort_by), dtype=np.int64)
    strata[np.argsort(sort_by, kind="stable")] = np.arange(len(sort_by)) * STRATA // len(sort_by)
    sums = np.bincount(strata[seen], weights=values, minlength=STRATA)
    known, sizes = np.bincount(strata[seen], minlength=STRATA), np.bincount(strata, minlength=STRATA)
    held = known > 0
    return float((sums[held] / known[held] * sizes[held]).sum() / sizes[held].sum())
