"""The masks' contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from slimfront.spaces.masks.pattern import Pattern
from slimfront.studies.registry import Registry


class Mask(ABC):
    """Sets single weights of a matrix to zero.

    Attributes:
        calibrated: Whether it uses second moments of what the layer reads.
    """

    calibrated: ClassVar[bool] = False

    @abstractmethod
    def thin(self, weight: torch.Tensor, pattern: Pattern, moment: torch.Tensor | None = None) -> torch.Tensor:
        """Return the matrix with zeros; a row does not depend on the other rows.

        Args:
            weight: ``(rows, columns)`` float32.
            pattern: How many zeros, and where they may lie.
            moment: Second moments of what the layer reads, ``(columns, columns)``, or None where they are not known, as
                of an embedding table.
        """


MASKS: Registry[Mask] = Registry("mask", "slimfront.spaces.masks")
