"""Which points of a front may be beaten by another one, as far as the intervals tell."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from slimfront.objectives.paired import change

if TYPE_CHECKING:
    from slimfront.search.front import Point

Bools = npt.NDArray[np.bool_]
# By how much one point is better than another: the ends of a 95 % interval.
Gain = tuple[float, float]
PAIRED = "accuracy"


def rivals(objectives: Mapping[str, Mapping[str, Any]], points: Sequence[Point]) -> dict[int, int]:
    """Return for some points another one that may beat it: surely better in something, and nowhere surely worse.

    Accuracies are compared on the same sentences of the held-out split, sentence by sentence. Nothing is known before
    all were measured again after the search: the best of many look better than they are.

    Args:
        objectives: Unit and direction by objective; the first one decides which rival is named.
        points: The front.
    """
    if PAIRED in objectives and not all(PAIRED in point.changes for point in points):
        return {}
    gains = [_gain(name, str(entry["direction"]), points) for name, entry in objectives.items()]
    first, found = next(iter(objectives)), {}
    for point in points:
        others = [other for other in points if other is not point and _may_beat(gains, other, point)]
        if others:
            found[point.trial] = min(others, key=lambda other: (other.values[first], other.trial)).trial
    return found


def packed(right: Bools) -> str:
    """Return whether each sentence was judged rightly as text."""
    return f"{len(right)}:{base64.b64encode(np.packbits(right).tobytes()).decode()}"


def unpacked(text: str) -> Bools:
    """Return what was :func:`packed`."""
    count, _, bits = text.partition(":")
    held = np.frombuffer(base64.b64decode(bits), dtype=np.uint8)
    return np.unpackbits(held, count=int(count)).astype(np.bool_)


def _may_beat(gains: Sequence[Callable[[Point, Point], Gain]], other: Point, point: Point) -> bool:
    found = [gain(other, point) for gain in gains]
    return all(high >= 0 for _, high in found) and any(low > 0 for low, _ in found)


def _gain(name: str, direction: str, points: Sequence[Point]) -> Callable[[Point, Point], Gain]:
    """Return what tells by how much one point is better than another in an objective."""
    if name == PAIRED and all(point.right for point in points):
        known = {point.trial: unpacked(point.right) for point in points}

        def paired(other: Point, point: Point) -> Gain:
            found = change(known[point.trial], known[other.trial])
            return found.low, found.high

        return paired
    ends, sign = _ends(name, points), 1 if direction == "minimize" else -1

    def apart(other: Point, point: Point) -> Gain:
        one, two = sorted(sign * end for end in ends[other.trial]), sorted(sign * end for end in ends[point.trial])
        return two[0] - one[1], two[1] - one[0]

    return apart


def _ends(name: str, points: Sequence[Point]) -> dict[int, tuple[float, float]]:
    """Return the ends of one objective's interval by trial: of what was measured again, where that is known of all."""
    sources = [
        {p.trial: p.changes[name]["interval"] for p in points if name in p.changes},
        {p.trial: p.final[name]["interval"] for p in points if name in p.final},
        {p.trial: p.intervals.get(name, (p.values[name], p.values[name])) for p in points},
    ]
    return next(source for source in sources if len(source) == len(points))
