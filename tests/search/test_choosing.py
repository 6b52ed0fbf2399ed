from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from slimfront.search.choosing import Chooser
from slimfront.search.ledger import Ledger
from slimfront.search.prediction import Predictor
from slimfront.search.racing import Bar
from slimfront.search.samplers import SAMPLERS
from slimfront.search.samplers.random import Random
from slimfront.search.trial import Trial
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.space import Space
from slimfront.spaces.structure import walk
from slimfront.studies.compressed import Capabilities
from slimfront.studies.limits import Limit, parse_limit
from slimfront.studies.reader import parse_study
from slimfront.studies.space import BitsSpec, DistillationSpec, SpaceSpec

from tests.conftest import example_inputs, make_encoder
from tests.search.prediction_of import predictor_of
from tests.search.test_coordinator import OBJECTIVES

SPACE = Space(
    SpaceSpec(bits=BitsSpec(levels=(4, 8, 32), granularity="role")),
    walk(make_encoder("bert"), example_inputs()),
    Capabilities((4, 8, 32), (64, 32), ("f32",)),
)
PREDICTOR = predictor_of(SPACE.domains, scale=1e-3)
LADDER = Space(
    SpaceSpec(bits=BitsSpec(levels=(4, 8, 32), granularity="role"), distillation=DistillationSpec(steps=(0, 10, 30))),
    walk(make_encoder("bert"), example_inputs()),
    Capabilities((4, 8, 32), (64, 32), ("f32",)),
)
BOUND = {"accuracy": parse_limit("accuracy", ">= dense - 0.03", "fraction", "x")}


def trial(number: int, configuration: Configuration, accuracy: float, kind: str = "sampled") -> Trial:
    told = PREDICTOR.predict([configuration])
    values = {"size": float(told.size[0]), "latency": float(told.latency[0]), "accuracy": accuracy}
    measured = {n: {"value": v * (5 if n == "latency" else 1), "unit": "", "steer": v} for n, v in values.items()}
    details = {"divergence": float(told.loss[0]), "sentences": 1000}
    violations = {"accuracy": 0.77 - accuracy}
    return Trial(number, "complete", configuration, kind, 0, measured, {}, violations, None, None, 1, details)


@pytest.fixture
def make(study_data: Callable[..., dict[str, Any]]) -> Callable[..., tuple[Chooser, Ledger]]:
    def build(
        predictor: Predictor | None = PREDICTOR, limits: dict[str, Limit] | None = None, **search: Any
    ) -> tuple[Chooser, Ledger]:
        study, limits = parse_study(study_data("bert", **search)), BOUND if limits is None else limits
        ledger = Ledger(OBJECTIVES, [], limits)
        sampler = SAMPLERS.get(study.search.sampler, where="x")()
        return Chooser(study, SPACE, sampler, limits, ledger, OBJECTIVES, predictor), ledger

    return build


Make = Callable[..., tuple[Chooser, Ledger]]


def uniform_trials(ledger: Ledger) -> None:
    for number, configuration in enumerate(SPACE.uniform()):
        ledger.put(trial(number, configuration, 0.8 - 0.01 * number, "uniform" if number else "dense"))


def test_dense_and_uniform_come_first_then_what_is_predicted_to_gain(make: Make) -> None:
    chooser, ledger = make(predicted=3)
    kinds = []
    for number in range(len(SPACE.uniform()) + 6):
        choice = chooser.next()
        assert choice is not None
        kinds.append(choice.kind)
        loss = float(PREDICTOR.predict([choice.configuration]).loss[0])
        ledger.put(trial(number, choice.configuration, 0.8 - 0.05 * loss**0.5, choice.kind))
    uniform = len(SPACE.uniform())
    assert kinds[:uniform] == ["dense", *["uniform"] * (uniform - 1)]
    assert 1 <= kinds[uniform:].count("predicted") <= 3 and set(kinds[uniform:]) <= {"predicted", "sampled"}


def test_without_a_predictor_nothing_is_predicted_or_raced(make: Make) -> None:
    chooser, ledger = make(None)
    uniform_trials(ledger)
    choice = chooser.next()
    assert choice is not None and choice.kind == "sampled"
    assert chooser.predicted(choice.configuration) is None


def test_the_bar_is_the_best_that_is_surely_no_larger_and_no_slower_or_the_constraint(make: Make) -> None:
    chooser, ledger = make()
    uniform_trials(ledger)
    eight = next(c for c in SPACE.uniform() if set(c.values()) == {8})
    told = chooser.predicted(eight)
    assert told is not None
    small = next(t for t in ledger.front if set(t.configuration.values()) == {4})
    # Larger and slower than the 4-bit model, which is measured: that one, as it is above the constraint.
    bar = chooser.bar(eight, {**told, "size": small.steer("size") + 1, "latency": small.steer("latency") * 2})
    assert bar == Bar(small.number, small.value("accuracy"))
    # Nobody is smaller than the smallest: only the constraint is left.
    assert chooser.bar(eight, {**told, "size": 1, "latency": 9.0}) == Bar(0, pytest.approx(0.77))


def test_the_bar_does_not_depend_on_the_clock_and_ceilings_are_no_floors(make: Make) -> None:
    chooser, ledger = make(limits={"accuracy": parse_limit("accuracy", "<= 0.9", "fraction", "x")})
    uniform_trials(ledger)
    small = next(t for t in ledger.front if set(t.configuration.values()) == {4})
    larger = {"size": small.steer("size") + 1, "latency": small.steer("latency") * 2}
    before = chooser.bar(small.configuration, larger)
    assert before is not None and before.trial == small.number
    assert chooser.bar(small.configuration, {"size": 1, "latency": 9.0}) is None
    # Another model seems better on the clock only: the front loses its member, the bar does not.
    other = SPACE.uniform()[-1].replace(**{next(iter(SPACE.domains)): 8})
    values = {name: small.value(name) for name in ("size", "latency", "accuracy")}
    measured = {n: {"value": v * 0.99, "unit": "", "steer": small.steer(n) * 1.5} for n, v in values.items()}
    measured["accuracy"] = {"value": values["accuracy"] + 0.01, "unit": "", "steer": values["accuracy"] + 0.01}
    ledger.put(Trial(99, "complete", other, "sampled", 0, measured, {}, {}, None, None, 1, {}))
    assert small.number not in {t.number for t in ledger.front}
    assert chooser.bar(small.configuration, {**larger, "size": small.steer("size") * 1.2}) == before


def test_a_latency_within_the_predictions_error_is_no_reason_to_stop(make: Make) -> None:
    tables = replace(PREDICTOR.tables, spread=0.1)
    chooser, ledger = make(Predictor(tables, *_rest()), limits={})
    uniform_trials(ledger)
    small = min(ledger.front, key=lambda t: t.steer("size"))
    near = {"size": small.steer("size") + 1, "latency": small.steer("latency") * 1.05}
    own = small.configuration
    assert chooser.bar(own, near) is None and chooser.bar(own, {**near, "latency": near["latency"] * 1.3})


@pytest.mark.parametrize(("state", "packed", "raced"), [("complete", 0, 1), ("stopped", 0, 0), ("complete", 1, 0)])
def test_what_goes_on_must_become_better_than_it_was(
    study_data: Callable[..., dict[str, Any]], state: str, packed: int, raced: int
) -> None:
    """Its files are as large and as fast as before; how well they pack depends on what was trained."""
    objectives = OBJECTIVES | ({"download": OBJECTIVES["size"]} if packed else {})
    ledger, told = Ledger(objectives, []), {"size": 10.0, "latency": 5.0, "download": 8.0}
    predictor = Predictor(replace(PREDICTOR.tables, spread=0.1), *_rest())
    study = parse_study(study_data("bert", reduction_factor=2))
    chooser = Chooser(study, LADDER, Random(), {}, ledger, objectives, predictor)
    before = LADDER.canonical({name: domain.values[0] for name, domain in LADDER.domains.items()})
    for number, (configuration, factor, accuracy) in enumerate(((LADDER.dense(), 9.0, 0.8), (before, 1.0, 0.7))):
        values = {**{name: value * factor for name, value in told.items()}, "accuracy": accuracy}
        measured = {name: {"value": value, "unit": "", "steer": value} for name, value in values.items()}
        kind, end = ("sampled", state) if number else ("dense", "complete")
        ledger.put(Trial(number, end, configuration, kind, 0, measured, {}, {}, None, None, 1, {}))
    gone = LADDER.canonical({**before, "distillation/steps": 30})
    assert gone != before
    assert chooser.bar(gone, told) == (Bar(1, 0.7) if raced else None)


def _rest() -> tuple[Any, ...]:
    from tests.search.prediction_of import OneMode

    return OneMode(), ("f32",), SPACE.dense()


def test_no_race_without_an_error_bound_or_without_accuracy(make: Make) -> None:
    chooser, ledger = make(delta=0)
    uniform_trials(ledger)
    own = SPACE.uniform()[1]
    told = chooser.predicted(own)
    assert told is not None and chooser.bar(own, told) is None


def test_what_is_expected_is_corrected_by_the_trials(make: Make) -> None:
    chooser, ledger = make()
    uniform_trials(ledger)
    told = chooser.expected(SPACE.uniform()[-1])
    assert told is not None and set(told) == {"size", "latency", "loss", "divergence", "accuracy"}
    assert 0.7 < told["accuracy"] < 0.8
