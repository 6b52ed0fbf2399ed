"""Racing: a trial stops as soon as its accuracy is surely beaten.

The sentences of the search split come in a random order without replacement, and a rival's answers to all of them are
known. Of the sentences that the rival gets wrong the candidate wins some, of those that it gets right it loses some;
what was seen of both are draws from finite urns. An exact test refutes that wins and losses over the whole split are
as balanced as the rival allows: the largest probability, over every such pair of urns, of a difference at least as bad
as the one seen (the unconditional test of Barnard 1945, with hypergeometric draws). The error is spent over a fixed
number of looks (Lan and DeMets 1983, "Discrete sequential boundaries for clinical trials"), so that it holds wherever
the race stops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, ndtri

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
# Shares of the split after which the race is looked at, and of the error that each look may spend.
LOOKS = (0.03, 0.06, 0.1, 0.16, 0.24, 0.34, 0.45, 0.57, 0.7, 0.83)
SPEND = (0.02, 0.03, 0.05, 0.08, 0.1, 0.12, 0.14, 0.15, 0.15, 0.16)
BISECTIONS = 14
# How many standard deviations around the likeliest urns are searched for the largest probability.
REACH = 5.0


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
    """Follows one candidate, look by look.

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
        self._delta = delta / max(1, len(rivals))
        self._looks = 0
        self._seen = np.zeros(0, dtype=np.int64)
        self._right = np.zeros(0, dtype=np.bool_)
        self._beaten: Rival | None = None

    def update(self, positions: Ints, correct: Bools) -> None:
        """Tell the sentences of the next look, in their random order, and whether each is classified rightly."""
        self._seen = np.concatenate([self._seen, positions])
        self._right = np.concatenate([self._right, correct])
        self._looks += 1
        lost = self._refuted if len(self._right) < self._total else self._behind
        if self._beaten is None:
            self._beaten = next((rival for rival in self._rivals if lost(rival, -rival.margin)), None)

    def beaten_by(self) -> Rival | None:
        """Return the rival that beat the candidate, or None."""
        return self._beaten

    def estimate(self) -> float:
        """Return the accuracy that the sentences seen suggest for all of them.

        The first rival's accuracy on all sentences plus the mean difference on those seen: far less noisy than the
        candidate's own share, since both are right and wrong on much the same sentences.

        Raises:
            ValueError: nothing was seen yet.
        """
        if not len(self._right):
            raise ValueError("nothing was seen yet")
        right = self._right.astype(np.float64)
        if not self._rivals:
            return float(right.mean())
        rival = self._rivals[0].correct
        value = rival.mean() + (right - rival[self._seen]).mean()
        return float(np.clip(value, right.sum() / self._total, self._most()))

    def upper_bound(self) -> float:
        """Return what the candidate's accuracy on all sentences is at most, but for a chance of ``delta``.

        The smallest of what the tests against the rivals leave, and of all sentences to come being right.
        """
        bounds = [self._most()]
        for rival in self._rivals:
            low, high = -1.0, 1.0
            for _ in range(BISECTIONS):
                middle = (low + high) / 2
                low, high = (low, middle) if self._refuted(rival, middle) else (middle, high)
            bounds.append(float(rival.correct.mean()) + high)
        return min(bounds)

    def _most(self) -> float:
        return (int(self._right.sum()) + self._total - len(self._right)) / self._total

    def _behind(self, rival: Rival, difference: float) -> bool:
        """Return whether the difference to a rival is below ``difference`` once all is read: latency can be spared."""
        return float(self._right.sum() - rival.correct.sum()) < difference * self._total - 1e-9

    def _refuted(self, rival: Rival, difference: float) -> bool:
        """Return whether the mean difference to a rival is surely below ``difference``."""
        alpha = self._delta * (SPEND[self._looks - 1] if self._looks <= len(SPEND) else 0.0)
        known = rival.correct[self._seen]
        wins, losses = int((self._right & ~known).sum()), int((~self._right & known).sum())
        misses = Urn(int((~rival.correct).sum()), int((~known).sum()), wins)
        hits = Urn(int(rival.correct.sum()), int(known.sum()), losses)
        least = int(np.ceil(difference * self._total - 1e-9))
        if misses.most() - losses < least:
            return True
        return refutes(misses, hits, least, alpha)


@dataclass(frozen=True)
class Urn:
    """Draws without replacement.

    Attributes:
        size: Sentences in it.
        drawn: How many were drawn.
        marked: How many of those were marked.
    """

    size: int
    drawn: int
    marked: int

    def most(self) -> int:
        """Return the largest number of marked sentences that the urn can hold."""
        return self.size - self.drawn + self.marked

    def guess(self) -> float:
        """Return the likeliest number of marked sentences, or half of an urn that nothing was drawn from."""
        return self.size * self.marked / self.drawn if self.drawn else self.size / 2

    def spread(self, marked: float) -> float:
        """Return the standard deviation of :meth:`guess` if the urn holds so many."""
        share = np.clip(marked / max(self.size, 1), 0, 1)
        left = (self.size - self.drawn) / max(self.size - 1, 1)
        return float(self.size * np.sqrt(share * (1 - share) * left / max(self.drawn, 1)))


def refutes(wins: Urn, losses: Urn, least: int, alpha: float) -> bool:
    """Return whether ``wins - losses >= least`` is refuted at error ``alpha``.

    Args:
        wins: The sentences that the rival gets wrong; marked where the candidate is right.
        losses: Those that the rival gets right; marked where the candidate is wrong.
        least: The smallest difference over the whole split under the null.
        alpha: Error of this look.
    """
    if alpha <= 0 or not wins.drawn or not losses.drawn:
        return False
    seen = wins.guess() - losses.guess()
    # Where even a normal approximation is far from refuting, the exact test need not be asked.
    centre = np.clip((wins.guess() + losses.guess() + least) / 2, 0.5, max(wins.size, 1))
    rough = np.hypot(wins.spread(centre), losses.spread(max(centre - least, 0.5)))
    if seen > least - 0.7 * -ndtri(alpha) * rough:
        return False
    reach = REACH * max(rough, 1.0)
    low = int(np.floor(max(0, least, centre - reach)))
    high = int(np.ceil(min(wins.size, losses.size + least, centre + reach)))
    return all(_tail(wins, losses, held, held - least, seen) <= alpha for held in range(low, high + 1))


def _tail(wins: Urn, losses: Urn, held: int, lost: int, seen: float) -> float:
    """Return the chance of a difference of at most ``seen`` when the urns hold so many wins and losses."""
    won = np.arange(max(0, wins.drawn - wins.size + held), min(held, wins.drawn) + 1)
    fell = np.arange(max(0, losses.drawn - losses.size + lost), min(lost, losses.drawn) + 1)
    above = np.concatenate([np.cumsum(_chance(losses, lost, fell)[::-1])[::-1], [0.0]])
    needed = np.ceil((won * wins.size / wins.drawn - seen) * losses.drawn / losses.size - 1e-9).astype(np.int64)
    rows = np.clip(needed - fell[0], 0, len(fell))
    return float((_chance(wins, held, won) * above[rows]).sum())


def _chance(urn: Urn, held: int, marked: Ints) -> Floats:
    """Return the hypergeometric probabilities of drawing so many marked sentences from an urn that holds ``held``."""
    logs = _choose(held, marked) + _choose(urn.size - held, urn.drawn - marked) - _choose(urn.size, urn.drawn)
    chances: Floats = np.exp(logs)
    return chances


def _choose(total: int, some: Ints | int) -> Floats:
    logs: Floats = gammaln(total + 1) - gammaln(np.asarray(some) + 1) - gammaln(total - np.asarray(some) + 1)
    return logs


def chunks(total: int) -> Iterator[slice]:
    """Yield the slices between looks, which cover ``total`` sentences once; the last one ends the race."""
    ends = sorted({max(1, round(total * look)) for look in LOOKS if round(total * look) < total} | {total})
    for start, stop in zip([0, *ends], ends, strict=False):
        yield slice(start, stop)
