"""The objectives' contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.measurement import Measurement
from slimfront.objectives.rest import Rest
from slimfront.objectives.sessions.session import Session, read, run_all
from slimfront.studies.encoding import Encoded, Requests
from slimfront.studies.registry import Registry

Direction = Literal["minimize", "maximize"]
Row = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Context:
    """What an objective may use to measure an artifact.

    Attributes:
        session: The artifact, loaded.
        examples: The split on which quality is measured.
        batch: Sentences of the examples that are read at once.
        requests: The requests whose latency is measured: a model that reads texts as more tokens gets more of them.
        load_dense: Loads the dense artifact, when it is first to be run; None where the artifact is run beside itself.
        dense_requests: The dense model's requests.
        dense: The dense artifact's values by objective; empty while it is measured itself.
        full_requests: Full batches, as the dense model reads them and as the artifact does; None where nobody asks.
        dense_logits: The dense artifact's logits of the examples, ``(examples, classes)``, or None where it is measured
            itself.
        cost: The latency that is predicted for the artifact, relative to the dense model's: repeatable.
        rest: How long the dense model takes while the machine is at rest.
    """

    session: Session
    examples: Encoded
    batch: int
    requests: Requests
    load_dense: Callable[[], Session] | None
    dense_requests: Requests
    dense: Mapping[str, float]
    cost: float
    full_requests: tuple[Requests, Requests] | None = None
    dense_logits: npt.NDArray[np.float32] | None = None
    rest: Rest = field(default_factory=Rest)
    _seen: dict[int, Row] = field(default_factory=dict)

    @cached_property
    def groups(self) -> list[list[int]]:
        """The examples in groups that are read at once."""
        return self.examples.partition(self.batch)

    @cached_property
    def _home(self) -> dict[int, int]:
        """The group of each example."""
        return {index: number for number, group in enumerate(self.groups) for index in group}

    @cached_property
    def dense_session(self) -> Session:
        """The dense artifact, loaded at its first use; the artifact's own session where there is no other."""
        return self.load_dense() if self.load_dense else self.session

    def runs(self) -> list[Callable[[], None]]:
        """Return what runs the dense model's requests and what runs the artifact's, both of them loaded."""
        asked = ((self.dense_session, self.dense_requests), (self.session, self.requests))
        return [partial(run_all, session, requests) for session, requests in asked]

    def see(self, indices: Sequence[int]) -> npt.NDArray[np.float32]:
        """Run the artifact on some examples, unless it has, and return their logits ``(indices, classes)``.

        Raises:
            NotFinite: a logit is not finite.
        """
        # Always the same groups: what a model answers may depend on what else is in the batch.
        missing = sorted({self._home[index] for index in indices if index not in self._seen})
        self._seen.update(read(self.session, self.examples, [self.groups[number] for number in missing]))
        return np.stack([self._seen[index] for index in indices])

    def recall(self, logits: npt.NDArray[np.float32]) -> None:
        """Take the logits of all examples, ``(examples, classes)``, from an earlier run of the same artifact."""
        self._seen.update(enumerate(logits))

    def read(self) -> int:
        """Return how many examples the artifact was run on."""
        return len(self._seen)

    def seen(self) -> tuple[list[int], npt.NDArray[np.float32]]:
        """Return the examples that the artifact was run on, and their logits ``(examples, classes)``."""
        indices = sorted(self._seen)
        return indices, np.stack([self._seen[index] for index in indices])

    def logits(self) -> npt.NDArray[np.float32]:
        """Return the artifact's logits of all examples, ``(examples, classes)``; each is computed once."""
        return self.see(range(len(self.examples)))

    def predictions(self) -> npt.NDArray[np.int64]:
        """Return the artifact's predicted label of each example, ``(examples,)``."""
        found: npt.NDArray[np.int64] = self.logits().argmax(axis=1)
        return found


class Objective(ABC):
    """Something measured on an artifact.

    Attributes:
        unit: Unit of the value: ``byte``, ``ms``, ``J``, ``fraction`` or ``nat``.
        direction: Whether less or more is better.
        description: How the value is to be read.
        worst: Where the dense model has the best value there is: the value from which on a model is of no use.
        on_examples: Whether it is measured on examples, so that the front is measured again on the held-out split.
        predicted: Whether a prediction stands in for it while a trial is compared with others.
        proxy: ``size`` or ``latency``: what is predicted, and told to samplers, in place of an objective that is not
            predicted itself.
    """

    unit: ClassVar[str]
    direction: ClassVar[Direction]
    description: ClassVar[str]
    worst: ClassVar[float | None] = None
    on_examples: ClassVar[bool] = False
    predicted: ClassVar[bool] = False
    proxy: ClassVar[str | None] = None

    @classmethod
    def require(cls, device: str) -> None:  # noqa: ARG003
        """Check that this machine can measure it on a target's device; most objectives can be measured anywhere.

        Raises:
            MissingError: it cannot.
        """
        return

    @classmethod
    def entry(cls) -> dict[str, str | float]:
        """Return as JSON how values are to be read and compared."""
        found: dict[str, str | float] = {"unit": cls.unit, "direction": cls.direction}
        return found if cls.worst is None else {**found, "worst": cls.worst}

    @abstractmethod
    def measure(self, artifact: Artifact, context: Context) -> Measurement:
        """Measure one artifact."""


OBJECTIVES: Registry[Objective] = Registry("objective", "slimfront.objectives")
