"""The box of which a front's hypervolume is a share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import moocore
import numpy as np
import numpy.typing as npt
from slimfront.studies.limits import Limit

Json = dict[str, Any]
Values = Mapping[str, float]
Floats = npt.NDArray[np.float64]
# Extent of the box along an objective that may not get worse at all.
LEAST = 1e-6


@dataclass(frozen=True)
class Box:
    """From the worst that a point may be to the ideal, objective by objective.

    A minimized objective goes from the dense model's value to zero, or from a worst value to the dense model's where
    that is the best there is. A maximized one goes from the study's bound on it (zero where there is none) to the dense
    model's value: a point that breaks the bound is of no use, and within it
    every part of the tolerated loss counts the same.

    Attributes:
        names: The objectives.
        worst: ``(objectives,)``.
        ideal: ``(objectives,)``.
    """

    names: tuple[str, ...]
    worst: tuple[float, ...]
    ideal: tuple[float, ...]

    @classmethod
    def of(cls, objectives: Mapping[str, Json], dense: Values, limits: Mapping[str, Limit]) -> Box:
        """Return the box of a study, given the dense model's values."""
        worst, ideal = [], []
        for name, entry in objectives.items():
            minimized = entry["direction"] == "minimize"
            away = float(entry["worst"]) if "worst" in entry else dense[name] if minimized else 0.0
            worst.append(away)
            ideal.append(dense[name] if "worst" in entry or not minimized else 0.0)
            if name in limits and limits[name].upper == minimized:
                bound = limits[name].bound(dense)
                worst[-1] = min(worst[-1], bound) if minimized else max(worst[-1], bound)
                if not minimized and bound >= ideal[-1]:
                    # No loss is tolerated: whatever keeps the bound is as good as can be.
                    worst[-1], ideal[-1] = bound - LEAST, bound
            if not minimized and ideal[-1] <= worst[-1]:
                # Of a correlation dense may have none at all.
                worst[-1] = ideal[-1] - LEAST
        return cls(tuple(objectives), tuple(worst), tuple(ideal))

    @property
    def span(self) -> Floats:
        """How far the box reaches, ``(objectives,)``."""
        found: Floats = np.abs(np.array(self.worst) - np.array(self.ideal))
        return found

    def relative(self, values: Floats) -> Floats:
        """Return values ``(points, objectives)`` such that 0 is ideal and 1 is the worst; what is beyond stays so."""
        worst, ideal, span = np.array(self.worst), np.array(self.ideal), self.span
        away = (values - ideal) * np.where(worst < ideal, -1, 1)
        found: Floats = np.where(span == 0, 1.0, away / np.where(span == 0, 1.0, span))
        return found

    def scaled(self, values: Floats) -> Floats:
        """Return values as :meth:`relative` does, not less than 0 and not more than 1."""
        return np.clip(self.relative(values), 0.0, 1.0)

    def hypervolume(self, points: Sequence[Values]) -> float:
        """Return the share of the box that some points dominate."""
        if not points:
            return 0.0
        values = np.array([[point[name] for name in self.names] for point in points], dtype=np.float64)
        return volume(self.scaled(values))


def volume(scaled: Floats) -> float:
    """Return the share of the unit box that points ``(points, objectives)``, scaled as in :class:`Box`, dominate."""
    return float(moocore.hypervolume(scaled, ref=np.ones(scaled.shape[1]))) if len(scaled) else 0.0
