"""How well predictions agreed with what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from slimfront.search.prediction.tables import Floats

LEAST = 5


def affine(predicted: Floats, measured: Floats) -> tuple[float, float]:
    """Return start and slope, neither negative, of the line that fits best in relative error."""
    # Imported where it is used: a worker's start should not wait for it.
    from scipy.optimize import nnls

    terms = np.stack([np.ones_like(predicted), predicted], axis=1) / measured[:, None]
    (start, slope), _ = nnls(terms, np.ones_like(measured))
    return float(start), float(slope)


def rank_correlations(pairs: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, float]:
    """Return Spearman's rank correlation by name of ``(predicted, measured)``; none where there are too few pairs."""
    from scipy.stats import spearmanr

    found = {}
    for name, values in pairs.items():
        columns = np.array(values, dtype=np.float64).reshape(-1, 2).T
        if columns.shape[1] >= LEAST and all(len(np.unique(column)) > 1 for column in columns):
            found[name] = float(spearmanr(columns[0], columns[1]).statistic)
    return found
