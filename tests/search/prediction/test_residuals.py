from __future__ import annotations

import numpy as np
import pytest
from slimfront.search.prediction.residuals import NUGGET, ResidualProcess
from slimfront.spaces.domain import Domain

from tests.search.prediction_of import predictor_of

DOMAINS = {f"bits/{number}": Domain((16, 8, 6, 4)) for number in range(6)} | {"distillation/steps": Domain((0, 40))}
TABLES = predictor_of(DOMAINS, steps="distillation/steps").tables
LUCKY, PLAIN = [3, 3, 3, 3, 3, 3, 0], [1, 1, 1, 1, 1, 1, 0]
KNOWN = ResidualProcess(TABLES, np.array([LUCKY, PLAIN]), np.array([0.02, 0.0]), np.array([0.01, 0.01]))


def posterior(*levels: int) -> tuple[float, float]:
    change, left = KNOWN.posterior(np.array([levels]), np.array([0.01]))
    return float(change[0]), float(left[0])


def test_what_was_measured_is_known() -> None:
    change, left = posterior(*LUCKY)
    assert change == pytest.approx(0.02, rel=NUGGET) and left == pytest.approx(0.01 * NUGGET**0.5, rel=0.05)


def test_the_more_alike_the_more_is_known() -> None:
    changes, doubts = zip(*(posterior(*LUCKY[:same], *PLAIN[same:]) for same in (6, 5, 3)), strict=True)
    assert changes[0] > changes[1] > changes[2] > 0 and doubts[0] < doubts[1] < doubts[2] < 0.01


def test_strangers_and_the_dense_model_are_left_alone() -> None:
    assert posterior(2, 2, 2, 2, 2, 2, 0) == pytest.approx((0.0, 0.01), abs=1e-9)
    assert posterior(0, 0, 0, 0, 0, 0, 0) == pytest.approx((0.0, 0.01), abs=1e-9)


def test_recovery_leaves_nothing_in_common_with_what_was_not_recovered() -> None:
    assert posterior(*LUCKY[:6], 1) == pytest.approx((0.0, 0.01), abs=1e-9)
