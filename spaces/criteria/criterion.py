"""The criteria's contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from slimfront.spaces.moments import LabelledBatch
from slimfront.spaces.structure import Structure
from slimfront.studies.registry import Registry
from torch import nn

__all__ = ["CRITERIA", "Criterion", "LabelledBatch"]


class Criterion(ABC):
    """Scores the units of every structure; the units with the lowest scores are removed first.

    Attributes:
        repairs: Whether the scores suppose that the weights that stay make up for those that go.
    """

    repairs: ClassVar[bool] = False

    @abstractmethod
    def scores(
        self, module: nn.Module, structures: Sequence[Structure], batches: Iterable[LabelledBatch]
    ) -> dict[str, torch.Tensor]:
        """Return non-negative scores ``(units,)`` by structure.

        Args:
            module: The dense model; it is left as it was.
            structures: The structures to be scored.
            batches: Inputs ``(rows, tokens)`` and labels ``(rows,)`` of the train split.
        """


CRITERIA: Registry[Criterion] = Registry("criterion", "slimfront.spaces.criteria")
