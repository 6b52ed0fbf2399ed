"""What each part of a model's run takes, on a machine that does other things as well."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Generic, TypeVar

import numpy as np
from slimfront.objectives.stopwatch import undisturbed

# The share of a model's runs that count: the shortest ones. Beside a neighbour on the same processor core the dense
# model of the shipped study took 1.3 times as long, one cut to a tenth 1.6 times (two cores with AVX2).
COUNTED = 1 / 3
Part = TypeVar("Part", bound=Hashable)


@dataclass
class Parts(Generic[Part]):
    """Seconds of some runs, each after a run of the reference.

    Attributes:
        units: Seconds of the reference.
        walls: Seconds of the model.
        spent: Seconds of each of its parts.
    """

    units: list[float] = field(default_factory=list)
    walls: list[float] = field(default_factory=list)
    spent: list[Mapping[Part, float]] = field(default_factory=list)

    def in_units(self) -> tuple[dict[Part, float], float]:
        """Return the time of each part, and what the model takes beyond them, in undisturbed runs of the reference.

        A neighbour on the same core comes and goes within less than a second, and slows the one down more than the
        other: a ratio of two runs that follow each other may be of two different states of the machine.
        """
        unit, quiet = undisturbed(np.array(self.units)), self._quiet()
        parts = dict.fromkeys(part for run in self.spent for part in run)
        found = {part: median(self.spent[place].get(part, 0.0) for place in quiet) / unit for part in parts}
        return found, max(0.0, self._whole() / unit - sum(found.values()))

    def shared_out(self, means: Mapping[Part, float], wall: float) -> tuple[dict[Part, float], float]:
        """Return the same where only means over all runs are known: their shares of what an undisturbed run takes.

        Args:
            means: Mean seconds of each part.
            wall: Mean seconds of the model in the same runs.
        """
        whole = self._whole() / undisturbed(np.array(self.units))
        found = {part: whole * mean / wall for part, mean in means.items()}
        return found, max(0.0, whole - sum(found.values()))

    def _quiet(self) -> list[int]:
        """Return which runs count."""
        return sorted(range(len(self.walls)), key=self.walls.__getitem__)[: max(1, round(COUNTED * len(self.walls)))]

    def _whole(self) -> float:
        return median(self.walls[place] for place in self._quiet())


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds of some work."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
