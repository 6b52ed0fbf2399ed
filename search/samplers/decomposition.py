"""The region that a front leaves free, as boxes: what a point is expected to add to its hypervolume."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr
from slimfront.search.prediction.tables import Floats

ROOT = float(np.sqrt(2 * np.pi))


class Decomposition:
    """Disjoint boxes that fill what no member of a front dominates of the unit box, all objectives minimized.

    A box belongs to a local upper bound, and each bound to the points that define it, one per objective (Lacour,
    Klamroth and Fonseca 2017, "A box decomposition algorithm to compute the hypervolume indicator"). Adding a point
    replaces the bounds that it lies below; the number of boxes grows in proportion to the front for three objectives.

    Args:
        objectives: How many.
    """

    def __init__(self, objectives: int) -> None:
        self._bounds = np.ones((1, objectives))
        # (boxes, objective that the point defines, coordinate of the point)
        self._points = np.eye(objectives)[None]

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(self._bounds)

    def add(self, point: Floats) -> None:
        """Take a point ``(objectives,)`` into the front; one that is dominated changes nothing."""
        over = (point < self._bounds).all(axis=1)
        if not over.any():
            return
        bounds, points = [self._bounds[~over]], [self._points[~over]]
        for place in range(len(point)):
            others = np.delete(self._points[over], place, axis=1)[:, :, place]
            valid = point[place] >= others.max(axis=1, initial=0.0)
            moved, defining = self._bounds[over][valid], self._points[over][valid]
            moved[:, place], defining[:, place] = point[place], point
            bounds.append(moved)
            points.append(defining)
        self._bounds, self._points = np.concatenate(bounds), np.concatenate(points)

    def expected(self, points: Floats, spread: Floats) -> Floats:
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
    sure = np.maximum(spread, 1e-9)
    ratio = gap / sure
    found: Floats = gap * ndtr(ratio) + sure * np.exp(-0.5 * ratio**2) / ROOT
    return found
