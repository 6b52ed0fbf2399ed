"""Who stands on which rung of recovery, followed as a ledger grows."""

from __future__ import annotations

import bisect
from dataclasses import dataclass

from slimfront.search.ledger import Ledger
from slimfront.search.trial import Trial
from slimfront.spaces.axes.distillation import PREFIX, STEPS
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.domain import Value
from slimfront.spaces.space import Space

# A number for what a configuration has in common with those that it may become: before it is trained, and after.
Stems = tuple[int, int]


@dataclass(frozen=True)
class Climber:
    """A finished trial and its stems."""

    trial: Trial
    stems: Stems

    def stem(self, rung: int) -> int:
        """Return the number of what it has in common with those that climb from a rung where it stands or stood."""
        return self.stems[min(rung, 1)]


class Ladder:
    """The finished trials on each rung in the order of their numbers, and who has gone on.

    What it knows follows from the ledger alone, whatever the order in which trials were done.

    Args:
        space: The space.
        steps: The rungs, from no steps on.
    """

    def __init__(self, space: Space, steps: tuple[int, ...]) -> None:
        self._steps = steps
        self._names = [
            [name for name in space.domains if not name.startswith(PREFIX)],
            [name for name in space.domains if name != STEPS],
        ]
        self._numbers: dict[tuple[Value, ...], int] = {}
        self._ledger: Ledger | None = None
        self._forget()

    def _forget(self) -> None:
        self._arrived, self._started = 0, 0
        self.rungs: list[list[Climber]] = [[] for _ in self._steps]
        self.gone: list[set[int]] = [set() for _ in self._steps]

    def follow(self, ledger: Ledger) -> None:
        """Take what is new in a ledger."""
        if ledger is not self._ledger:
            self._ledger = ledger
            self._forget()
        for configuration in ledger.configurations()[self._started :]:
            self._started += 1
            stems = self._stems(configuration)
            for rung in range(self._steps.index(int(configuration[STEPS]))):
                self.gone[rung].add(stems[min(rung, 1)])
        for trial in ledger.arrived(self._arrived):
            self._arrived += 1
            if trial.cached_from is None and trial.kind != "dense":
                here = self.rungs[self._steps.index(int(trial.configuration[STEPS]))]
                climber = Climber(trial, self._stems(trial.configuration))
                bisect.insort(here, climber, key=lambda other: other.trial.number)

    def _stems(self, configuration: Configuration) -> Stems:
        untrained, trained = (
            self._numbers.setdefault(tuple(configuration[name] for name in names), len(self._numbers))
            for names in self._names
        )
        return untrained, trained
