"""The sessions' contract."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from slimfront.objectives.artifact import Artifact
from slimfront.studies.encoding import Batch, Encoded, Requests
from slimfront.studies.errors import NotFinite
from slimfront.studies.registry import Registry


class Session(ABC):
    """An artifact, loaded and ready.

    Args:
        artifact: What is loaded.

    Attributes:
        side_by_side: Whether several may be loaded at once by threads of one process, and sooner so.
        reading: Sentences that are read at once where quality is measured, at least: more than one only where an answer
            is the same but for rounding whatever else is in the batch.
    """

    side_by_side: ClassVar[bool] = False
    reading: ClassVar[int] = 1

    @abstractmethod
    def __init__(self, artifact: Artifact) -> None: ...

    @classmethod
    def imports(cls, artifact: Artifact) -> tuple[str, ...]:
        """Return the modules that are imported where an artifact is loaded: by default the runtime's own."""
        return (artifact.runtime,)

    @classmethod
    def prepare(cls, artifact: Artifact) -> None:
        """Do what is done once in a process, whatever artifacts like this one are loaded: import the libraries."""
        for name in cls.imports(artifact):
            importlib.import_module(name)

    @property
    @abstractmethod
    def inputs(self) -> tuple[str, ...]:
        """Names of what it reads of a batch."""

    @property
    @abstractmethod
    def threads(self) -> int:
        """Threads of one inference, as the runtime itself tells."""

    @abstractmethod
    def run(self, batch: Batch) -> npt.NDArray[np.float32]:
        """Return the logits ``(rows, classes)`` of a batch whose inputs are ``(rows, tokens)``."""


SESSIONS: Registry[Session] = Registry("session", "slimfront.objectives.sessions")


def reading_batch(runtime: str, batch: int) -> int:
    """Return how many sentences a runtime reads at once where quality is measured, given the target's batch."""
    return max(batch, SESSIONS.get(runtime, where="target.runtime").reading)


def load(artifact: Artifact) -> Session:
    """Load an artifact with its runtime."""
    return SESSIONS.get(artifact.runtime, where="artifact")(artifact)


class Deferred(Session):
    """An artifact that is loaded when it is used first.

    Args:
        artifact: What is loaded then.
    """

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact

    @cached_property
    def _session(self) -> Session:
        return load(self._artifact)

    @property
    def inputs(self) -> tuple[str, ...]:
        """See :attr:`Session.inputs`."""
        return self._session.inputs

    @property
    def threads(self) -> int:
        """See :attr:`Session.threads`."""
        return self._session.threads

    def run(self, batch: Batch) -> npt.NDArray[np.float32]:
        """See :meth:`Session.run`."""
        return self._session.run(batch)


def run_all(session: Session, requests: Requests) -> None:
    """Run an artifact on some requests, one after the other."""
    for batch in requests:
        session.run(batch)


def read(session: Session, examples: Encoded, groups: Iterable[Sequence[int]]) -> dict[int, npt.NDArray[np.float32]]:
    """Return the logits ``(classes,)`` of some examples by index, which are run in the given groups.

    Raises:
        NotFinite: a logit is not finite.
        ValueError: the logits have another shape.
    """
    found: dict[int, npt.NDArray[np.float32]] = {}
    for rows in groups:
        logits = session.run(examples.batch(rows))
        if logits.ndim != 2 or len(logits) != len(rows):
            raise ValueError(f"the artifact's logits are not ({len(rows)}, classes): {logits.shape}")
        if not np.isfinite(logits).all():
            raise NotFinite("the artifact's logits are not finite")
        found.update(zip(rows, logits, strict=True))
    return found
