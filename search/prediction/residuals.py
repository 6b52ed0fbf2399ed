"""What a trial gave beyond expectation is expected of models like it: they err on the same sentences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from slimfront.search.prediction.tables import Floats, Ints, Tables

Bools = npt.NDArray[np.bool_]
# Two recovered models keep so much of their correlation: training moves each to a place of its own.
TRAINED = 0.5
# Share of a residual that is nobody else's: of a trial that was stopped the accuracy is an estimate.
NUGGET = 0.05


class ResidualProcess:
    """A Gaussian process on what the expectations leave (Rasmussen and Williams 2006, section 2.2).

    Each level of each layer moves the model's predictions in a direction of its own, by the root of the divergence
    that it costs alone. Of the correlation of two configurations one half grows with the cosine between the sums of
    their moves, the other with its fourth power: that is for the most alike.

    Args:
        tables: The tables.
        levels: The configurations that were measured, ``(trials, parameters)``.
        residuals: Measured less expected, ``(trials,)``.
        deviation: Standard deviation that was expected of them, ``(trials,)``.
    """

    def __init__(self, tables: Tables, levels: Ints, residuals: Floats, deviation: Floats) -> None:
        self._tables, self._deviation = tables, deviation
        self._seen = self._moves(levels)
        matrix = _kernel(self._seen, self._seen) * deviation * deviation[:, None]
        np.fill_diagonal(matrix, (1 + NUGGET) * deviation**2)
        self._factor = cho_factor(matrix)
        self._weights = cho_solve(self._factor, residuals)

    def posterior(self, levels: Ints, deviation: Floats) -> tuple[Floats, Floats]:
        """Return what is to be added to the expectations and the standard deviation that is left.

        Args:
            levels: The configurations, ``(configurations, parameters)``.
            deviation: Standard deviation that is expected of them, ``(configurations,)``.
        """
        shared = _kernel(self._moves(levels), self._seen) * self._deviation * deviation[:, None]
        known = (shared * cho_solve(self._factor, shared.T).T).sum(axis=1)
        return shared @ self._weights, np.sqrt(np.maximum(deviation**2 - known, NUGGET * deviation**2))

    def _moves(self, levels: Ints) -> _Moves:
        """Return the moves of some configurations."""
        counts = [len(losses) for losses in self._tables.losses]
        single = np.sqrt(self._tables.single_losses(levels))
        single /= np.maximum(np.linalg.norm(single, axis=1, keepdims=True), 1e-9)
        found = np.zeros((len(levels), sum(counts)))
        np.put_along_axis(found, levels + np.cumsum([0, *counts[:-1]]), single, axis=1)
        return _Moves(found, self._tables.steps.at(levels) > 0)


@dataclass(frozen=True)
class _Moves:
    """Moves of length one, ``(configurations, all levels)``, and whether training followed, ``(configurations,)``."""

    moves: Floats
    trained: Bools


def _kernel(one: _Moves, other: _Moves) -> Floats:
    """Return the correlation of all pairs, ``(one, other)``; training leaves none with what was not trained."""
    cosine = one.moves @ other.moves.T
    cosine *= np.where(one.trained[:, None], TRAINED * other.trained, ~other.trained)
    square = cosine * cosine
    found: Floats = (cosine + square * square) / 2
    return found
