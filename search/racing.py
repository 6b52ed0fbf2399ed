"""Racing: a trial stops as soon as its accuracy is surely beaten.

The sentences of the search split come in a random order without replacement. For each rival a martingale bets that
the candidate is worse than the rival allows; when it has won ``1 / alpha`` times its stake, the candidate is beaten.
Ville's inequality bounds the chance that this ever happens to a candidate that is not, whenever one looks
(Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting", section 5, sampling
without replacement).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
# Stakes of the bets, as shares of the largest that cannot go bankrupt; the mean of their capitals is a martingale too,
# and whichever of them suits the difference carries it.
STAKES = np.array([0.04, 0.08, 0.15, 0.3, 0.5, 0.8])
BISECTIONS = 30


@dataclass(frozen=True)
class Rival:
    """A trial that the candidate must not fall behind.

    Attributes:
        trial: Its number.
        correct: For each sentence whether it is classified rightly, ``(sentences,)``.
        margin: How far below the rival's accuracy the candidate's may be.
    """

    trial: int
    correct: Bools
    margin: float = 0.0


class Race:
    """Follows one candidate, sentence by sentence.

    Args:
        rivals: Whom it runs against; the error is shared equally between them.
        total: Number of sentences of the split.
        delta: Chance, at most, that a candidate which is beaten by none is stopped.

    Raises:
        ValueError: a rival has another number of sentences, or ``delta`` is not between 0 and 1.
    """

    def __init__(self, rivals: Sequence[Rival], total: int, delta: float) -> None:
        if not 0 < delta < 1 or total < 1 or any(len(rival.correct) != total for rival in rivals):
            raise ValueError(f"a race needs 0 < delta < 1 and rivals with {total} sentences each")
        self._rivals, self._total = tuple(rivals), total
        self._alpha = delta / max(1, len(rivals))
        self._seen: list[int] = []
        self._right: list[bool] = []
        self._beaten: Rival | None = None

    def update(self, positions: Ints, correct: Bools) -> None:
        """Tell the next sentences in their random order, and whether each is classified rightly."""
        self._seen += positions.tolist()
        self._right += correct.tolist()
        if self._beaten is None:
            self._beaten = next((rival for rival in self._rivals if self._lost(rival)), None)

    def beaten_by(self) -> Rival | None:
        """Return the rival that beat the candidate, or None."""
        return self._beaten

    def estimate(self) -> float:
        """Return the accuracy that the sentences seen suggest for all of them.

        The first rival's accuracy on all sentences plus the mean difference on those seen: far less noisy than the
        candidate's own share, since both are right and wrong on much the same sentences.
        """
        right = np.array(self._right, dtype=np.float64)
        if not len(right):
            raise ValueError("nothing was seen yet")
        if not self._rivals:
            return float(right.mean())
        rival = self._rivals[0].correct
        value = rival.mean() + (right - rival[self._seen]).mean()
        return float(np.clip(value, right.sum() / self._total, self._most()))

    def upper_bound(self) -> float:
        """Return what the candidate's accuracy on all sentences is at most, but for a chance of ``delta``.

        The smallest of what the rivals' martingales leave, and of all sentences to come being right.
        """
        bounds = [self._most()]
        for rival in self._rivals:
            low, high = -1.0, 1.0
            for _ in range(BISECTIONS):
                middle = (low + high) / 2
                # The difference that is still possible: the larger it is, the more surely it is refuted.
                low, high = (low, middle) if self._refuted(rival, middle) else (middle, high)
            bounds.append(float(rival.correct.mean()) + high)
        return min(bounds)

    def _most(self) -> float:
        return (sum(self._right) + self._total - len(self._right)) / self._total

    def _lost(self, rival: Rival) -> bool:
        return self._refuted(rival, -rival.margin)

    def _refuted(self, rival: Rival, difference: float) -> bool:
        """Return whether the mean difference to a rival is surely below ``difference``."""
        right = np.array(self._right, dtype=np.float64)
        seen = right - rival.correct[self._seen]
        behind = self._total * difference - seen.sum()
        # The sentences to come, at best all right where the rival is wrong.
        to_come = np.ones(self._total, dtype=np.bool_)
        to_come[self._seen] = False
        if behind > (~rival.correct[to_come]).sum() + 1e-9:
            return True
        return bool(capital(seen, difference, self._total) >= 1 / self._alpha)


def capital(seen: Floats, difference: float, total: int) -> float:
    """Return the largest capital ever reached by betting against a mean difference of at least ``difference``.

    Args:
        seen: Differences of the sentences so far, each -1, 0 or 1, in their random order.
        difference: The mean over all sentences that is bet against.
        total: Number of all sentences.
    """
    values = (seen + 1) / 2
    mean = (difference + 1) / 2
    before = np.concatenate([[0.0], np.cumsum(values)[:-1]])
    # What the mean of the sentences still to come would be, if the null were true.
    expected = (total * mean - before) / (total - np.arange(len(values)))
    possible = np.clip(expected, 1e-9, 1 - 1e-9)
    gains = possible - values
    stakes = STAKES[:, None] / (1 - possible)
    logs = np.log1p(np.maximum(stakes * gains, -1 + 1e-12)).cumsum(axis=1)
    # Beyond a mean that is certain to be reached nothing can be won; below none, everything is.
    reachable = np.cumsum(expected <= 0) == 0
    mixture = np.exp(logs).mean(axis=0)
    best = float(mixture[reachable].max(initial=1.0))
    return float("inf") if bool((expected[reachable] > 1).any()) else best


def chunks(total: int, first: int = 32, growth: float = 2.0) -> Iterator[slice]:
    """Yield growing slices that cover ``total`` sentences once."""
    start, size = 0, float(first)
    while start < total:
        stop = min(total, start + int(size))
        yield slice(start, stop)
        start, size = stop, size * growth
