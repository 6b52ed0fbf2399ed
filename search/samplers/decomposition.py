"""The region that a front leaves free, as boxes: what a point is expected to add to its hypervolume."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr
from slimfront.search.prediction.tables import Floats

Bools = npt.NDArray[np.bool_]
ROOT = float(np.sqrt(2 * np.pi))
# So many boxes more than twice as many as are needed are kept before they are made anew.
LOOSE = 64


class Decomposition:
    """Disjoint boxes that fill what no member of a front dominates of the unit box, all objectives minimized.

    A box belongs to a local upper bound, and each bound to the points that define it, one per objective (Lacour,
    Klamroth and Fonseca 2017, "A box decomposition algorithm to compute the hypervolume indicator"). Adding a point
    replaces the bounds that it lies below. For three objectives the number of boxes grows in proportion to the front.

    Args:
        objectives: How many.
    """

    def __init__(self, objectives: int) -> None:
        self._front = np.zeros((0, objectives))
        self._begin()

    def _begin(self) -> None:
        objectives = self._front.shape[1]
        self._bounds = np.ones((1, objectives))
        # (boxes, objective that the point defines, coordinate of the point)
        self._points = np.eye(objectives)[None]
        self._most = LOOSE

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(self._bounds)

    def add(self, point: Floats) -> Bools | None:
        """Take a point ``(objectives,)`` into the front as its last member.

        Returns:
            Which members stay beside it, ``(members,)``; None where one of them dominates it or equals it.
        """
        if (self._front <= point).all(axis=1).any():
            return None
        stay: Bools = np.any(self._front < point, axis=1)
        self._front = np.vstack([self._front[stay], point])
        self._insert(point)
        if len(self) > self._most:
            self._rebuild()
        return stay

    def _rebuild(self) -> None:
        """Drop boxes without volume, which points that share a coordinate with one they beat leave behind."""
        self._begin()
        for point in self._front:
            self._insert(point)
        self._most = LOOSE + 2 * len(self)

    def _insert(self, point: Floats) -> None:
        over = (point < self._bounds).all(axis=1)
        bounds, points = [self._bounds[~over]], [self._points[~over]]
        for place in range(len(point)):
            others = np.delete(self._points[over], place, axis=1)[:, :, place]
            valid = point[place] >= others.max(axis=1, initial=0.0)
            moved, defining = self._bounds[over][valid], self._points[over][valid]
            moved[:, place], defining[:, place] = point[place], point
            bounds.append(moved)
            points.append(defining)
        self._bounds, self._points = np.concatenate(bounds), np.concatenate(points)

    def expected_improvement(self, points: Floats, spread: Floats) -> Floats:
        """Return the hypervolume that points are expected to add, ``(points,)``.

        Coordinates are independent and normal, so that the expectation is that of each side, multiplied, and added up
        over the boxes (Emmerich, Deutz and Klinkenberg 2011, "Hypervolume-based expected improvement").

        Args:
            points: Means, ``(points, objectives)``.
            spread: Their standard deviations, ``(points, objectives)``; zero where a coordinate is certain.
        """
        found = np.ones((len(points), len(self._bounds)))
        for place in range(points.shape[1]):
            lower = self._points[:, :place, place].max(axis=1, initial=0.0)
            levels, where = np.unique([lower, self._bounds[:, place]], return_inverse=True)
            below = _below(levels, points[:, place, None], spread[:, place, None])
            bottom, top = where.reshape(2, -1)
            found *= below[:, top] - below[:, bottom]
        return np.asarray(found.sum(axis=1), dtype=np.float64)


def _below(levels: Floats, mean: Floats, spread: Floats) -> Floats:
    """Return by how much coordinates are expected to lie below some levels, ``(points, levels)``."""
    gap = levels - mean
    if not spread.any():
        return np.maximum(gap, 0.0)
    floored = np.maximum(spread, 1e-9)
    ratio = gap / floored
    found: Floats = gap * ndtr(ratio) + floored * np.exp(-0.5 * ratio**2) / ROOT
    return found
