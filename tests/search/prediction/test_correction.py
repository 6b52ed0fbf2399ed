from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from slimfront.search.prediction.agreement import affine, rank_correlations
from slimfront.search.prediction.correction import GUESS, SCATTER, Correction, Seen
from slimfront.search.prediction.tables import Floats, Ints
from slimfront.spaces.domain import Domain

from tests.search.prediction_of import predictor_of

DOMAINS = {f"bits/{number}": Domain((16, 8, 6, 4)) for number in range(6)} | {"distillation/steps": Domain((0, 40))}
PREDICTOR = predictor_of(DOMAINS, steps="distillation/steps")
TABLES = PREDICTOR.tables


def draw(count: int, seed: int) -> Ints:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(4 if column < 6 else 2, size=count) for column in range(7)], axis=1)


def truth(levels: Ints) -> Floats:
    """What trials give: one layer hurts ten times as much as its table says, and recovery takes away three quarters."""
    single = TABLES.single_losses(levels) * np.array([1, 10, 1, 1, 0.2, 1, 1])
    return (single**0.7).sum(axis=1) ** (1 / 0.7) * np.where(levels[:, 6] == 1, 0.25, 1.0)


def seen(count: int, seed: int = 0) -> Seen:
    levels = draw(count, seed)
    divergence = truth(levels)
    return Seen(levels, divergence, 0.8 - 0.3 * divergence)


def test_without_trials_the_tables_speak() -> None:
    levels = draw(5, 1)
    loss = PREDICTOR.at(levels).loss
    found = Correction(TABLES, seen(0), 0.8)
    assert found.divergence(levels, loss)[0] == pytest.approx(np.maximum(loss, 1e-4))
    accuracy, spread = found.accuracy(levels, loss)
    assert accuracy == pytest.approx(0.8 - GUESS * np.sqrt(np.maximum(loss, 1e-4)))
    assert (spread > SCATTER).all()


def test_trials_correct_what_the_tables_say() -> None:
    levels = draw(200, 1)
    loss = PREDICTOR.at(levels).loss
    errors = []
    for count in (0, 12, 60):
        told, _ = Correction(TABLES, seen(count), 0.8).divergence(levels, loss)
        errors.append(float(np.abs(np.log(told / np.maximum(truth(levels), 1e-4))).mean()))
    assert errors[2] < errors[1] < errors[0] and errors[2] < 0.5 * errors[0]
    after, _ = Correction(TABLES, seen(60), 0.8).divergence(levels, loss)
    assert spearmanr(after, truth(levels)).statistic > max(0.95, spearmanr(loss, truth(levels)).statistic)


def test_accuracy_follows_the_divergence() -> None:
    found = Correction(TABLES, seen(60), 0.8)
    levels = draw(100, 2)
    loss = PREDICTOR.at(levels).loss
    accuracy, _ = found.accuracy(levels, loss)
    assert spearmanr(found.divergence(levels, loss)[0], accuracy).statistic < -0.95
    assert np.abs(accuracy - (0.8 - 0.3 * truth(levels))).mean() < 0.05


def test_the_spread_covers_what_is_missed_and_shrinks_with_what_is_known() -> None:
    levels, spreads = draw(200, 3), []
    loss = PREDICTOR.at(levels).loss
    for count in (8, 80):
        accuracy, spread = Correction(TABLES, seen(count), 0.8).accuracy(levels, loss)
        missed = np.abs(accuracy - (0.8 - 0.3 * truth(levels)))
        assert (missed <= 3 * spread).mean() > 0.9
        spreads.append(float(spread.mean()))
    assert spreads[1] < spreads[0]


def test_a_hopeless_model_is_as_unlikely_as_its_divergence_says() -> None:
    """The chance of usefulness is that of the logarithm of the divergence, not that of the loss."""
    levels = np.array([[3, 3, 3, 3, 3, 3, 0], [0, 0, 1, 0, 0, 0, 0]])
    loss = PREDICTOR.at(levels).loss
    found = Correction(TABLES, seen(20), 0.8, 0.79)
    divergence, deviation = found.divergence(levels, loss)
    accuracy, spread = found.alone(levels, loss)
    # The loss is 0.3 times the divergence: 0.01 is lost at a thirtieth of a nat.
    distance = np.log(divergence[0] / (0.01 / 0.3)) / deviation[0]
    assert distance > 2 and (0.79 - accuracy[0]) / spread[0] == pytest.approx(distance, rel=0.05)
    assert accuracy[1] > 0.79 and spread[1] == pytest.approx(0.3 * divergence[1] * deviation[1], abs=0.005)


def test_a_study_without_accuracy_is_corrected_in_its_divergence() -> None:
    told = seen(30)
    blind = Correction(TABLES, Seen(told.levels, told.divergence, np.full(30, np.nan)), 1.0)
    levels = draw(20, 1)
    loss = PREDICTOR.at(levels).loss
    knowing = Correction(TABLES, told, 0.8)
    assert blind.divergence(levels, loss)[0] == pytest.approx(knowing.divergence(levels, loss)[0])
    assert np.isfinite(blind.accuracy(levels, loss)).all()


def test_agreement() -> None:
    measured = np.array([0.3, 0.5, 0.7, 0.9, 1.0])
    assert affine((measured - 0.1) / 0.8, measured) == pytest.approx((0.1, 0.8))
    pairs = [(float(n), float(n) ** 2) for n in range(6)]
    constant = [(1.0, float(n)) for n in range(6)]
    assert rank_correlations({"size": pairs, "latency": constant, "accuracy": pairs[:3]}) == {"size": pytest.approx(1)}


def test_few_recovered_models_leave_no_hope_without_end() -> None:
    """Seen in a real search: far from all that was recovered the deviation grew to nine, the accuracy beyond dense."""
    levels = draw(120, 3)
    levels[:, 6] = 0
    levels[:5, :6] = np.minimum(levels[:5, :6], 1)
    levels[:5, 6] = 1
    noise = np.random.default_rng(4).lognormal(0, 0.2, len(levels))
    divergence = truth(levels) * noise
    correction = Correction(TABLES, Seen(levels, divergence, 0.8 - 0.3 * divergence), 0.8, 0.77)
    hard, mild = np.array([[3, 3, 3, 3, 3, 3, 1]]), levels[:1]
    losses = [PREDICTOR.at(rows).loss for rows in (hard, mild)]
    (expected,), (deviation,) = correction.divergence(hard, losses[0])
    assert deviation <= 1 and abs(np.log(expected / truth(hard)[0])) < 1
    assert correction.accuracy(hard, losses[0])[0][0] < correction.accuracy(mild, losses[1])[0][0] <= 0.8
