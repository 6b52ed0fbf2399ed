"""Racing: a trial stops as soon as its accuracy surely falls short.

The first sentences are drawn at random, the next ones mostly because their answers are least sure; where several are
read at once, groups of sentences alike in length. At each look the
candidate's accuracy on the whole split is forecast (:mod:`slimfront.search.forecast`), and it stops where the upper end
of the forecast lies below the bar. The forecasts of the looks are correlated like a random walk at the times of its
information, so that the chance to fall below the bar at *any* look is that of the walk's largest value (Pocock 1977,
"Group sequential methods in the design and analysis of clinical trials").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri
from slimfront.search.forecast import Forecast, Forecaster, Ints, margins

# The first look's share of the split and its least number of sentences; each look is that much longer than the last.
FIRST, LEAST, GROWTH = 0.04, 30, 1.25
# Share of a later look's sentences that are drawn at random: a guard against a forecast that is sure of the wrong ones.
RANDOM = 0.2
WALKS = 40_000
# Two accuracies that differ by less are equal.
ROUNDING = 1e-9
# Below this error too few of the walks exceed the bound: it is shared between the looks instead.
RARE = 0.001
# A trial's logits on the search split, beside its artifact until the coordinator puts them where later ones find them.
LOGITS = "logits.safetensors"
Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Bar:
    """What a candidate's accuracy must reach.

    Attributes:
        trial: Whose bar it is: a trial that is surely no larger and no slower, or the dense model of a constraint.
        accuracy: The accuracy.
    """

    trial: int
    accuracy: float


def looks(total: int) -> tuple[int, ...]:
    """Return how many sentences were read at each look, at least; the last one is the whole split."""
    ends = [min(total, max(LEAST, round(FIRST * total)))]
    while ends[-1] < total:
        ends.append(min(total, max(ends[-1] + LEAST, round(GROWTH * ends[-1]))))
    return tuple(ends)


@lru_cache
def boundary(total: int, delta: float) -> float:
    """Return how many standard deviations above the forecast the bound lies at every look before the last.

    Args:
        total: Sentences of the split.
        delta: Chance, at most, that the walk exceeds the bound at any look.
    """
    read = np.array(looks(total)[:-1], dtype=np.float64)
    if not len(read):
        return 0.0
    if delta < RARE:
        return float(-ndtri(delta / len(read)))
    information = read * total / (total - read)
    steps = np.random.default_rng(0).standard_normal((WALKS, len(read))) * np.sqrt(np.diff(information, prepend=0.0))
    highest = (steps.cumsum(axis=1) / np.sqrt(information)).max(axis=1)
    return float(np.quantile(highest, 1 - delta))


class Race:
    """Follows one candidate, look by look.

    Args:
        dense: The dense model's logits, ``(sentences, classes)``.
        labels: ``(sentences,)``.
        delta: Chance, at most, that a candidate which reaches the bar is stopped, as far as it scatters as a forecast
            supposes.
        seed: Draws the sentences.
        others: Logits of earlier trials on all sentences, ``(sentences, classes)`` each.
        groups: Sentences that are read together, all in groups of one size but for the last; each by itself if absent.

    Raises:
        ValueError: ``delta`` is not between 0 and 1, or there are no sentences.
    """

    def __init__(
        self,
        dense: Logits,
        labels: Ints,
        delta: float,
        seed: int,
        others: Sequence[Logits] = (),
        groups: Sequence[Sequence[int]] | None = None,
    ) -> None:
        if not 0 < delta < 1 or not len(labels):
            raise ValueError(f"a race needs 0 < delta < 1 and sentences, not {delta} and {len(labels)}")
        self._labels, self._rng = labels, np.random.default_rng(seed)
        self._forecaster = Forecaster(margins(dense, labels), labels, [margins(other, labels) for other in others])
        self._deviations = boundary(len(labels), delta)
        self._looks = looks(len(labels))
        alone = np.arange(len(labels))[:, None]
        self._groups = [np.array(group) for group in (alone if groups is None else groups)]
        self._sizes = np.array([len(group) for group in self._groups])
        self._order, self._starts = np.concatenate(self._groups), np.cumsum(self._sizes) - self._sizes
        self._unread = np.ones(len(self._groups), dtype=np.bool_)
        self._seen = np.zeros(0, dtype=np.int64)
        self._margin, self._right = np.zeros(0), np.zeros(0, dtype=np.bool_)
        self._forecast = Forecast(0.5, 0.5, np.full(len(labels), 0.5))

    def run(self, read: Callable[[Sequence[int]], Logits], bar: Bar) -> bool:
        """Read until the candidate surely misses the bar, or to the end; return whether it misses it.

        Args:
            read: Returns the candidate's logits of some sentences.
            bar: What it must reach.
        """
        for end in self._looks:
            if end <= len(self._seen):
                # Whole groups were read, so that this look was taken along.
                continue
            positions = self._next(end - len(self._seen))
            self._update(positions, read(positions.tolist()))
            if self.upper_bound() < bar.accuracy - ROUNDING:
                return True
        return False

    def estimate(self) -> float:
        """Return the accuracy on all sentences that is expected."""
        return self._forecast.mean

    def upper_bound(self) -> float:
        """Return what the accuracy on all sentences is at most, but for a chance of ``delta`` over all looks."""
        total = len(self._labels)
        most = total - int((~self._right).sum())
        bound = self._forecast.mean + self._deviations * self._forecast.deviation
        # A number of sentences is whole.
        return min(most, math.ceil(bound * total - 1e-9)) / total

    def _next(self, sentences: int) -> Ints:
        """Return the sentences of the next look: groups of the least sure ones, and some at random."""
        shuffled = self._rng.permutation(np.flatnonzero(self._unread))
        if not len(self._seen):
            taken = self._enough(shuffled, sentences)
        else:
            unsure = shuffled[np.argsort(-self._doubts()[shuffled], kind="stable")]
            count = len(self._enough(unsure, sentences))
            drawn = round(RANDOM * count) or int(count > 1 or self._rng.random() < RANDOM)
            chosen = unsure[: count - drawn]
            taken = np.concatenate([chosen, shuffled[~np.isin(shuffled, chosen)][:drawn]])
        self._unread[taken] = False
        return np.concatenate([self._groups[group] for group in taken])

    def _enough(self, groups: Ints, sentences: int) -> Ints:
        """Return the first of some groups that have so many sentences together, or all."""
        return groups[: 1 + int(np.searchsorted(self._sizes[groups].cumsum(), sentences))]

    def _doubts(self) -> npt.NDArray[np.float64]:
        """Return how unsure the answers of each group's sentences are, ``(groups,)``."""
        chances = self._forecast.chances[self._order]
        return np.asarray(np.add.reduceat(chances * (1 - chances), self._starts) / self._sizes)

    def _update(self, positions: Ints, logits: Logits) -> None:
        self._seen = np.concatenate([self._seen, positions])
        self._margin = np.concatenate([self._margin, margins(logits, self._labels[positions])])
        self._right = np.concatenate([self._right, logits.argmax(axis=1) == self._labels[positions]])
        self._forecast = self._forecaster.forecast(self._seen, self._margin, self._right)
