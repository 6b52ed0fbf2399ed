"""Forecasts of accuracy: exact once all is read, honest about their error before, sharper with earlier trials."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student
from slimfront.search.forecast import Floats, Forecaster, Ints, _density, margins, stratified_mean

TOTAL = 500


def population(seed: int, classes: int = 2) -> tuple[Floats, Ints, np.random.Generator]:
    """Return the margins of a dense model that is right about four times in five, and labels."""
    rng = np.random.default_rng(seed)
    return rng.normal(1.5, 1.8, TOTAL), rng.integers(classes, size=TOTAL), rng


@given(st.integers(2, 5), st.integers(0, 2**31))
def test_a_margin_is_positive_exactly_where_the_label_is_predicted(classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(40, classes)).astype(np.float32), rng.integers(classes, size=40)
    found = margins(logits, labels)
    assert ((found > 0) == (logits.argmax(axis=1) == labels)).all()
    assert np.allclose(margins(logits + 3.0, labels), found, atol=1e-5)


@given(st.floats(1, 1e5), st.floats(-50, 50))
def test_the_density_is_that_of_student(freedom: float, place: float) -> None:
    expected = float(student.pdf(place, freedom))
    assert _density(np.array([place]), freedom)[0] == pytest.approx(expected, rel=1e-7, abs=1e-300)


@pytest.mark.parametrize("count", [1, 2, 5, 400])
def test_the_chances_of_what_was_not_read_are_those_of_student(count: int) -> None:
    """With few sentences its tails are heavy: a normal law would be too sure."""
    dense, labels, rng = population(3)
    own, seen = 0.6 * dense + rng.normal(0, 1.0, TOTAL), rng.permutation(TOTAL)[:count]
    forecaster = Forecaster(dense, labels)
    features, rows = forecaster._features, forecaster._features[seen]
    weights, inverse, freedom, scale = forecaster._fit(rows, own[seen])
    spread = scale * np.sqrt(1 + np.einsum("ij,jk,ik->i", features, inverse, features))
    expected = student.cdf(features @ weights / spread, freedom)
    expected[seen] = own[seen] > 0
    found = forecaster.forecast(seen, own[seen], own[seen] > 0)
    assert found.chances == pytest.approx(expected, abs=1e-12) and found.mean == pytest.approx(expected.mean())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.05, 3.0))
def test_a_forecast_of_everything_is_the_truth(seed: int, scatter: float) -> None:
    dense, labels, rng = population(seed)
    own = 0.6 * dense + rng.normal(0, scatter, TOTAL)
    found = Forecaster(dense, labels).forecast(np.arange(TOTAL), own, own > 0)
    assert found.mean == pytest.approx((own > 0).mean()) and found.deviation == 0


@pytest.mark.parametrize(("scatter", "lean"), [(0.3, 0.0), (1.0, 0.0), (1.0, 0.2), (2.0, -0.3)])
def test_errors_are_as_large_as_stated_and_never_lean_to_dropping_good_candidates(scatter: float, lean: float) -> None:
    scores = []
    for seed in range(300):
        dense, labels, rng = population(seed)
        own = 0.7 * dense + lean * (2 * labels - 1) + rng.normal(0, scatter, TOTAL)
        seen = rng.permutation(TOTAL)[:60]
        found = Forecaster(dense, labels).forecast(seen, own[seen], own[seen] > 0)
        scores.append(((own > 0).mean() - found.mean) / found.deviation)
    assert np.mean(scores) < 0.25 and 0.6 < np.std(scores) < 1.25
    assert np.mean(np.array(scores) > 2.5) < 0.02


def test_margins_tell_more_than_right_and_wrong() -> None:
    errors, plain = [], []
    for seed in range(200):
        dense, labels, rng = population(seed)
        own = 0.7 * dense + rng.normal(0, 0.7, TOTAL)
        seen = rng.permutation(TOTAL)[:60]
        found = Forecaster(dense, labels).forecast(seen, own[seen], own[seen] > 0)
        errors.append(found.mean - (own > 0).mean())
        plain.append((own[seen] > 0).mean() - (own > 0).mean())
    assert np.std(errors) < 0.5 * np.std(plain)


def test_trials_that_err_alike_make_the_forecast_sharper() -> None:
    alone, helped = [], []
    for seed in range(100):
        dense, labels, rng = population(seed)
        shared = rng.normal(0, 1, (3, TOTAL))
        others = [0.7 * dense + rng.normal(0, 1, 3) @ shared + rng.normal(0, 0.2, TOTAL) for _ in range(8)]
        own = 0.7 * dense + rng.normal(0, 1, 3) @ shared + rng.normal(0, 0.2, TOTAL)
        seen = rng.permutation(TOTAL)[:100]
        for kept, known in ((alone, []), (helped, others)):
            found = Forecaster(dense, labels, known).forecast(seen, own[seen], own[seen] > 0)
            kept.append(((own > 0).mean() - found.mean, found.deviation))
    assert np.std(helped, axis=0)[0] < 0.7 * np.std(alone, axis=0)[0]
    assert np.mean(helped, axis=0)[1] < 0.7 * np.mean(alone, axis=0)[1]


@pytest.mark.parametrize("own", [np.zeros(TOTAL), np.full(TOTAL, 2.0), np.full(TOTAL, -1e9)])
def test_candidates_without_scatter_are_forecast_too(own: Floats) -> None:
    dense, labels, _ = population(0)
    found = Forecaster(dense, labels).forecast(np.arange(50), own[:50], own[:50] > 0)
    assert 0 <= found.mean <= 1 and np.isfinite(found.deviation)


def test_a_candidate_that_repeats_the_dense_model_is_known_at_once() -> None:
    dense, labels, _ = population(0)
    same = Forecaster(dense, labels).forecast(np.arange(50), dense[:50], dense[:50] > 0)
    assert same.mean == pytest.approx((dense > 0).mean(), abs=0.01) and same.deviation < 0.01
    # Trials that repeat it tell nothing more, and nothing about nothing is no error.
    again = Forecaster(dense, labels, [0.7 * dense, dense]).forecast(np.arange(50), dense[:50], dense[:50] > 0)
    assert (again.mean, again.deviation) == (same.mean, same.deviation)
    nothing = Forecaster(np.zeros(TOTAL), labels, [np.zeros(TOTAL)]).forecast(np.arange(50), dense[:50], dense[:50] > 0)
    assert np.isfinite(nothing.deviation)


def test_a_mean_over_chosen_sentences_is_weighted_back() -> None:
    rng = np.random.default_rng(0)
    sort_by = rng.random(800)
    values = sort_by**2 + rng.normal(0, 0.01, 800)
    # The lower half is read wholly, of the upper half every tenth sentence.
    seen = np.flatnonzero((sort_by < 0.5) | (rng.random(800) < 0.1))
    assert abs(values[seen].mean() - values.mean()) > 0.1
    assert stratified_mean(values[seen], seen, sort_by) == pytest.approx(values.mean(), abs=0.02)
    everything = rng.permutation(800)
    assert stratified_mean(values[everything], everything, sort_by) == pytest.approx(values.mean())
    assert stratified_mean(values[:1], np.array([0]), sort_by) == pytest.approx(values[0])
