"""The samplers' contract, and Optuna's samplers under it."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from slimfront.spaces.domain import Domain, Value, to_optuna
from slimfront.studies.registry import Registry

DIRECTIONS = {
    "minimize": optuna.study.StudyDirection.MINIMIZE,
    "maximize": optuna.study.StudyDirection.MAXIMIZE,
}


@dataclass(frozen=True)
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


class Sampler(ABC):
    """Suggests a configuration from the history alone: a resumed search suggests what an undisturbed one would."""

    @abstractmethod
    def suggest(
        self,
        domains: Mapping[str, Domain],
        directions: Sequence[str],
        history: Sequence[Observation],
        seed: int,
    ) -> dict[str, Value]:
        """Return a value for every parameter.

        Args:
            domains: What may be chosen.
            directions: ``minimize`` or ``maximize`` per objective.
            history: Finished trials in the order of their numbers.
            seed: All randomness comes from it.
        """


class OptunaSampler(Sampler):
    """An Optuna sampler that is given the whole history anew for each suggestion."""

    @abstractmethod
    def make(self, seed: int) -> optuna.samplers.BaseSampler:
        """Return the Optuna sampler."""

    def suggest(
        self,
        domains: Mapping[str, Domain],
        directions: Sequence[str],
        history: Sequence[Observation],
        seed: int,
    ) -> dict[str, Value]:
        """See :meth:`Sampler.suggest`."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = self.make(seed)
        distributions = to_optuna(domains)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = optuna.create_study(directions=[DIRECTIONS[d] for d in directions], sampler=sampler)
            for position, seen in enumerate(history):
                study.add_trial(
                    optuna.trial.create_trial(
                        values=list(seen.objectives),
                        params=dict(seen.values),
                        distributions=distributions,
                        constraints=dict(seen.violations) or None,
                        system_attrs=self._generation(sampler, position),
                    )
                )
            trial = study.ask(distributions)
        return {name: trial.params[name] for name in domains}

    @staticmethod
    def _generation(sampler: optuna.samplers.BaseSampler, position: int) -> dict[str, int]:
        """Number the generations in the order of the history: Optuna numbers a trial only while it asks for it."""
        if not isinstance(sampler, optuna.samplers.BaseGASampler) or not sampler.population_size:
            return {}
        return {sampler._get_generation_key(): position // sampler.population_size}


SAMPLERS: Registry[Sampler] = Registry("sampler", "slimfront.search.samplers")
