"""The runtimes' contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from slimfront.objectives.runtimes.artifact import Artifact
from slimfront.studies.compressed import Capabilities, CompressedModel, Cut
from slimfront.studies.encoding import Batch, Encoded
from slimfront.studies.registry import Registry
from slimfront.studies.schema import TargetSpec
from torch import nn


class Session(ABC):
    """An artifact, loaded and ready."""

    @abstractmethod
    def run(self, batch: Batch) -> npt.NDArray[np.float32]:
        """Return the logits ``(rows, classes)`` of a batch whose inputs are ``(rows, tokens)``."""


class Blueprint(ABC):
    """One model, prepared once for a target: makes an artifact of every compression of it."""

    @abstractmethod
    def lower(self, compressed: CompressedModel, folder: Path) -> Artifact:
        """Write the deployable files of a compressed model into an empty folder and seal them."""

    @abstractmethod
    def cost(self, compressed: CompressedModel) -> float:
        """Return a repeatable estimate of the latency relative to the dense model's, without running anything."""


class Runtime(ABC):
    """A target runtime.

    Args:
        spec: The study's section ``target``.

    Raises:
        MissingError: the runtime is not installed.
    """

    @abstractmethod
    def __init__(self, spec: TargetSpec) -> None: ...

    @abstractmethod
    def supports(self) -> Capabilities:
        """Return what the runtime packs and runs on this machine."""

    @abstractmethod
    def prepare(self, module: nn.Module, example: Mapping[str, torch.Tensor], cuts: Mapping[str, Cut]) -> Blueprint:
        """Convert a dense module once.

        Args:
            module: The dense module in evaluation mode.
            example: A small real batch, ``(rows, tokens)`` each.
            cuts: For each prunable structure how its widths show in the module.

        Raises:
            StudyError: the runtime cannot hold this module.
        """

    @abstractmethod
    def load(self, artifact: Artifact) -> Session:
        """Load an artifact."""


def predictions(session: Session, examples: Encoded, batch: int) -> npt.NDArray[np.int64]:
    """Return the predicted label's index of each example, ``(examples,)``.

    Raises:
        ValueError: a logit is not finite.
    """
    found = np.zeros(len(examples), dtype=np.int64)
    for indices, inputs in examples.sorted_batches(batch):
        logits = session.run(inputs)
        if logits.ndim != 2 or len(logits) != len(indices) or not np.isfinite(logits).all():
            raise ValueError(f"the artifact's logits are not finite or not ({len(indices)}, classes): {logits.shape}")
        found[indices] = logits.argmax(-1)
    return found


RUNTIMES: Registry[Runtime] = Registry("runtime", "slimfront.objectives.runtimes")
