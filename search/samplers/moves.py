"""Changes of configurations that make sense for compressions, on levels ``(configurations, parameters)``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from slimfront.search.prediction.predictor import Predictor
from slimfront.search.prediction.tables import Floats, Ints
from slimfront.spaces.axes.depth import PREFIX as DEPTH
from slimfront.spaces.domain import Domain

# Of the counter-moves that keep size or latency best, one of so many is taken.
NEAREST = 3


class Moves:
    """Makes offspring.

    Args:
        domains: What may be chosen.
        predictor: Tells what a step costs in bytes and milliseconds.
        rng: All randomness comes from it.
    """

    def __init__(self, domains: Mapping[str, Domain], predictor: Predictor, rng: np.random.Generator) -> None:
        self._counts = np.array([len(domain.values) for domain in domains.values()])
        self._ordered = np.array([domain.ordered for domain in domains.values()])
        self._blocks = _blocks(list(domains))
        self._predictor, self._rng = predictor, rng

    def offspring(self, parents: Ints, count: int) -> Ints:
        """Return about ``count`` offspring of some parents, all kinds of moves in equal shares."""
        quarter = max(1, count // 4)
        picks = self._rng.integers(len(parents), size=(4, quarter))
        return np.vstack(
            [
                self.step(parents[picks[0]]),
                self.cross(parents[picks[1]], parents[self._rng.integers(len(parents), size=quarter)]),
                self.jump(parents[picks[2]]),
                self.trade(parents[self._rng.integers(len(parents))], quarter),
            ]
        )

    def step(self, levels: Ints) -> Ints:
        """Move one to three parameters of each row by one level; those without order anywhere."""
        found = levels.copy()
        for _ in range(3):
            rows = np.flatnonzero(self._rng.random(len(found)) < (1.0 if _ == 0 else 0.5))
            places = self._rng.integers(len(self._counts), size=len(rows))
            moved = found[rows, places] + self._rng.choice([-1, 1], size=len(rows))
            anywhere = self._rng.integers(self._counts[places])
            moved = np.where(self._ordered[places], moved, anywhere)
            found[rows, places] = np.clip(moved, 0, self._counts[places] - 1)
        return found

    def jump(self, levels: Ints) -> Ints:
        """Put one or two parameters of each row at any level."""
        found = levels.copy()
        for _ in range(2):
            places = self._rng.integers(len(self._counts), size=len(found))
            found[np.arange(len(found)), places] = self._rng.integers(self._counts[places])
        return found

    def cross(self, levels: Ints, others: Ints) -> Ints:
        """Take each block of each row from one parent or the other."""
        chosen = self._rng.random((len(levels), self._blocks.max() + 1)) < 0.5
        return np.where(chosen[:, self._blocks], levels, others)

    def trade(self, parent: Ints, count: int) -> Ints:
        """Compress one parameter by a level and relax another, so that size, latency or download stays."""
        steps = [(place, by) for place in np.flatnonzero(self._ordered) for by in (-1, 1)]
        steps = [(place, by) for place, by in steps if 0 <= parent[place] + by < self._counts[place]]
        if not steps:
            return np.repeat(parent[None], count, axis=0)
        moved = np.repeat(parent[None], len(steps) + 1, axis=0)
        for row, (place, by) in enumerate(steps):
            moved[row, place] += by
        told = self._predictor.at(moved)
        own = np.array([place for place, _ in steps])
        changes = [values[:-1] - values[-1] for values in told.costs().values()]
        changes = [change for change in changes if (change < 0).any()]
        if not changes:
            return np.repeat(parent[None], count, axis=0)
        found = []
        for change in changes:
            chosen = self._rng.choice(np.flatnonzero(change < 0), size=count // len(changes) + 1)
            found.append(self._countered(moved, own, change, chosen))
        return np.concatenate(found)[:count]

    def _countered(self, moved: Ints, own: Ints, change: Floats, ones: Ints) -> Ints:
        """Return each of some steps together with one that undoes its change of a value.

        Args:
            moved: What each step makes of the parent, ``(steps + 1, parameters)``; the parent itself is last.
            own: The parameter of each step, ``(steps,)``.
            change: How each step changes the value, ``(steps,)``.
            ones: The steps to be countered.
        """
        # The move back of the same parameter would undo the step.
        gap = np.where(own == own[ones, None], np.inf, np.abs(change + change[ones, None]))
        nearest = np.argsort(gap, axis=1, kind="stable")[:, :NEAREST]
        others = nearest[np.arange(len(ones)), self._rng.integers(nearest.shape[1], size=len(ones))]
        return np.where(moved[others] != moved[-1], moved[others], moved[ones])


def _blocks(names: Sequence[str]) -> Ints:
    """Return the number of each parameter's block: ``bits/encoder.layer.3.ffn`` lies in ``encoder.layer.3``."""
    whole = {name.removeprefix(DEPTH) for name in names if name.startswith(DEPTH)}
    places = [name.partition("/")[2] for name in names]
    places = [
        place if place in whole else place.rpartition(".")[0] or name.partition("/")[0]
        for name, place in zip(names, places, strict=True)
    ]
    numbers = {place: number for number, place in enumerate(dict.fromkeys(places))}
    return np.array([numbers[place] for place in places], dtype=np.int64)
