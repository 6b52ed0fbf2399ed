"""Where zeros may lie."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from slimfront.spaces.domain import Value


@dataclass(frozen=True)
class Pattern:
    """A share of each row's weights, anywhere in the row or of each few neighbours.

    Attributes:
        share: Share of the weights that become zero.
        neighbours: The share is that of every so many neighbours in a row; 0: that of the whole row.
    """

    share: float
    neighbours: int = 0

    @classmethod
    def of(cls, value: Value) -> Pattern | None:
        """Return the pattern that a study writes as a share, or as ``n:m`` where n of every m stay; None for 0."""
        if isinstance(value, str):
            stay, of = (int(part) for part in value.split(":"))
            return cls(1 - stay / of, of)
        return cls(float(value)) if value else None

    def cheapest(self, prices: torch.Tensor) -> torch.Tensor:
        """Return which weights become zero, the cheapest, ``(rows, columns)``.

        Args:
            prices: What each would cost, ``(rows, columns)``.
        """
        rows, columns = prices.shape
        width = self.neighbours or columns
        whole = columns - columns % width
        found = torch.zeros(prices.shape, dtype=torch.bool)
        if whole:
            grouped = prices[:, :whole].reshape(rows, -1, width)
            found[:, :whole] = _lowest(grouped, self.count(width)).reshape(rows, whole)
        if whole < columns:
            # As many stay as of a whole group, if there are so many.
            left = columns - whole
            found[:, whole:] = _lowest(prices[:, whole:], max(0, left - width + self.count(width)))
        return found

    def count(self, width: int) -> int:
        """Return how many of so many weights become zero: one at least, and not all."""
        return min(max(1, round(self.share * width)), width - 1)


def _lowest(prices: torch.Tensor, count: int) -> torch.Tensor:
    """Return the ``count`` lowest along the last axis."""
    order = prices.argsort(dim=-1, stable=True)[..., :count]
    return torch.zeros(prices.shape, dtype=torch.bool).scatter_(-1, order, True)
