from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from slimfront.search.prediction import Tables
from slimfront.search.prediction.frontier import frontier
from slimfront.search.prediction.tables import Term
from slimfront.spaces.domain import Domain

from tests.search.prediction_of import predictor_of

DOMAINS = {f"bits/{number}": Domain((16, 8, 4, 2)) for number in range(3)} | {"distillation/steps": Domain((0, 40))}
PREDICTOR = predictor_of(DOMAINS, steps="distillation/steps")
EVERY = np.array(list(itertools.product(range(4), range(4), range(4), range(2))))


def test_sums_are_those_of_the_terms() -> None:
    found = PREDICTOR.predict([{"bits/0": 16, "bits/1": 4, "bits/2": 2, "distillation/steps": 40}])
    assert found.size.tolist() == [22] and found.latency.tolist() == pytest.approx([11 / 24])
    single = np.array([2.0**-16, 2 * 2.0**-4, 4 * 2.0**-2])
    assert found.loss.tolist() == pytest.approx([(single**0.7).sum() ** (1 / 0.7)])
    assert (
        PREDICTOR.tables.steps.at(PREDICTOR.tables.levels([dict.fromkeys(DOMAINS, 16) | {"distillation/steps": 40}]))
        == 40
    )


def test_a_request_of_more_tokens_takes_as_much_longer() -> None:
    stretched = replace(PREDICTOR.tables, stretch=Term((0,), np.array([1.0, 1.0, 1.1, 1.5])))
    again = Tables.from_json(json.loads(json.dumps(stretched.to_json())))
    plain = PREDICTOR.tables.times(EVERY, ["f32"] * len(EVERY))
    assert np.allclose(again.times(EVERY, ["f32"] * len(EVERY)), plain * np.array([1.0, 1.0, 1.1, 1.5])[EVERY[:, 0]])


def test_tables_survive_json() -> None:
    again = Tables.from_json(json.loads(json.dumps(PREDICTOR.tables.to_json())))
    assert again.to_json() == PREDICTOR.tables.to_json()
    assert again.sizes(EVERY).tolist() == PREDICTOR.tables.sizes(EVERY).tolist()


def test_a_line_through_whole_models_is_found_and_its_error_told() -> None:
    names = list(DOMAINS)
    rows = [[16, 16, 16, 0], [8, 8, 8, 0], [4, 4, 4, 0], [2, 4, 8, 0], [16, 2, 2, 0]]
    probes = [(dict(zip(names, row, strict=True)), 0.2 + 0.7 * sum(row[:3]) / 48) for row in rows]
    exact = PREDICTOR.calibrated(probes)
    assert exact.line == pytest.approx((0.2, 0.7)) and exact.spread == pytest.approx(0, abs=1e-9)
    off = PREDICTOR.calibrated([(values, ratio * (1.1 if n % 2 else 0.9)) for n, (values, ratio) in enumerate(probes)])
    assert 0.05 < off.spread < 0.12
    assert PREDICTOR.calibrated(probes[:3]).line == (0.0, 1.0)


def test_the_frontier_holds_what_is_best_for_some_weights() -> None:
    """Against all 64 points: nothing on the frontier is dominated, and it reaches both ends."""
    found = frontier(PREDICTOR)
    plain = found[found[:, 3] == 0]
    told, every = PREDICTOR.at(plain), PREDICTOR.at(EVERY[EVERY[:, 3] == 0])
    for size, loss in zip(told.size, told.loss, strict=True):
        assert not ((every.size <= size) & (every.loss < loss - 1e-12)).any()
    assert told.size.max() == 48 and told.size.min() <= 16
    assert len(np.unique(plain, axis=0)) == len(plain) > 5
    assert sorted(found[found[:, 3] == 1][:, :3].tolist()) == sorted(plain[:, :3].tolist())
