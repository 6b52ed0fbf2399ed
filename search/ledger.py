"""What the coordinator knows of its trials, kept up to date trial by trial."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import moocore
import numpy as np
from slimfront.search.box import Box
from slimfront.search.front import losses_of, non_dominated
from slimfront.search.trial import Trial
from slimfront.spaces.configuration import Configuration
from slimfront.studies.limits import Limit

Json = dict[str, Any]


class Ledger:
    """All trials of a run.

    Args:
        objectives: Unit and direction by objective.
        trials: Trials so far.
        limits: The study's constraints by objective.

    Attributes:
        dense: The dense model's trial, once it is complete.
        front: Feasible, complete trials that no other beats, in no order.
        steering: Complete trials that no other beats in what samplers are told, whether feasible or not, in no order.
        complete: Numbers of complete trials that are neither dense nor duplicates, in the order of their end.
        evaluated: How many trials were started that are no duplicates.
        cpu: CPU seconds of all trials together.
    """

    def __init__(
        self, objectives: Mapping[str, Json], trials: Iterable[Trial], limits: Mapping[str, Limit] | None = None
    ) -> None:
        self._objectives, self._limits = dict(objectives), dict(limits or {})
        self._trials: dict[int, Trial] = {}
        self._states: dict[str, int] = {}
        self._arrived: list[int] = []
        self._kinds: dict[str, int] = {}
        self._origin: dict[Configuration, int] = {}
        self._visited: dict[Configuration, None] = {}
        self._grown: list[float] = []
        self.dense: Trial | None = None
        self.front: list[Trial] = []
        self.steering: list[Trial] = []
        self.complete: list[int] = []
        self.evaluated, self.cached, self.cpu = 0, 0, 0.0
        for trial in trials:
            self.put(trial)

    def put(self, trial: Trial) -> list[Trial]:
        """Take a trial that is new or has changed; return those whose artifacts nobody needs any longer."""
        before = self._trials.get(trial.number)
        self._trials[trial.number] = trial
        self._states[trial.state] = self._states.get(trial.state, 0) + 1
        if before is None:
            self._visited[trial.configuration] = None
            self._kinds[trial.kind] = self._kinds.get(trial.kind, 0) + 1
            self.evaluated += trial.cached_from is None
        else:
            self._states[before.state] -= 1
            self.evaluated -= before.cached_from is None and trial.cached_from is not None
        if trial.state not in ("complete", "stopped") or (before is not None and before.state == trial.state):
            return []
        self._arrived.append(trial.number)
        self.cpu += float(trial.details.get("cpu", {}).get("total", 0.0))
        self.cached += trial.cached_from is not None
        if trial.cached_from is not None:
            return [trial]
        self._origin[trial.configuration] = trial.number
        left = [trial] if trial.state == "stopped" else self._welcome(trial)
        self._grown.append(self.hypervolume())
        return left

    def _welcome(self, trial: Trial) -> list[Trial]:
        if trial.kind == "dense":
            self.dense = trial
        else:
            self.complete.append(trial.number)
        self.steering = self._unbeaten([*self.steering, trial], Trial.steer)
        if not trial.feasible:
            return [] if trial.kind == "dense" else [trial]
        candidates = [*self.front, trial]
        self.front = self._unbeaten(candidates, Trial.value)
        kept = {other.number for other in self.front}
        return [other for other in candidates if other.number not in kept and other.kind != "dense"]

    def _unbeaten(self, trials: list[Trial], value: Callable[[Trial, str], float]) -> list[Trial]:
        values = [{name: value(trial, name) for name in self._objectives} for trial in trials]
        return [trials[row] for row in sorted(non_dominated(losses_of(self._objectives, values)))]

    def _values(self, trial: Trial) -> dict[str, float]:
        return {name: trial.value(name) for name in self._objectives}

    def hypervolume(self) -> float:
        """Return the share of the box between dense and ideal that the front dominates."""
        if self.dense is None:
            return 0.0
        box = Box.of(self._objectives, self._values(self.dense), self._limits)
        return box.hypervolume([self._values(trial) for trial in self.front])

    def leaders(self, count: int) -> list[Trial]:
        """Return the compressed members of the front without which most of its hypervolume is lost, the smallest first.

        "Smallest" is by the first objective.
        """
        if self.dense is None or not self.front:
            return []
        box = Box.of(self._objectives, self._values(self.dense), self._limits)
        scaled = box.scaled(np.array([[self._values(t)[name] for name in box.names] for t in self.front]))
        shares = moocore.hv_contributions(scaled, ref=np.ones(len(box.names)))
        ranked = [self.front[row] for row in np.argsort(-shares, kind="stable")]
        leading = [trial for trial in ranked if trial.kind != "dense"][:count]
        return sorted(leading, key=lambda trial: trial.value(box.names[0]))

    def arrived(self, first: int) -> list[Trial]:
        """Return complete and stopped trials in the order in which they finished, from the ``first``-th on."""
        return [self._trials[number] for number in self._arrived[first:]]

    def running(self) -> list[Trial]:
        """Return the trials that are running, by number."""
        if not self._states.get("running"):
            return []
        return sorted((t for t in self._trials.values() if t.state == "running"), key=lambda t: t.number)

    def state(self, number: int) -> str | None:
        """Return the state of a trial, or None where there is none."""
        trial = self._trials.get(number)
        return None if trial is None else trial.state

    def count(self, state: str) -> int:
        """Return how many trials are in a state."""
        return self._states.get(state, 0)

    def kinds(self, kind: str) -> int:
        """Return how many trials of a kind were started."""
        return self._kinds.get(kind, 0)

    def configurations(self) -> list[Configuration]:
        """Return every configuration that was started, in order."""
        return list(self._visited)

    def twin(self, configuration: Configuration) -> Trial | None:
        """Return the finished trial of an equal configuration that is no duplicate itself."""
        number = self._origin.get(configuration)
        return None if number is None else self._trials[number]

    def visited(self, configuration: Configuration) -> bool:
        """Return whether a configuration was started before."""
        return configuration in self._visited

    def streak(self) -> int:
        """Return how many of the last trials were duplicates."""
        found = 0
        while (trial := self._trials.get(len(self._trials) - 1 - found)) is not None and trial.cached_from is not None:
            found += 1
        return found

    def stalled(self, patience: int, gain: float) -> bool:
        """Return whether the last ``patience`` trials have enlarged the hypervolume by less than a share ``gain``."""
        grown = self._grown
        return len(grown) > patience and grown[-1] <= grown[-1 - patience] * (1 + gain)

    def __len__(self) -> int:
        return len(self._trials)

    def __getitem__(self, number: int) -> Trial:
        return self._trials[number]
