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
        unit = undisturbed(np.array(self.units))
        quiet = np.argsort(self.walls, kind="stable")[: max(1, round(COUNTED * len(self.walls)))]
        parts = dict.fromkeys(part for run in self.spent for part in run)
        found = {part: median(self.spent[place].get(part, 0.0) for place in quiet) / unit for part in parts}
        whole = median(self.walls[place] for place in quiet) / unit
        return found, max(0.0, whole - sum(found.values()))


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds of some work."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
