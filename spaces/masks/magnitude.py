"""The smallest weights become zero."""

from __future__ import annotations

import torch
from slimfront.spaces.masks.mask import MASKS, Mask
from slimfront.spaces.masks.pattern import Pattern


@MASKS.register("magnitude")
class Magnitude(Mask):
    """``|w|`` (Han et al. 2015, "Learning both Weights and Connections for Efficient Neural Networks", section 3)."""

    def thin(self, weight: torch.Tensor, pattern: Pattern, moment: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002
        """See :meth:`Mask.thin`."""
        return weight.masked_fill(pattern.cheapest(weight.abs()), 0.0)
