"""Generations over a history, for Optuna's genetic samplers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import optuna
from slimfront.search.samplers.sampler import Observation, Problem
from slimfront.search.samplers.through_optuna import OptunaSampler


class GeneticSampler(OptunaSampler):
    """Parents survive from the parents before them and one generation of trials, the next in the order of the history.

    Only those two groups are ever shown to Optuna, whatever the length of the history.
    """

    population: ClassVar[int] = 20

    def __init__(self) -> None:
        super().__init__()
        self._generations: list[tuple[list[Observation], list[Observation]]] = []

    def relevant(self, problem: Problem, history: Sequence[Observation]) -> Sequence[Observation]:
        """Return the last complete generation and the parents before it; none while the first one is incomplete."""
        pool: list[Observation] = []
        parents: list[Observation] = []
        for number in range(len(history) // self.population):
            members = list(history[number * self.population : (number + 1) * self.population])
            pool = [*parents, *members]
            if number >= len(self._generations) or self._generations[number][0] != members:
                del self._generations[number:]
                self._generations.append((members, self._survivors(problem, pool)))
            parents = self._generations[number][1]
        return pool

    def _survivors(self, problem: Problem, pool: Sequence[Observation]) -> list[Observation]:
        chosen = self._select(super().study(problem, pool), len(self._generations))
        # The first trial of the study is the one that is asked for.
        return [pool[trial.number - 1] for trial in chosen]

    def extends(self, told: Sequence[Observation], observations: Sequence[Observation]) -> bool:
        """Return whether the pools are the same: parents are chosen once for a study."""
        return list(told) == list(observations)

    def study(self, problem: Problem, observations: Sequence[Observation]) -> optuna.Study:
        """Return the study of a pool in which the parents are chosen already, and not by the next trial's seed."""
        study = super().study(problem, observations)
        if observations:
            self._select(study, len(self._generations) - 1)
        return study

    def _select(self, study: optuna.Study, seed: int) -> list[optuna.trial.FrozenTrial]:
        sampler = self.make(seed)
        assert isinstance(sampler, optuna.samplers.BaseGASampler)
        # Optuna remembers the answer in the study.
        return sampler.get_parent_population(study, 1)
