"""The criteria's contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

import torch
from slimfront.spaces.structure import Structure
from slimfront.studies.registry import Registry
from torch import nn

LabelledBatch = tuple[Mapping[str, torch.Tensor], torch.Tensor]


class Criterion(ABC):
    """Scores the units of every structure; the units with the lowest scores are removed first."""

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
