"""The trackers' contract."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import ClassVar

from slimfront.search.front import Front
from slimfront.search.run import Run
from slimfront.search.trial import Trial
from slimfront.studies.errors import MissingError
from slimfront.studies.registry import Registry


class Tracker(ABC):
    """Shows a search in a tool that its user has already.

    All methods but the constructor are called on one thread, which is no other tracker's; whatever they raise ends this
    tracker, never the search. See :class:`slimfront.search.tracking.Tracking`.

    Args:
        run: The run folder.

    Attributes:
        package: The module that it imports.
        install: What pip installs it as.
    """

    package: ClassVar[str]
    install: ClassVar[str]

    def __init__(self, run: Run) -> None:
        self.run = run

    @classmethod
    def require(cls) -> None:
        """Make sure that what this tracker needs is installed.

        Raises:
            MissingError: it is not.
        """
        if importlib.util.find_spec(cls.package) is None:
            raise MissingError(
                "what this tracker needs is not installed",
                where="search.trackers",
                given=cls.package,
                hint=f"pip install '{cls.install}', or leave the tracker out",
            )

    @abstractmethod
    def begin(self) -> Collection[int]:
        """Begin, or go on with what was shown of the same run folder.

        Returns:
            The numbers of the trials that are shown already, and are not told again.
        """

    @abstractmethod
    def trial(self, trial: Trial, hypervolume: float) -> None:
        """Show a trial that is complete, was stopped early or has failed.

        Args:
            trial: The trial.
            hypervolume: Of the front after it, as :meth:`slimfront.search.ledger.Ledger.hypervolume` has it.
        """

    @abstractmethod
    def end(self, front: Front | None) -> None:
        """Show what was found; nothing more is told after this.

        Args:
            front: The front, whose report lies in the run folder; None where the search ended before its time.
        """


def measured(trial: Trial) -> dict[str, float]:
    """Return what was measured of a trial by objective; of a stopped one there are estimates, which are left out."""
    return {name: trial.value(name) for name in trial.measurements} if trial.state == "complete" else {}


TRACKERS: Registry[Tracker] = Registry("tracker", "slimfront.search.trackers")
