"""The samplers' contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from slimfront.search.box import Box
from slimfront.search.prediction import Predictor
from slimfront.spaces.domain import Domain, Value
from slimfront.studies.registry import Registry


@dataclass(frozen=True, slots=True)
class Observation:
    """A finished trial as the samplers see it.

    Attributes:
        values: The configuration.
        objectives: One finite number per objective, repeatable.
        violations: By how much each constraint is broken; zero or less where it is kept.
        divergence: KL divergence of the dense model's predictions from its own, in nats, where it is known.
    """

    values: Mapping[str, Value]
    objectives: tuple[float, ...]
    violations: Mapping[str, float]
    divergence: float | None = None

    @property
    def feasible(self) -> bool:
        """Whether all constraints are kept."""
        return all(violation <= 0 for violation in self.violations.values())


@dataclass(frozen=True)
class Problem:
    """What is searched.

    Attributes:
        domains: What may be chosen.
        directions: ``minimize`` or ``maximize`` by objective.
        box: What the hypervolume is measured in, in the observations' units, once the dense model was measured.
        predictor: Predicts what a configuration will measure, or None.
        step_price: What a step of recovery costs, as a share of a trial without recovery.
        fixed: Values of parameters that every suggestion is given in the end, whatever it says.
        qualities: Objectives that fall as the divergence from the dense model grows.
        proxies: What is predicted in place of an objective that is not predicted itself, by objective.
        fresh: Tells whether no configuration of the same effect was started yet.
    """

    domains: Mapping[str, Domain]
    directions: Mapping[str, str]
    box: Box | None = None
    predictor: Predictor | None = field(default=None, repr=False)
    step_price: float = 0.0
    fixed: Mapping[str, Value] = field(default_factory=dict)
    qualities: tuple[str, ...] = ("accuracy",)
    proxies: Mapping[str, str] = field(default_factory=dict)
    fresh: Callable[[Mapping[str, Value]], bool] = field(default=lambda _values: True, repr=False)


class Sampler(ABC):
    """Suggests a configuration from the history alone: a resumed search suggests what an undisturbed one would.

    What an instance remembers between two suggestions may save time, but must not change the second.

    Attributes:
        plans: Whether it begins along the predicted front by itself.
    """

    plans: ClassVar[bool] = False

    @abstractmethod
    def suggest(self, problem: Problem, history: Sequence[Observation], seed: int) -> dict[str, Value]:
        """Return a value for every parameter.

        Args:
            problem: What is searched.
            history: Finished trials in the order of their numbers; the same objects in every call.
            seed: All randomness comes from it.
        """


SAMPLERS: Registry[Sampler] = Registry("sampler", "slimfront.search.samplers")
