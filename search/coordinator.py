"""The coordinator: owns the records, decides which configuration is next, and takes the results."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from slimfront.search.front import Front
from slimfront.search.records import Records, Trial, finished
from slimfront.search.run import Run
from slimfront.search.samplers import Observation, Sampler
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.space import Space
from slimfront.studies.errors import TooManyFailures
from slimfront.studies.limits import Limit

Json = dict[str, Any]
STREAK, ATTEMPTS, LEAST_FAILURES = 3, 2, 3


@dataclass(frozen=True)
class Progress:
    """How far a search is.

    Attributes:
        done: Trials evaluated, failures included.
        trials: Trials wanted.
        cached: Duplicates answered from the records.
        failed: Trials that failed.
        best: A line about the front.
    """

    done: int
    trials: int
    cached: int
    failed: int
    best: str


class Coordinator:
    """Hands out tasks and records results; safe to be called from several threads.

    Args:
        run: The run folder.
        records: Its records.
        space: The space.
        sampler: Decides what comes after the uniform settings.
        limits: The study's constraints.
        deadline: Monotonic time after which no task is handed out.
        report: Called after each trial.
    """

    def __init__(
        self,
        run: Run,
        records: Records,
        space: Space,
        sampler: Sampler,
        limits: Mapping[str, Limit],
        deadline: float | None,
        report: Callable[[Progress], None],
    ) -> None:
        self._run, self._records, self._space, self._sampler = run, records, space, sampler
        self._limits, self._deadline, self._report = limits, deadline, report
        self._objectives = records.objectives()
        self._changed = threading.Condition()
        self._stopped = False
        self._uniform = space.uniform()
        self._trials: dict[int, Trial] = {trial.number: trial for trial in records.trials()}
        left = [trial for trial in self._trials.values() if trial.state == "running"]
        self._abandoned = deque(sorted(left, key=lambda trial: trial.number))

    # ---- what engines call -----------------------------------------------------------------------------------

    def next_task(self) -> Json | None:
        """Return the next task, or None when there is nothing left to do. Waits while the dense model runs."""
        with self._changed:
            while not self._stopped and not self._late():
                trial = self._adopt() or self._next_trial()
                if trial is not None:
                    return self._task(trial)
                if self._exhausted():
                    return None
                self._changed.wait(0.2)
            return None

    def finish(self, number: int, outcome: Json) -> None:
        """Record what became of a task.

        Args:
            number: The trial's number.
            outcome: What the worker answered: measurements and sums of files, or ``error`` and ``message``.

        Raises:
            TooManyFailures: more trials failed than the study tolerates, or the dense model itself.
        """
        with self._changed:
            if "error" in outcome:
                self._records.fail(number, f"{outcome['error']}: {outcome['message']}")
                shutil.rmtree(self._run.artifact(number), ignore_errors=True)
            else:
                self._records.complete(number, outcome, self._violations(outcome["measurements"]))
            self._trials = {trial.number: trial for trial in self._records.trials()}
            self._remove_artifacts()
            self._changed.notify_all()
            self._report(self.progress())
            self._check_failures(number)

    def stop(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def progress(self) -> Progress:
        """Return how far the search is."""
        states = [trial.state for trial in self._trials.values()]
        cached = sum(trial.cached_from is not None for trial in self._trials.values())
        done = states.count("complete") - cached + states.count("failed")
        best = ""
        if self._dense() is not None:
            front = self._run.front()
            best = f"front of {len(front.points)}, hypervolume {front.hypervolume():.3f}"
        return Progress(done, self._run.study.search.trials, cached, states.count("failed"), best)

    # ---- choosing --------------------------------------------------------------------------------------------

    def _late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def _by_number(self) -> list[Trial]:
        return [self._trials[number] for number in sorted(self._trials)]

    def _dense(self) -> Trial | None:
        return next((trial for trial in finished(self._by_number()) if trial.kind == "dense"), None)

    def _adopt(self) -> Trial | None:
        """Start a trial that a dead process left running once more, under its own number and seed."""
        while self._abandoned:
            trial = self._abandoned.popleft()
            if trial.attempts < ATTEMPTS or trial.kind == "dense":
                trial = self._records.again(trial.number)
                self._trials[trial.number] = trial
                return trial
            self._records.fail(trial.number, f"crashed: left unfinished {trial.attempts} times")
            self._trials = {other.number: other for other in self._records.trials()}
        return None

    def _next_trial(self) -> Trial | None:
        """Record and return the next new trial, or None while there is none to start."""
        while not self._budget_spent() and not (self._trials and self._dense() is None):
            configuration, kind = self._choose()
            if configuration is None:
                self._stopped = True
                return None
            twin = self._twin(configuration)
            trial = self._records.start(configuration, self._space.domains, kind, self._seed)
            self._trials[trial.number] = trial
            if twin is None:
                return trial
            answer = {
                "measurements": dict(twin.measurements),
                "files": dict(twin.files),
                "cached_from": twin.number,
            }
            self._records.complete(trial.number, answer, twin.violations)
            self._trials = {other.number: other for other in self._records.trials()}
            self._report(self.progress())
        return None

    def _budget_spent(self) -> bool:
        evaluated = sum(trial.cached_from is None for trial in self._trials.values())
        return evaluated >= self._run.study.search.trials

    def _exhausted(self) -> bool:
        running = any(trial.state == "running" for trial in self._trials.values())
        return self._stopped or (not running and self._budget_spent())

    def _seed(self, number: int) -> int:
        sequence = np.random.SeedSequence([self._run.study.search.seed, number])
        return int(sequence.generate_state(1)[0] % 2**31)

    def _twin(self, configuration: Configuration) -> Trial | None:
        for trial in finished(self._by_number()):
            if trial.configuration == configuration and trial.cached_from is None:
                return trial
        return None

    def _choose(self) -> tuple[Configuration | None, str]:
        """Return the next configuration and how it came about; None when every point was visited."""
        visited = {trial.configuration for trial in self._trials.values()}
        for configuration in self._uniform:
            if configuration not in visited:
                return configuration, "uniform" if self._trials else "dense"
        seed = self._seed(len(self._trials))
        directions = [entry["direction"] for entry in self._objectives.values()]
        values = self._sampler.suggest(self._space.domains, directions, list(self._history()), seed)
        configuration = self._space.canonical(values)
        if configuration not in visited or (self._twin(configuration) and self._streak() < STREAK):
            return configuration, "sampled"
        return self._unvisited(configuration, visited, seed), "neighbour"

    def _streak(self) -> int:
        """Return how many duplicates were answered in a row."""
        streak = 0
        for trial in reversed(self._by_number()):
            if trial.cached_from is None:
                break
            streak += 1
        return streak

    def _unvisited(self, start: Configuration, visited: set[Configuration], seed: int) -> Configuration | None:
        """Return a configuration nearest to ``start`` that was not visited, ties broken at random."""
        rng = random.Random(seed)
        seen, ring = {start}, [start]
        while ring:
            fresh = [other for point in ring for other in self._space.neighbours(point) if other not in seen]
            fresh = list(dict.fromkeys(fresh))
            unvisited = [point for point in fresh if point not in visited]
            if unvisited:
                return rng.choice(unvisited)
            seen.update(fresh)
            ring = fresh
        return None

    # ---- what the samplers are told --------------------------------------------------------------------------

    def _history(self) -> Iterator[Observation]:
        dense = self._dense()
        assert dense is not None
        base = {name: dense.value(name) for name in self._objectives}
        for trial in finished(self._by_number()):
            steer = {name: float(entry["steer"]) for name, entry in trial.measurements.items()}
            # A stand-in is relative: bring it to the objective's unit before it meets a bound.
            like = {n: v * base[n] / float(dense.measurements[n]["steer"] or 1) for n, v in steer.items()}
            violations = {name: limit.violation(like[name], base) for name, limit in self._limits.items()}
            yield Observation(dict(trial.configuration), tuple(steer.values()), violations)

    def _violations(self, measurements: Mapping[str, Json]) -> dict[str, float]:
        dense = self._dense()
        values = {name: float(entry["value"]) for name, entry in measurements.items()}
        base = {name: dense.value(name) for name in values} if dense else values
        return {name: limit.violation(values[name], base) for name, limit in self._limits.items()}

    # ---- tasks -----------------------------------------------------------------------------------------------

    def _task(self, trial: Trial) -> Json:
        dense = self._dense()
        reference = {name: dense.value(name) for name in self._objectives} if dense else {}
        return {
            "do": "evaluate",
            "number": trial.number,
            "configuration": dict(trial.configuration),
            "seed": trial.seed,
            "folder": str(self._run.artifact(trial.number)),
            "dense": reference,
            "dense_folder": str(self._run.artifact(dense.number if dense else trial.number)),
        }

    def _check_failures(self, number: int) -> None:
        failed = [trial for trial in self._trials.values() if trial.state == "failed"]
        if self._trials[number].state != "failed":
            return
        allowed = max(LEAST_FAILURES, int(self._run.study.search.failures * self._run.study.search.trials))
        if len(failed) > allowed or self._trials[number].kind == "dense":
            self._stopped = True
            raise TooManyFailures(
                f"{len(failed)} trials failed, the last one with {self._trials[number].error}",
                where="search.failures",
                given=len(failed),
                allowed=f"at most {allowed}",
                hint=f"see {self._run.folder / 'logs'}; finished trials are kept",
            )

    def _remove_artifacts(self) -> None:
        """Keep the artifacts of the dense model and of the front; the others can be rebuilt from their records."""
        if self._dense() is None:
            return
        front: Front = self._run.front()
        keep = {front.dense.trial, *(point.trial for point in front.points)}
        for trial in finished(list(self._trials.values())):
            if trial.number not in keep:
                shutil.rmtree(self._run.artifact(trial.number), ignore_errors=True)
