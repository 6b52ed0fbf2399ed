"""Multi-fidelity with several objectives: recovery goes on in rungs, and only the best reach the next one."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import moocore
import numpy as np
import numpy.typing as npt
from slimfront.search.front import losses_of
from slimfront.search.ladder import Climber, Ladder
from slimfront.search.ledger import Ledger
from slimfront.search.trial import Trial
from slimfront.spaces.axes.distillation import PREFIX, RATE, STEPS
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.domain import Value
from slimfront.spaces.space import Space

Json = dict[str, Any]
# How much of a quality going on is expected to give a trial back.
Back = Callable[[Trial], float]
# Which share of what is lost of a quality the first trained rung gives back, and every further one, until it has been
# seen. Who is refused a rung is never seen to recover, so that the guess is a hopeful one: of the quickstart's model
# without two of its six blocks and half of the rest, at 4 bits, 100 steps gave back 96 % of 25 points.
FIRST, FURTHER = 0.8, 0.5
# The guess counts as much as so much of a quality that trials were seen to have lost, all together.
WEIGHT = 0.1
# Divergences that differ by no more than this factor are about the same.
ABOUT = 2.0
# Settings of distillation are taken over from the best of so many trials at most, and not before there are a few.
ALIKE, FEW = 6, 3
# Share of those that try other settings all the same.
NEW = 0.25
# Share of the median divergence from the dense model below which nothing was lost.
NOTHING = 0.01
DIVERGENCE = "divergence"
# Divergences below this are all alike, in nats.
LEAST = 1e-5


class Rungs:
    """Multi-objective asynchronous successive halving over the number of recovery steps.

    A configuration is tried at the fewest steps first. Whenever a place is free, the best 1 / ``factor`` of the trials
    at a rung that may gain by it go on to the next, but no more of them than that, the highest rung first (after Li et
    al. 2020, "A System for Massively Parallel Hyperparameter Tuning", algorithm 2); the best are those of the lowest
    non-dominated rank, in the widest gap (Schmucker et al. 2021, "Multi-objective Asynchronous Successive Halving",
    section 3.2), and what keeps the constraints, or will as far as recovery has given back to others what was lost,
    goes before what does not (Deb et al. 2002, "NSGA-II", section VI). A trial that goes on is a trial of its own:
    every rung is in the records, and what was decided follows from them alone.

    Where a search says that it is about to end, what nothing beats goes on instead, whether or not there is a place:
    few that are new would be distilled to the end in time. The places that it takes are taken.

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
        self._own = {n: domain for n, domain in space.domains.items() if n.startswith(PREFIX) and n != STEPS}
        self._ladder = Ladder(space, self._steps)

    def __bool__(self) -> bool:
        return len(self._steps) > 1

    def start(self, values: Mapping[str, Value]) -> Configuration:
        """Return the configuration of some values on the lowest rung."""
        return self._space.settled({**values, STEPS: self._steps[0]} if self._steps else values)

    def below(self, configuration: Configuration) -> list[Configuration]:
        """Return what a configuration was on the rungs below its own, the lowest first."""
        if not self._steps:
            return []
        rung = self._steps.index(int(configuration[STEPS]))
        return [self._space.settled({**configuration, STEPS: steps}) for steps in self._steps[:rung]]

    def promotion(self, ledger: Ledger, seed: int, closing: bool = False) -> Configuration | None:
        """Return what goes on to its next rung, or None while nothing may.

        Args:
            ledger: All trials so far.
            seed: Draws how a model is distilled that was not distilled before.
            closing: Whether the search is about to end.
        """
        if not self or ledger.dense is None:
            return None
        self._ladder.follow(ledger)
        dense = {name: ledger.dense.steer(name) for name in self._qualities}
        recovers = bool(dense) or DIVERGENCE in self._objectives
        found = self._left_on_the_front(ledger, dense) if closing and recovers else None
        found = found or self._among_the_best(dense)
        return self._next(*found, seed) if found else None

    def _among_the_best(self, dense: Mapping[str, float]) -> tuple[Trial, int] | None:
        """Return the first for whom there is a place on a next rung, and the rung where it stands."""
        for rung in reversed(range(len(self._steps) - 1)):
            here, gone = self._ladder.rungs[rung], self._ladder.gone[rung]
            if self._steps[rung]:
                here = [climber for climber in here if self._may_gain(climber.trial, dense)]
            went = sum(climber.stem(rung) in gone for climber in here)
            places = len(here) // self._factor
            if went < places:
                best = self._best(here, self._back(rung, dense))[:places]
                waiting = next((climber.trial for climber in best if climber.stem(rung) not in gone), None)
                if waiting:
                    return waiting, rung
        return None

    def _left_on_the_front(self, ledger: Ledger, dense: Mapping[str, float]) -> tuple[Trial, int] | None:
        """Return one that nothing beats and that did not go on from where it stands, and where that is.

        It keeps the constraints, or may be expected to. Those on the lowest rung come first, where a step costs as much
        as on any other and gives back most; after all that lack anything of the dense model's comes what distillation
        might make better than that one.
        """
        front = {trial.number for trial in ledger.steering}
        for lacking, rung in itertools.product((True, False), range(len(self._steps) - 1)):
            here, gone = self._ladder.rungs[rung], self._ladder.gone[rung]
            waiting = [c.trial for c in here if c.trial.number in front and c.stem(rung) not in gone]
            left = {trial.number for trial in waiting if self._may_gain(trial, dense) is lacking}
            back = self._back(rung, dense) if left else {}
            for climber in self._best(here, back) if left else ():
                if climber.trial.number in left and not _broken([climber.trial], back).any():
                    return climber.trial, rung
        return None

    def _may_gain(self, trial: Trial, dense: Mapping[str, float]) -> bool:
        """Return whether training may help: it cannot what keeps the constraints and lacks nothing of dense."""
        if not dense or DIVERGENCE in self._objectives:
            return True
        return not trial.feasible or any(trial.steer(name) < whole for name, whole in dense.items())

    def _back(self, rung: int, dense: Mapping[str, float]) -> dict[str, Back]:
        return {name: self._given_back(rung, name, whole) for name, whole in dense.items()}

    def _next(self, trial: Trial, rung: int, seed: int) -> Configuration:
        values = {**trial.configuration, STEPS: self._steps[rung + 1]}
        if not self._steps[rung]:
            values |= self._settings(trial, random.Random(seed))
        return self._space.settled(values)

    def _settings(self, trial: Trial, rng: random.Random) -> dict[str, Value]:
        """Return settings of distillation: those that have served best where about as much had been lost, or others.

        They have served best that brought a model nearest to the dense one, for its divergence from it before: what has
        lost much learns best in larger steps than what has lost little. Others are of the values tried least there; as
        long as few were tried, the learning rate is the higher the more was lost, compared with the uniform settings.
        """
        lost = _divergence(trial)
        untrained, trained = self._ladder.rungs[:2]
        before = {climber.stem(0): _divergence(climber.trial) for climber in untrained}
        pairs = [(before.get(climber.stem(0), np.inf), climber.trial) for climber in trained]
        pairs.sort(key=lambda pair: (abs(np.log(pair[0] / lost)), pair[1].number))
        alike = [pair for pair in pairs if abs(np.log(pair[0] / lost)) <= np.log(ABOUT)][:ALIKE]
        if len(alike) >= FEW and rng.random() >= NEW:
            best = min(alike, key=lambda pair: _divergence(pair[1]) / pair[0])[1]
            return {name: best.configuration[name] for name in self._own}
        tried = [t.configuration for _, t in alike]
        found = {name: _rarest(domain.values, [c[name] for c in tried], rng) for name, domain in self._own.items()}
        if len(alike) < FEW and RATE in found:
            others = [_divergence(c.trial) for c in untrained if c.trial.kind == "uniform"] or [*before.values()]
            rates, less = self._own[RATE].values, sum(other < lost for other in others)
            found[RATE] = rates[min(less * len(rates) // max(len(others) - 1, 1), len(rates) - 1)]
        return found

    def _given_back(self, rung: int, quality: str, dense: float) -> Back:
        """Return how much of a quality, of which ``dense`` is the whole, a trial may expect of going on to the end.

        It is a share of what is lost: the more of a model is gone, the more there is to give back.
        """
        left = 1.0
        for low in range(rung, len(self._steps) - 1):
            left *= 1.0 - self._share(low, quality, dense)
        return lambda trial: (1.0 - left) * max(dense - trial.steer(quality), 0.0)

    def _share(self, rung: int, quality: str, dense: float) -> float:
        """Return which share of what was lost those got back that went on from one rung to the next."""
        here, above = self._ladder.rungs[rung : rung + 2]
        after = {climber.stem(rung): dense - climber.trial.steer(quality) for climber in above}
        known = [(dense - climber.trial.steer(quality), climber.stem(rung)) for climber in here]
        pairs = [(lost, after[stem]) for lost, stem in known if lost > 0 and stem in after]
        guess = FURTHER if self._steps[rung] else FIRST
        given = guess * WEIGHT + sum(lost - left for lost, left in pairs)
        return float(np.clip(given / (WEIGHT + sum(lost for lost, _ in pairs)), 0.0, 1.0))

    def _best(self, climbers: Sequence[Climber], back: Mapping[str, Back]) -> list[Climber]:
        """Return those of one rung, the most promising first.

        What diverges from the dense model by next to nothing has nothing to recover; what misses the bound on the
        accuracy by no more than going on is expected to give back counts as if it kept it.
        """
        lost = [float(climber.trial.details.get(DIVERGENCE, 1.0)) for climber in climbers]
        least = NOTHING * np.median(lost)
        climbers = [climber for climber, own in zip(climbers, lost, strict=True) if own > least]
        if not climbers:
            return []
        trials = [climber.trial for climber in climbers]
        values = [{name: trial.steer(name) for name in self._objectives} for trial in trials]
        losses = losses_of(self._objectives, values)
        broken = _broken(trials, back)
        ranks = moocore.pareto_rank(losses)
        gaps = np.zeros(len(trials))
        for rank in np.unique(ranks):
            gaps[ranks == rank] = crowding(losses[ranks == rank])
        order = np.lexsort((np.array([trial.number for trial in trials]), -gaps, ranks, broken))
        return [climbers[row] for row in order]


def _rarest(values: Sequence[Value], tried: Sequence[Value], rng: random.Random) -> Value:
    counts = [tried.count(value) for value in values]
    return rng.choice([value for value, count in zip(values, counts, strict=True) if count == min(counts)])


def _divergence(trial: Trial) -> float:
    return max(float(trial.details.get(DIVERGENCE, 1.0)), LEAST)


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
