"""Tells trackers of a search what has finished, and keeps their troubles from it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from slimfront.search.front import Front
from slimfront.search.ledger import Ledger
from slimfront.search.printing import say
from slimfront.search.run import Run
from slimfront.search.trackers import TRACKERS, Tracker
from slimfront.search.trial import Trial
from slimfront.studies.errors import one_line
from slimfront.studies.limits import Limit

Json = dict[str, Any]
# Seconds that the trackers of a search which ends before its time have for what they were told.
PATIENCE = 5.0


class Tracking:
    """The trackers of a search; use it as a context around the search.

    Args:
        trackers: By name.
        objectives: Unit and direction by objective.
        limits: The study's constraints.
        warn: Called with a line about a tracker that gave up.
    """

    def __init__(
        self,
        trackers: Mapping[str, Tracker],
        objectives: Mapping[str, Json],
        limits: Mapping[str, Limit],
        warn: Callable[[str], None] = say,
    ) -> None:
        self._followers = [
            _Follower(name, tracker, Ledger(objectives, (), limits), warn) for name, tracker in trackers.items()
        ]

    def trial(self, trial: Trial) -> None:
        """Tell of a finished trial; those that are shown already are told, too, for the front's sake."""
        for follower in self._followers:
            follower.tell(trial)

    def end(self, front: Front) -> None:
        """Tell what was found, and wait until all of it is shown."""
        for follower in self._followers:
            follower.tell(front)
        for follower in self._followers:
            follower.wait()

    def __enter__(self) -> Tracking:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for follower in self._followers:
                follower.tell(None)
            for follower in self._followers:
                follower.wait(PATIENCE / len(self._followers))


class _Follower:
    """One tracker on a thread of its own: neither what it raises nor how long it takes matters to the search."""

    def __init__(self, name: str, tracker: Tracker, ledger: Ledger, warn: Callable[[str], None]) -> None:
        self._name, self._tracker, self._ledger, self._warn = name, tracker, ledger, warn
        self._told: queue.SimpleQueue[Trial | Front | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._follow, name=f"tracker {name}", daemon=True)

    def tell(self, what: Trial | Front | None) -> None:
        self._told.put(what)
        # Not before there is a trial: a search that never began leaves nothing behind.
        if self._thread.ident is None and what is not None:
            self._thread.start()

    def wait(self, longest: float = float("inf")) -> None:
        # Short joins let signals through.
        while self._thread.is_alive() and longest > 0:
            self._thread.join(0.1)
            longest -= 0.1

    def _follow(self) -> None:
        try:
            known = self._tracker.begin()
            while isinstance(told := self._told.get(), Trial):
                self._ledger.put(told)
                if told.number not in known:
                    self._tracker.trial(told, self._ledger.hypervolume())
            self._tracker.end(told)
        except Exception as error:
            cause = f"{type(error).__name__}: {error}".splitlines()[0]
            self._warn(f"tracker {self._name} gave up, the search goes on without it: {one_line(cause, 300)}")


def trackers_of(run: Run) -> dict[str, Tracker]:
    """Return the trackers that a run's study names."""
    return {name: TRACKERS.get(name, where="search.trackers")(run) for name in run.study.search.trackers}
