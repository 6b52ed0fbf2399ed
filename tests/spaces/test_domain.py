"""The two converters must describe the same space."""

from __future__ import annotations

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slimfront.spaces.domain import Domain, check_values, to_optuna, to_ray
from slimfront.studies.errors import StudyError

domains = st.dictionaries(
    st.text("abc/.", min_size=1, max_size=6),
    st.lists(st.integers(0, 64), min_size=1, max_size=6, unique=True).map(lambda v: Domain(tuple(v))),
    min_size=1,
    max_size=5,
)


@settings(deadline=None)
@given(domains)
def test_optuna_and_ray_offer_the_same_values(space: dict[str, Domain]) -> None:
    distributions, param_space = to_optuna(space), to_ray(space)
    assert list(distributions) == list(param_space) == list(space)
    for name, domain in space.items():
        distribution = distributions[name]
        assert isinstance(distribution, optuna.distributions.CategoricalDistribution)
        assert tuple(distribution.choices) == tuple(param_space[name].categories) == domain.values


def test_samples_of_both_are_points_of_the_space() -> None:
    space = {"bits/x": Domain((8, 4)), "precision/inference": Domain(("f32", "bf16"), ordered=False)}
    param_space = to_ray(space)
    seen = set()
    for _ in range(40):
        values = {name: domain.sample() for name, domain in param_space.items()}
        check_values(space, values, "x")
        seen.add(tuple(values.values()))
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask(to_optuna(space))
    check_values(space, trial.params, "x")
    assert len(seen) == 4


def test_checks() -> None:
    space = {"bits/x": Domain((8, 4))}
    for values in ({}, {"bits/x": 5}, {"bits/x": 8, "bits/y": 8}):
        with pytest.raises(StudyError):
            check_values(space, values, "configuration")
    with pytest.raises(ValueError, match="distinct"):
        Domain((1, 1))
    assert Domain((8, 4, 2)).neighbours(8) == (4,) and Domain((8, 4, 2)).neighbours(4) == (8, 2)
