"""Multi-fidelity with several objectives: recovery goes on in rungs, and only the best reach the next one."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import moocore
import numpy as np
import numpy.typing as npt
from slimfront.search.front import losses_of
from slimfront.search.ledger import Ledger
from slimfront.search.trial import Trial
from slimfront.spaces.axes.distillation import PREFIX, RATE, STEPS
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.domain import Value
from slimfront.spaces.space import Space

Json = dict[str, Any]
# How much of a quality going on is expected to give a trial back.
Back = Callable[[Trial], float]
# Which share of what was lost of a quality going on to the last rung gives back, from no steps and from some, until it
# has been seen; this much that was seen to be lost counts as much as the guess. Who is refused a rung is never seen to
# recover, so that the guess is a hopeful one: of the shipped study's model, with two of six blocks and half of what is
# left gone and 4 bits, 100 steps gave back 96 % of 25 points.
UNTRAINED, TRAINED, WEIGHT = 0.9, 0.75, 0.1
# Divergences that differ by no more than this factor are about the same. Of so many trials at most the best one's
# settings of distillation are taken over, once there are a few, but for a share that tries what these have not.
ABOUT, ALIKE, FEW, NEW = 2.0, 6, 3, 0.25
# Share of the median divergence from the dense model below which nothing was lost.
NOTHING = 0.01
# Divergences below this are all alike, in nats.
LEAST = 1e-5


class Rungs:
    """Multi-objective asynchronous successive halving over the number of recovery steps.

    A configuration is tried at the fewest steps first. Whenever a place is free, the best 1 / ``factor`` of the trials
    at a rung may go on to the next, but no more of them than that, the highest rung first (after Li et al. 2020, "A
    System for Massively Parallel Hyperparameter Tuning", algorithm 2); the best are those of the lowest non-dominated
    rank, in the widest gap (Schmucker et al. 2021, "Multi-objective Asynchronous Successive Halving", section 3.2), and
    what keeps the constraints goes before what does not (Deb et al. 2002, "NSGA-II", section VI). A trial that goes on
    is a trial of its own: every rung is in the records, and what was decided follows from them alone.

    Args:
        space: The space; its numbers of steps are the rungs.
        factor: How many trials at a rung let one of them go on; None leaves the steps to the sampler.
        objectives: Unit and direction by objective.
        qualities: Objectives of which recovery gives something back.
    """

    def __init__(
        self,
        space: Space,
        factor: int | None,
        objectives: Mapping[str, Json],
        qualities: Sequence[str] = ("accuracy",),
    ) -> None:
        domain = None if STEPS in space.fixed else space.domains.get(STEPS)
        self._space, self._factor, self._objectives = space, factor or 0, objectives
        self._qualities = [name for name in qualities if name in objectives]
        self._steps = tuple(int(steps) for steps in domain.values) if domain and factor else ()
        self._own = {name: domain for name, domain in space.domains.items() if name.startswith(PREFIX)}

    def __bool__(self) -> bool:
        return len(self._steps) > 1

    def start(self, values: Mapping[str, Value]) -> Configuration:
        """Return the configuration of some values on the lowest rung."""
        return self._space.settled({**values, STEPS: self._steps[0]} if self._steps else values)

    def promotion(self, ledger: Ledger, seed: int) -> Configuration | None:
        """Return what goes on to its next rung, or None while nothing may.

        Args:
            ledger: All trials so far.
            seed: Draws how a model is distilled that was not distilled before.
        """
        if not self or ledger.dense is None:
            return None
        tried = ledger.configurations()
        finished = [trial for trial in ledger.arrived(0) if trial.cached_from is None and trial.kind != "dense"]
        # In the order of their numbers, whoever was done first.
        finished.sort(key=lambda trial: trial.number)
        for rung in reversed(range(len(self._steps) - 1)):
            here = [trial for trial in finished if trial.configuration[STEPS] == self._steps[rung]]
            gone = {self._stem(c, rung) for c in tried if int(c[STEPS]) > self._steps[rung]}
            went = sum(self._stem(trial.configuration, rung) in gone for trial in here)
            places = len(here) // self._factor
            if went >= places:
                continue
            dense = {name: ledger.dense.steer(name) for name in self._qualities}
            back = {name: self._given_back(finished, rung, name, whole) for name, whole in dense.items()}
            for trial in self._best([t for t in here if _may_gain(t, dense)], back)[:places]:
                if self._stem(trial.configuration, rung) not in gone:
                    return self._next(trial, rung, finished, seed)
        return None

    def _stem(self, configuration: Configuration, rung: int) -> tuple[Value, ...]:
        """Return what a configuration has in common with those that it may become on higher rungs."""
        settings = PREFIX if not self._steps[rung] else STEPS
        return tuple(value for name, value in configuration.items() if not name.startswith(settings))

    def _next(self, trial: Trial, rung: int, finished: Sequence[Trial], seed: int) -> Configuration:
        configuration = trial.configuration
        settings: Mapping[str, Value] = configuration
        if not self._steps[rung]:
            settings = self._settings(trial, finished, random.Random(seed))
        own = {name: value for name, value in settings.items() if name.startswith(PREFIX)}
        return self._space.settled({**configuration, **own, STEPS: self._steps[rung + 1]})

    def _settings(self, trial: Trial, finished: Sequence[Trial], rng: random.Random) -> Mapping[str, Value]:
        """Return settings of distillation: those that have served best where about as much had been lost, or others.

        They have served best that brought a model nearest to the dense one, for its divergence from it before: what has
        lost much learns best in larger steps than what has lost little. Others are of the values tried least there; as
        long as few were tried, the learning rate is the higher the more was lost, compared with all that was tried.
        """
        before = {self._stem(t.configuration, 0): _divergence(t) for t in finished if not int(t.configuration[STEPS])}
        next_rung = [t for t in finished if int(t.configuration[STEPS]) == self._steps[1]]
        seen = [(before[stem], t) for t in next_rung if (stem := self._stem(t.configuration, 0)) in before]
        own = _divergence(trial)
        seen.sort(key=lambda pair: (abs(np.log(pair[0] / own)), pair[1].number))
        alike = [pair for pair in seen if abs(np.log(pair[0] / own)) <= np.log(ABOUT)][:ALIKE]
        if len(alike) >= FEW and rng.random() >= NEW:
            return min(alike, key=lambda pair: _divergence(pair[1]) / pair[0])[1].configuration
        tried = [t.configuration for _, t in alike]
        found = {name: _rarest(domain.values, [c[name] for c in tried], rng) for name, domain in self._own.items()}
        if len(alike) < FEW and RATE in found:
            rates, less = self._own[RATE].values, sum(lost < own for lost in before.values())
            found[RATE] = rates[min(less * len(rates) // max(len(before) - 1, 1), len(rates) - 1)]
        return found

    def _given_back(self, trials: Sequence[Trial], rung: int, quality: str, dense: float) -> Back:
        """Return what tells how much of a quality, of which ``dense`` is the whole, a trial may expect of going on.

        It is a share of what is lost: the more of a model is gone, the more there is to give back. Only who came to
        the last rung has shown how much that is.
        """
        before: dict[tuple[Value, ...], float] = {}
        after: dict[tuple[Value, ...], float] = {}
        for trial in trials:
            steps, stem = int(trial.configuration[STEPS]), self._stem(trial.configuration, rung)
            if steps == self._steps[rung]:
                before[stem] = dense - trial.steer(quality)
            elif steps == self._steps[-1]:
                after[stem] = min(after.get(stem, np.inf), dense - trial.steer(quality))
        known = [stem for stem in after if before.get(stem, 0.0) > 0]
        guess = TRAINED if self._steps[rung] else UNTRAINED
        gained = guess * WEIGHT + sum(before[stem] - after[stem] for stem in known)
        share = float(np.clip(gained / (WEIGHT + sum(before[stem] for stem in known)), 0.0, 1.0))
        return lambda trial: share * max(dense - trial.steer(quality), 0.0)

    def _best(self, trials: Sequence[Trial], back: Mapping[str, Back]) -> list[Trial]:
        """Return trials of one rung, the most promising first.

        What diverges from the dense model by next to nothing has nothing to recover; what misses the bound on the
        accuracy by no more than going on is expected to give back counts as if it kept it.
        """
        lost = [float(trial.details.get("divergence", 1.0)) for trial in trials]
        trials = [trial for trial, own in zip(trials, lost, strict=True) if own > NOTHING * np.median(lost)]
        if not trials:
            return []
        values = [{name: trial.steer(name) for name in self._objectives} for trial in trials]
        losses = losses_of(self._objectives, values)
        broken = _broken(trials, back)
        ranks = moocore.pareto_rank(losses)
        gaps = np.zeros(len(trials))
        for rank in np.unique(ranks):
            gaps[ranks == rank] = crowding(losses[ranks == rank])
        order = np.lexsort((np.array([trial.number for trial in trials]), -gaps, ranks, broken))
        return [trials[row] for row in order]


def _rarest(values: Sequence[Value], tried: Sequence[Value], rng: random.Random) -> Value:
    counts = [tried.count(value) for value in values]
    return rng.choice([value for value, count in zip(values, counts, strict=True) if count == min(counts)])


def _may_gain(trial: Trial, dense: Mapping[str, float]) -> bool:
    """Return whether training may still help: what was trained and is as good as the dense model is done."""
    untrained = not int(trial.configuration[STEPS])
    return untrained or not dense or any(trial.steer(name) < whole for name, whole in dense.items())


def _divergence(trial: Trial) -> float:
    return max(float(trial.details.get("divergence", 1.0)), LEAST)


def _broken(trials: Sequence[Trial], back: Mapping[str, Back]) -> npt.NDArray[np.float64]:
    """Return by how much trials break the constraints together, each in shares of its worst, ``(trials,)``."""
    names = sorted({name for trial in trials for name in trial.violations})
    rows = [[t.violations.get(name, 0.0) - (back[name](t) if name in back else 0.0) for name in names] for t in trials]
    found = np.maximum(np.array(rows).reshape(len(trials), len(names)), 0.0)
    total: npt.NDArray[np.float64] = (found / np.maximum(found.max(axis=0, initial=0.0), 1e-12)).sum(axis=1)
    return total


def crowding(losses: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the crowding distance of points that do not dominate each other (Deb et al. 2002, "NSGA-II", section III).

    Args:
        losses: ``(points, objectives)``.
    """
    found = np.zeros(len(losses))
    for column in losses.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        found[order[[0, -1]]] = np.inf
        if span > 0:
            found[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return found
