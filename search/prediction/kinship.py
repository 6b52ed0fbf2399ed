"""What trials tell of their kin: models that share most of what was changed err on the same sentences."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from slimfront.search.prediction.tables import Floats, Ints, Tables

# Two recovered models keep so much of their kinship: training moves each to a place of its own.
TRAINED = 0.5
# Of what is shared, one half grows with the cosine and the other with its fourth power: what close kin alone have.
CLOSE = 4
# Share of a residual that not even a model's double would repeat: stopped trials are estimated.
NUGGET = 0.05


class Kinship:
    """A Gaussian process on what the expectations leave (Rasmussen and Williams 2006, section 2.2).

    Each level of each layer moves the model's predictions in a direction of its own, by the root of the divergence
    that it costs alone. The correlation of two configurations is the cosine between the sums of their moves.

    Args:
        tables: The tables.
        levels: The configurations that were measured, ``(trials, parameters)``.
        residuals: Measured less expected, ``(trials,)``.
        spread: Standard deviation that was expected of them, ``(trials,)``.
    """

    def __init__(self, tables: Tables, levels: Ints, residuals: Floats, spread: Floats) -> None:
        self._tables = tables
        self._seen, self._spread = self._moves(levels), spread
        alike = _alike(self._seen, self._seen) * spread * spread[:, None]
        np.fill_diagonal(alike, (1 + NUGGET) * spread**2)
        self._factor = cho_factor(alike)
        self._weights = cho_solve(self._factor, residuals)

    def refined(self, levels: Ints, spread: Floats) -> tuple[Floats, Floats]:
        """Return what is to be added to the expectations and the standard deviation that is left.

        Args:
            levels: The configurations, ``(configurations, parameters)``.
            spread: Standard deviation that is expected of them, ``(configurations,)``.
        """
        shared = _alike(self._moves(levels), self._seen) * self._spread * spread[:, None]
        known = (shared * cho_solve(self._factor, shared.T).T).sum(axis=1)
        return shared @ self._weights, np.sqrt(np.maximum(spread**2 - known, NUGGET * spread**2))

    def _moves(self, levels: Ints) -> Floats:
        """Return the moves, ``(configurations, 2 times all levels)``, of length one; a trained model's are shorter."""
        counts = [len(losses) for losses in self._tables.losses]
        places = levels + np.cumsum([0, *counts[:-1]])
        found = np.zeros((2, len(levels), sum(counts)))
        single = np.sqrt(self._tables.single_losses(levels))
        single /= np.maximum(np.linalg.norm(single, axis=1, keepdims=True), 1e-9)
        trained = (self._tables.steps.at(levels) > 0).astype(np.int64)[:, None]
        rows = np.arange(len(levels))[:, None]
        found[trained, rows, places] = single * np.where(trained, np.sqrt(TRAINED), 1.0)
        return np.hstack([*found])


def _alike(one: Floats, other: Floats) -> Floats:
    """Return the correlation of all pairs, ``(one, other)``."""
    cosine = one @ other.T
    found: Floats = (cosine + cosine**CLOSE) / 2
    return found
