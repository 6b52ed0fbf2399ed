"""Optuna's samplers under our contract."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState
from slimfront.search.samplers.sampler import Observation, Problem, Sampler
from slimfront.spaces.domain import Value, to_optuna

DIRECTIONS = {
    "minimize": optuna.study.StudyDirection.MINIMIZE,
    "maximize": optuna.study.StudyDirection.MAXIMIZE,
}
Distributions = Mapping[str, optuna.distributions.BaseDistribution]


class OptunaSampler(Sampler):
    """An Optuna sampler that is made anew for each suggestion, beside a study of the trials that matter to it.

    The study grows with the history and is made again only when the trials that matter are others: telling Optuna
    thousands of trials for each suggestion would cost far more than the suggestion.
    """

    def __init__(self) -> None:
        self._told: list[Observation] = []
        self._storage = optuna.storages.InMemoryStorage()
        self._study: optuna.Study | None = None
        self._asked = -1
        self._problem: Problem | None = None
        self._distributions: Distributions = {}
        self._spaces: dict[bool, dict[str, optuna.distributions.BaseDistribution]] = {}

    @abstractmethod
    def make(self, seed: int) -> optuna.samplers.BaseSampler:
        """Return the Optuna sampler."""

    def relevant(self, problem: Problem, history: Sequence[Observation]) -> Sequence[Observation]:  # noqa: ARG002
        """Return the observations that the sampler is shown: a bounded number, or a suggestion's price would grow."""
        return history

    def suggest(self, problem: Problem, history: Sequence[Observation], seed: int) -> dict[str, Value]:
        """See :meth:`Sampler.suggest`."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = self.study(problem, self.relevant(problem, history))
            sampler = self.make(seed)
            asked = self._storage.get_trial(self._asked)
            found = sampler.sample_relative(study, asked, self._space(sampler, study, asked))
            for name, distribution in self._distributions.items():
                if name not in found:
                    found[name] = sampler.sample_independent(study, asked, name, distribution)
        return {name: found[name] for name in problem.domains}

    def _space(
        self, sampler: optuna.samplers.BaseSampler, study: optuna.Study, asked: FrozenTrial
    ) -> dict[str, optuna.distributions.BaseDistribution]:
        """Return what the sampler samples together.

        Optuna compares all parameters of all trials to find it; here each trial has them all, and one is enough.
        """
        informed = bool(self._told)
        if informed not in self._spaces:
            self._spaces[informed] = sampler.infer_relative_search_space(study, asked)
        return self._spaces[informed]

    def extends(self, told: Sequence[Observation], observations: Sequence[Observation]) -> bool:
        """Return whether a study that was told some observations can be told the others in addition."""
        return list(observations[: len(told)]) == told

    def study(self, problem: Problem, observations: Sequence[Observation]) -> optuna.Study:
        """Return a study that holds exactly these observations."""
        if self._study is None or problem is not self._problem or not self.extends(self._told, observations):
            if problem is not self._problem:
                self._problem, self._distributions, self._spaces = problem, to_optuna(problem.domains), {}
            self._told = []
            self._storage = optuna.storages.InMemoryStorage()
            directions = [DIRECTIONS[direction] for direction in problem.directions.values()]
            self._study = optuna.create_study(directions=directions, storage=self._storage)
            study = self._storage.get_study_id_from_name(self._study.study_name)
            self._asked = self._storage.create_new_trial(study, _running())
        for seen in observations[len(self._told) :]:
            self._study.add_trial(_frozen(seen, self._distributions))
            self._told.append(seen)
        # A study object remembers the trials that it has read once: look at the storage through another.
        return optuna.load_study(study_name=self._study.study_name, storage=self._storage)


def _frozen(seen: Observation, distributions: Distributions) -> FrozenTrial:
    return optuna.trial.create_trial(
        values=list(seen.objectives),
        params=dict(seen.values),
        distributions=dict(distributions),
        constraints=dict(seen.violations) or None,
        # All that a genetic sampler is shown are parents.
        system_attrs={kind._get_generation_key(): 0 for kind in GENETIC},
    )


GENETIC = (optuna.samplers.NSGAIISampler, optuna.samplers.NSGAIIISampler)


def _running() -> FrozenTrial:
    """Return the trial whose values are asked for, again and again, one generation after all that is shown."""
    system = {kind._get_generation_key(): 1 for kind in GENETIC}
    return optuna.trial.create_trial(state=TrialState.RUNNING, system_attrs=system)
