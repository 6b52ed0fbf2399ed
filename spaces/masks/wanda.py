"""The weights that matter least for what the layer reads become zero."""

from __future__ import annotations

import torch
from slimfront.spaces.masks.mask import MASKS, Mask
from slimfront.spaces.masks.pattern import Pattern


@MASKS.register("wanda")
class Wanda(Mask):
    """``|w_ij| ||x_j||_2``, compared within each row.

    Sun et al. 2024, "A Simple and Effective Pruning Approach for Large Language Models", equation 1 and section 3; the
    norm is the root of the mean square. Without second moments it is the magnitude.
    """

    calibrated = True

    def thin(self, weight: torch.Tensor, pattern: Pattern, moment: torch.Tensor | None = None) -> torch.Tensor:
        """See :meth:`Mask.thin`."""
        norms = torch.ones(weight.shape[1]) if moment is None else moment.diagonal().clamp_min(0).sqrt()
        return weight.masked_fill(pattern.cheapest(weight.abs() * norms), 0.0)
