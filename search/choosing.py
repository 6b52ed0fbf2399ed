"""Decides which configuration comes next, and whom it runs against."""

from __future__ import annotations

import bisect
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from slimfront.objectives.objective import OBJECTIVES
from slimfront.objectives.sessions.session import reading_batch
from slimfront.search.box import Box
from slimfront.search.ledger import Ledger
from slimfront.search.prediction import Predictor
from slimfront.search.racing import Bar
from slimfront.search.rungs import Rungs
from slimfront.search.samplers import Observation, Problem, Sampler
from slimfront.search.samplers.evolution import Evolution
from slimfront.search.trial import Trial
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.space import Space
from slimfront.studies.limits import Limit
from slimfront.studies.schema import Study

Json = dict[str, Any]
# After so many duplicates in a row an unvisited neighbour is tried.
STREAK = 3
# What a sentence costs in training against one in evaluation, measured on the shipped study: forward and backward take
# three times a forward run, but batches, fixed embeddings and the smaller model halve it. Where the evaluation, too,
# reads several at once, these cost it less.
STEP, TOGETHER = 1.5, 1.8
# Largest relative error of a predicted download, of very small models.
PACKED = 0.12
# So many standard deviations of the predicted latency make a difference sure.
SURELY = 2.0


@dataclass(frozen=True)
class Choice:
    """A configuration and how it came about; see :class:`slimfront.search.records.Trial`."""

    configuration: Configuration
    kind: str


class Chooser:
    """Chooses from the ledger alone: a resumed search chooses what an undisturbed one would, until the end is near.

    Args:
        study: The study.
        space: Its space.
        sampler: Decides what comes after the uniform settings.
        limits: The study's constraints.
        ledger: All trials so far.
        objectives: Unit and direction by objective.
        predictor: Predicts what a configuration will measure, or None.

    Attributes:
        sampling: Whether all uniform settings were handed out.
    """

    def __init__(
        self,
        study: Study,
        space: Space,
        sampler: Sampler,
        limits: Mapping[str, Limit],
        ledger: Ledger,
        objectives: Mapping[str, Json],
        predictor: Predictor | None,
    ) -> None:
        self._study, self._space, self._sampler, self._limits = study, space, sampler, limits
        self._ledger, self._objectives, self._predictor = ledger, objectives, predictor
        known = {name: OBJECTIVES.get(name, where="objectives") for name in objectives}
        self._qualities = tuple(n for n, o in known.items() if o.on_examples and o.direction == "maximize")
        self._proxies = {name: objective.proxy for name, objective in known.items() if objective.proxy}
        self._rungs = Rungs(space, study.search.reduction_factor, objectives, self._qualities)
        dense, *uniform = space.uniform()
        self._uniform = list(dict.fromkeys([dense, *map(self._rungs.start, uniform)]))
        self._observed: list[int] = []
        self._history: list[Observation] = []
        self._problem: Problem | None = None
        # What it learnt for a suggestion serves for what is expected, too.
        self._scout = sampler if isinstance(sampler, Evolution) else Evolution()
        self.sampling = False

    def next(self, closing: bool = False) -> Choice | None:
        """Return the next configuration, or None when every point was visited.

        Args:
            closing: Whether the search is about to end.
        """
        for configuration in self._uniform:
            if not self._ledger.visited(configuration):
                return Choice(configuration, "uniform" if len(self._ledger) else "dense")
        self.sampling = True
        seed = self.seed(len(self._ledger))
        problem, history = self._posed(), self._observe()
        if not self._sampler.plans and self._ledger.kinds("predicted") < self._study.search.predicted:
            values = self._scout.along_the_front(problem, history)
            if values is not None:
                return Choice(self._rungs.start(values), "predicted")
        promoted = self._rungs.promotion(self._ledger, seed, closing)
        if promoted is not None:
            return Choice(promoted, "promoted")
        configuration = self._rungs.start(self._sampler.suggest(problem, history, seed))
        fresh = not self._ledger.visited(configuration)
        if fresh or (self._ledger.twin(configuration) and self._ledger.streak() < STREAK):
            return Choice(configuration, "sampled")
        found = self._unvisited(configuration, seed)
        return None if found is None else Choice(found, "neighbour")

    def seed(self, number: int) -> int:
        """Return the seed of a trial."""
        sequence = np.random.SeedSequence([self._study.search.seed, number])
        return int(sequence.generate_state(1)[0] % 2**31)

    def predicted(self, configuration: Configuration) -> Json | None:
        """Return bytes, latency relative to dense and divergence in nats that are predicted."""
        if self._predictor is None:
            return None
        found = self._predictor.predict([configuration])
        told = {"size": int(found.size[0]), "latency": float(found.latency[0]), "loss": float(found.loss[0])}
        told |= {"download": float(found.download[0])} if "download" in self._objectives else {}
        return told | {name: told[proxy] for name, proxy in self._proxies.items()}

    def expected(self, configuration: Configuration) -> Json | None:
        """Return what is predicted, with divergence and accuracy as corrected by the trials so far."""
        told = self.predicted(configuration)
        if told is None or self._ledger.dense is None:
            return told
        return told | self._scout.expected(self._posed(), self._observe(), configuration)

    def bar(self, configuration: Configuration, predicted: Json) -> Bar | None:
        """Return what a candidate's accuracy must reach to be of any use, or None where everything is.

        The accuracy of the most accurate trial that is surely no larger and no slower, and the constraint on the
        accuracy: the higher of the two. Trials are compared by what is repeatable, never by the clock; what went on
        from a lower rung is as large and as fast as it was there, whatever stands in for that, but may pack otherwise.

        Args:
            configuration: The candidate's.
            predicted: What is predicted of it.
        """
        dense = self._ledger.dense
        others = [name for name in self._objectives if name != "accuracy"]
        if dense is None or not self._study.search.delta or len(others) == len(self._objectives):
            return None
        if any(name not in predicted for name in others):
            return None
        # Sizes are exact; a latency must be predicted to be longer by far more than the prediction's usual error.
        spread = self._predictor.tables.spread if self._predictor else 0.0
        surely = {"latency": 1 - SURELY * spread, "download": 1 - PACKED}
        # What another objective only stands in for is never sure.
        surely |= dict.fromkeys(self._proxies, 0.0)
        bounds = {name: predicted[name] * surely.get(name, 1.0) for name in others}
        better = [t for t in self._ledger.steering if all(t.steer(name) <= bounds[name] for name in others)]
        if "download" not in others:
            before = map(self._ledger.twin, self._rungs.below(configuration))
            better += [t for t in before if t is not None and t.state == "complete"]
        found = [Bar(trial.number, trial.value("accuracy")) for trial in better]
        limit = self._limits.get("accuracy")
        if limit is not None and not limit.upper:
            base = {name: dense.value(name) for name in self._objectives}
            found.append(Bar(dense.number, limit.bound(base)))
        return max(found, key=lambda bar: (bar.accuracy, -bar.trial), default=None)

    def _unvisited(self, start: Configuration, seed: int) -> Configuration | None:
        """Return a configuration nearest to ``start`` that was not visited, ties broken at random."""
        rng = random.Random(seed)
        seen, ring = {start}, [start]
        while ring:
            grown: list[Configuration] = []
            rng.shuffle(ring)
            for point in ring:
                near = dict.fromkeys(self._rungs.start(other) for other in self._space.neighbours(point))
                fresh = [other for other in near if other not in seen]
                unvisited = [other for other in fresh if not self._ledger.visited(other)]
                if unvisited:
                    return rng.choice(unvisited)
                seen.update(fresh)
                grown += fresh
            ring = grown
        return None

    def _posed(self) -> Problem:
        """Return what is searched, once the dense model was measured."""
        dense = self._ledger.dense
        if self._problem is None:
            assert dense is not None
            box = Box.of(self._objectives, *self._in_steering_units(dense))
            spec, sentences = self._study.space.distillation, int(dense.details.get("sentences", 0))
            self._problem = Problem(
                domains=self._space.domains,
                directions={name: str(entry["direction"]) for name, entry in self._objectives.items()},
                box=box,
                predictor=self._predictor,
                # In rungs a configuration costs no steps until it has shown that it is worth them.
                step_price=self._step * spec.batch / sentences if spec and sentences and not self._rungs else 0.0,
                fixed=self._space.fixed,
                qualities=self._qualities,
                proxies=self._proxies,
                fresh=lambda values: not self._ledger.visited(self._rungs.start(values)),
            )
        return self._problem

    @property
    def _step(self) -> float:
        target = self._study.target
        return STEP * (TOGETHER if reading_batch(target.runtime, target.batch) > 1 else 1.0)

    def _in_steering_units(self, dense: Trial) -> tuple[dict[str, float], dict[str, Limit]]:
        """Return the dense model's values and the limits as samplers are told of objectives."""
        base = {name: dense.value(name) for name in self._objectives}
        steer = {name: dense.steer(name) for name in self._objectives}
        limits = {
            name: Limit(name, limit.upper, None, limit.bound(base) * steer[name] / (base[name] or 1), limit.text)
            for name, limit in self._limits.items()
        }
        return steer, limits

    def _observe(self) -> list[Observation]:
        """Return all finished trials in the order of their numbers; each is made once."""
        dense = self._ledger.dense
        assert dense is not None
        _, limits = self._in_steering_units(dense)
        for trial in self._ledger.arrived(len(self._observed)):
            place = bisect.bisect(self._observed, trial.number)
            self._observed.insert(place, trial.number)
            self._history.insert(place, self._observation(trial, limits))
        return self._history

    def _observation(self, trial: Trial, limits: Mapping[str, Limit]) -> Observation:
        steer = {name: trial.steer(name) for name in self._objectives}
        violations = {name: limit.violation(steer[name], {}) for name, limit in limits.items()}
        return Observation(trial.configuration, tuple(steer.values()), violations, trial.details.get("divergence"))
