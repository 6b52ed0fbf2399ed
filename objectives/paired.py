"""What two models get right on the same examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Change:
    """By how much one model is more accurate than another.

    Attributes:
        value: Difference of the shares of right answers.
        low: Lower end of the paired 95 % interval.
        high: Upper end.
        p: Chance of a difference at least as large between models that are equally good.
    """

    value: float
    low: float
    high: float
    p: float

    def to_json(self) -> dict[str, Any]:
        """Return the change as JSON."""
        return {"value": self.value, "interval": [self.low, self.high], "p": self.p}


def change(before: Bools, after: Bools) -> Change:
    """Return by how much ``after`` is more accurate than ``before``.

    Only examples count on which the two differ: exact test of McNemar 1947, "Note on the sampling error of the
    difference between correlated proportions or percentages"; interval of Agresti and Min 2005, "Simple improved
    confidence intervals for comparing matched proportions", section 2.

    Args:
        before: Whether each example was right, ``(examples,)``.
        after: The same of the other model.

    Raises:
        ValueError: there are no examples, or not the same number.
    """
    # Imported where it is used: a start should not wait for it.
    from scipy.stats import binomtest, norm

    if before.shape != after.shape or not len(before):
        raise ValueError(f"the same examples are needed, not {before.shape} and {after.shape}")
    lost, won, total = int((before & ~after).sum()), int((~before & after).sum()), len(before)
    p = float(binomtest(won, won + lost, 0.5).pvalue) if won + lost else 1.0
    # Half an example more in each of the four cells.
    more, less, among = won + 0.5, lost + 0.5, total + 2
    middle = (more - less) / among
    reach = float(norm.ppf(0.975)) * float(np.sqrt(more + less - (more - less) ** 2 / among)) / among
    value = (won - lost) / total
    return Change(value, min(value, middle - reach), max(value, middle + reach), p)
