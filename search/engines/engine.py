"""The engines' contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from slimfront.search.coordinator import Coordinator
from slimfront.search.run import Run
from slimfront.studies.registry import Registry

Json = dict[str, Any]


class Engine(ABC):
    """Evaluates the tasks that a coordinator hands out, somewhere.

    Args:
        run: The run folder.
    """

    @abstractmethod
    def __init__(self, run: Run) -> None: ...

    @abstractmethod
    def prepare(self, progress: Callable[[str, float], None]) -> Json:
        """Load the study in a first worker, which computes whatever trials share, and return its guide.

        Raises:
            SlimfrontError: the study cannot be loaded.
        """

    @abstractmethod
    def search(self, coordinator: Coordinator) -> None:
        """Evaluate tasks until the coordinator hands out none.

        A worker that dies costs the trial it was at.

        Raises:
            SlimfrontError: workers cannot load the study, or too many trials failed.
        """

    @abstractmethod
    def ask(self, task: Json) -> Json:
        """Return the answer to one task outside the search.

        Raises:
            SlimfrontError: the worker could not do it.
        """

    @abstractmethod
    def close(self) -> None:
        """End every worker at once."""


ENGINES: Registry[Engine] = Registry("engine", "slimfront.search.engines")
