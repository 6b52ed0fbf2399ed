"""Configurations along the predicted front, by Lagrange multipliers over the tables."""

from __future__ import annotations

import itertools

import numpy as np
from slimfront.search.prediction.predictor import Prediction, Predictor
from slimfront.search.prediction.tables import Floats, Ints

# What a whole dense model's bytes and latency weigh together against one nat of divergence, and how they share.
WEIGHTS = tuple(np.geomspace(0.003, 3.0, 9))
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
SWEEPS = 3


def frontier(predictor: Predictor) -> Ints:
    """Return levels ``(configurations, parameters)`` that trade loss against size and latency, without duplicates.

    For each pair of multipliers ``loss + w_s size + w_l latency`` is minimized by changing one parameter at a time
    until nothing improves (the multipliers sweep the convex part of the front: Everett 1963, "Generalized Lagrange
    Multiplier Method"). Parameters that the tables know nothing of stay at their first level. Where the space holds
    recovery, each configuration is returned with the longest one as well.
    """
    tables = predictor.tables
    pairs = [(weight * share, weight * (1 - share)) for weight, share in itertools.product(WEIGHTS, SHARES)]
    multipliers = np.array(pairs)
    levels = np.zeros((len(multipliers), len(tables.losses)), dtype=np.int64)
    for _ in range(SWEEPS):
        before = levels.copy()
        for position, losses in enumerate(tables.losses):
            levels[:, position] = _best(predictor, levels, position, len(losses), multipliers)
        if (levels == before).all():
            break
    return np.unique(_with_recovery(predictor, levels), axis=0)


def _best(predictor: Predictor, levels: Ints, position: int, choices: int, multipliers: Floats) -> Ints:
    """Return the best level of one parameter, ``(configurations,)``, the others unchanged."""
    tried = np.repeat(levels, choices, axis=0)
    tried[:, position] = np.tile(np.arange(choices), len(levels))
    found = predictor.at(tried)
    weights = np.repeat(multipliers, choices, axis=0)
    cost = found.loss + weights[:, 0] * _bytes(predictor, found) + weights[:, 1] * found.latency
    return np.asarray(cost.reshape(len(levels), choices).argmin(axis=1), dtype=np.int64)


def _bytes(predictor: Predictor, found: Prediction) -> Floats:
    """Return the bytes relative to the dense model's, ``(configurations,)``: half of them the download's where told."""
    size: Floats = found.size / predictor.dense.size
    return (size + found.download / predictor.dense.download) / 2 if predictor.tables.download else size


def _with_recovery(predictor: Predictor, levels: Ints) -> Ints:
    steps = predictor.tables.steps
    if not steps.parameters or steps.values.max() == 0:
        return levels
    recovered = levels.copy()
    for position, level in zip(
        steps.parameters, np.unravel_index(steps.values.argmax(), steps.values.shape), strict=True
    ):
        recovered[:, position] = level
    return np.vstack([levels, recovered])
