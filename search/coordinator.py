"""The coordinator: owns the records, decides which configuration is next, and takes the results."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slimfront.search.begun import mark_of, unmark
from slimfront.search.choosing import Chooser
from slimfront.search.ledger import Ledger
from slimfront.search.peers import Peers
from slimfront.search.prediction import Predictor
from slimfront.search.racing import LOGITS
from slimfront.search.records import Records
from slimfront.search.rows import NumberTaken
from slimfront.search.run import Run
from slimfront.search.samplers import Sampler
from slimfront.search.standing import Progress
from slimfront.search.trial import Trial
from slimfront.spaces.space import Space
from slimfront.studies.errors import RecordsError, TooManyFailures
from slimfront.studies.limits import Limit
from slimfront.studies.schema import seconds

Json = dict[str, Any]
ATTEMPTS, LEAST_FAILURES = 2, 3
# Growth of the hypervolume below which a stretch of trials counts as stagnation.
GAIN = 0.001
# In so large a last part of the time or of the CPU budget what was found is distilled to the end.
CLOSING = 1 / 3
# Seconds between two looks at what others write into shared records.
LOOK = 0.5
# From the logits of so many of the last complete trials a candidate's accuracy is forecast.
REFERENCES = 24
# So many points of the front are told while the search runs.
LEADERS = 5


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
        predictor: Predicts what a configuration will measure; without it no trial is raced.
        track: Called with every finished trial once, those of earlier searches first.
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
        predictor: Predictor | None = None,
        track: Callable[[Trial], None] = lambda _trial: None,
    ) -> None:
        self._run, self._records, self._space = run, records, space
        self._limits, self._deadline, self._report, self._track = limits, deadline, report, track
        self._objectives = records.objectives()
        self._changed = threading.Condition()
        self._stopped = False
        trials = records.trials()
        self._ledger = Ledger(self._objectives, trials, limits)
        self._chooser = Chooser(run.study, space, sampler, limits, self._ledger, self._objectives, predictor)
        self._peers = Peers(records) if records.shared else None
        self._owner = self._peers.own if self._peers else None
        self._handed: set[int] = set()
        self._looked = time.monotonic()
        self._abandoned = deque(self._left())
        self._began, self._before = time.monotonic(), {name: now for name, (_, now) in self._goals().items()}
        for trial in trials:
            self._tell(trial)

    # ---- what engines call -----------------------------------------------------------------------------------

    def next_task(self) -> Json | None:
        """Return the next task, or None when there is nothing left to do. Waits while the dense model runs."""
        with self._changed:
            while not self.over:
                task = self.task_now()
                if task is not None:
                    return task
                if not self.over:
                    self._changed.wait(0.2)
            return None

    def task_now(self) -> Json | None:
        """Return the next task, or None while there is none to start."""
        with self._changed:
            self._look()
            if self.over:
                return None
            trial = self._adopt() or self._next_trial()
            if trial is None:
                return None
            self._handed.add(trial.number)
            return self._task(trial)

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do."""
        with self._changed:
            return self._late() or self._exhausted()

    def finish(self, number: int, outcome: Json) -> None:
        """Record what became of a task.

        Args:
            number: The trial's number.
            outcome: What the worker answered: measurements and sums of files, or ``error`` and ``message``.

        Raises:
            TooManyFailures: more trials failed than the study tolerates, or the dense model itself.
            RecordsError: the worker could not write or read what it needs.
        """
        with self._changed:
            trial = self._ledger[number]
            if outcome.get("exit_code") == RecordsError.exit_code:
                # A full disk or a damaged file, not the configuration: the trial is started once more next time.
                raise RecordsError(str(outcome["message"]))
            self._handed.discard(number)
            if "error" in outcome:
                self._put(self._records.fail(trial, f"{outcome['error']}: {outcome['message']}"))
                shutil.rmtree(self._run.artifact(number), ignore_errors=True)
            else:
                predicted = self._chooser.expected(trial.configuration)
                outcome = {**outcome, "predicted": predicted} if predicted else outcome
                self._keep_logits(number)
                self._put(self._records.complete(trial, outcome, self._violations(outcome["measurements"])))
            self._changed.notify_all()
            self._report(self.progress())
            self._check_failures(number)

    def stop(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def close(self) -> None:
        """Hand out nothing more, and note that what is handed out still was not tried: starting it does not count."""
        with self._changed:
            self.stop()
            if self._peers:
                self._peers.close()
            for number in self._handed:
                # A full disk or a server that is away has stopped the search: then it counts.
                with contextlib.suppress(RecordsError):
                    self._records.put_back(self._ledger[number])
                    unmark(self._run.artifact(number))
            self._handed.clear()

    def progress(self) -> Progress:
        """Return how far the search is."""
        ledger, shares = self._ledger, self._shares()
        limit = max(shares, key=shares.__getitem__)
        best = f"front of {len(ledger.front)}, hypervolume {ledger.hypervolume():.3f}" if ledger.dense else ""
        return Progress(
            self._done(),
            self._run.study.search.trials,
            ledger.cached,
            ledger.count("failed"),
            ledger.count("stopped"),
            min(1.0, shares[limit]),
            limit,
            self._remaining(),
            best,
            tuple(ledger.leaders(LEADERS)),
            ledger.dense,
            self._objectives,
            tuple(f"{name} {limit.text}" for name, limit in self._limits.items()),
        )

    # ---- how far -----------------------------------------------------------------------------------------------

    def _done(self) -> int:
        return sum(self._ledger.count(state) for state in ("complete", "stopped", "failed")) - self._ledger.cached

    def _goals(self) -> dict[str, tuple[float, float]]:
        """Return where the search ends, and where it is: in trials and, where there is a budget, in CPU seconds."""
        settings = self._run.study.search
        budget = {} if settings.budget is None else {"CPU budget": (seconds(settings.budget), self._ledger.cpu)}
        return {"trials": (settings.trials, self._done()), **budget}

    def _shares(self) -> dict[str, float]:
        """Return which share is spent of the trials, and of the CPU budget and of the time where they are limited."""
        shares = {name: now / goal for name, (goal, now) in self._goals().items()}
        if self._deadline is not None:
            shares["time"] = (time.monotonic() - self._began) / max(self._deadline - self._began, 1e-9)
        return shares

    def _closing(self) -> bool:
        """Return whether the time or the CPU budget is about to end; what a number of trials costs nobody can tell."""
        return max((share for name, share in self._shares().items() if name != "trials"), default=0.0) >= 1 - CLOSING

    def _remaining(self) -> float | None:
        """Return the seconds left at the present pace, but no more than the deadline leaves."""
        spent = time.monotonic() - self._began
        goals = [(goal, now, self._before[name]) for name, (goal, now) in self._goals().items()]
        left = [(goal - now) * spent / (now - before) for goal, now, before in goals if now > before]
        if not left:
            return None
        return max(0.0, min(left if self._deadline is None else [*left, self._deadline - time.monotonic()]))

    def _late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def _spent(self) -> bool:
        """Return whether trials, CPU budget or patience have run out."""
        settings, ledger = self._run.study.search, self._ledger
        if settings.budget is not None and ledger.cpu >= seconds(settings.budget):
            return True
        if settings.patience is not None and self._chooser.sampling and ledger.stalled(settings.patience, GAIN):
            return True
        return ledger.evaluated >= settings.trials

    def _exhausted(self) -> bool:
        return self._stopped or (not self._ledger.count("running") and self._spent())

    # ---- what other searches write into the same records ------------------------------------------------------

    def _look(self) -> None:
        """Take in now and then what others have written, and what a dead one has left."""
        if self._peers is None or time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        self._take_in()
        waiting = {trial.number for trial in self._abandoned}
        self._abandoned += [trial for trial in self._left() if trial.number not in waiting]

    def _take_in(self, stale: int | None = None) -> None:
        """Note every trial whose state is another one than is known, and one of which more than that is stale."""
        for trial in self._records.changed(lambda number: None if number == stale else self._ledger.state(number)):
            self._put(trial)

    def _left(self) -> list[Trial]:
        """Return the running trials that nobody is at."""
        running = [trial for trial in self._ledger.running() if trial.number not in self._handed]
        return [trial for trial in running if self._peers is None or self._peers.left(trial)]

    # ---- trials ------------------------------------------------------------------------------------------------

    def _put(self, trial: Trial) -> None:
        """Note a trial, and remove the artifacts that nobody needs any longer: records can make them again."""
        unmark(self._run.artifact(trial.number))
        for unneeded in self._ledger.put(trial):
            shutil.rmtree(self._run.artifact(unneeded.number), ignore_errors=True)
        self._tell(trial)

    def _tell(self, trial: Trial) -> None:
        if trial.state != "running":
            self._track(trial)

    def _keep_logits(self, number: int) -> None:
        """Put a complete trial's logits where they stay when its artifact goes."""
        source, place = self._run.artifact(number) / LOGITS, self._run.logits(number)
        if source.is_file():
            place.parent.mkdir(exist_ok=True)
            source.replace(place)

    def _logits(self, rival: int | None) -> list[Path]:
        """Return the logits of the last complete trials, and of the one that is to be beaten."""
        numbers = dict.fromkeys([*self._ledger.complete[-REFERENCES:], *([] if rival is None else [rival])])
        paths = [self._run.logits(number) for number in numbers]
        return [path for path in paths if path.is_file()]

    def _adopt(self) -> Trial | None:
        """Start a trial that a dead process left running once more, under its own number and seed."""
        while self._abandoned:
            trial = self._abandoned.popleft()
            blamed = self._blamed(trial)
            if not blamed or trial.attempts < ATTEMPTS or trial.kind == "dense":
                again = self._records.again(trial, self._owner, blamed)
                if again is None:
                    # Another search was as quick, and is its owner now.
                    self._take_in(trial.number)
                    continue
                self._put(again)
                return again
            self._put(self._records.fail(trial, f"crashed: left unfinished {trial.attempts} times"))
        return None

    def _blamed(self, trial: Trial) -> bool:
        """Return whether a trial may have ended the search that left it: its worker did not outlive the coordinator.

        Of one that another search left nobody knows, for that one's folder may be on another machine.
        """
        return self._peers is not None or mark_of(self._run.artifact(trial.number)).exists()

    def _next_trial(self) -> Trial | None:
        """Record and return the next new trial, or None while there is none to start."""
        while not self._spent() and not (len(self._ledger) and self._ledger.dense is None):
            choice = self._chooser.next(self._closing())
            if choice is None:
                # What is running may let others go on to a further rung.
                self._stopped = not self._ledger.count("running")
                return None
            number = len(self._ledger)
            twin = self._ledger.twin(choice.configuration)
            seed = self._chooser.seed(number)
            try:
                trial = self._records.start(
                    number, choice.configuration, self._space.domains, choice.kind, seed, self._owner
                )
            except NumberTaken:
                self._take_in()
                continue
            self._put(trial)
            if twin is None:
                return trial
            answer = {
                "measurements": dict(twin.measurements),
                "files": dict(twin.files),
                "cached_from": twin.number,
                **{name: twin.details[name] for name in ("stopped", "divergence") if name in twin.details},
            }
            self._put(self._records.complete(trial, answer, twin.violations))
            self._report(self.progress())
        return None

    def _violations(self, measurements: Mapping[str, Json]) -> dict[str, float]:
        dense = self._ledger.dense
        values = {name: float(entry["value"]) for name, entry in measurements.items()}
        base = {name: dense.value(name) for name in values} if dense else values
        return {name: limit.violation(values[name], base) for name, limit in self._limits.items()}

    def _task(self, trial: Trial) -> Json:
        dense = self._ledger.dense
        reference = {name: dense.value(name) for name in self._objectives} if dense else {}
        predicted = self._chooser.predicted(trial.configuration)
        bar = self._chooser.bar(trial.configuration, predicted) if predicted and trial.kind != "dense" else None
        return {
            "do": "evaluate",
            "number": trial.number,
            "configuration": dict(trial.configuration),
            "seed": trial.seed,
            "folder": str(self._run.artifact(trial.number)),
            "dense": reference,
            "dense_folder": str(self._run.artifact(dense.number if dense else trial.number)),
            "dense_files": dict(dense.files) if dense else {},
            "cost": predicted["latency"] if predicted else 1.0,
            "bar": asdict(bar) if bar else None,
            "others": [str(path) for path in self._logits(bar.trial if bar else None)],
        }

    def _check_failures(self, number: int) -> None:
        trial, failed = self._ledger[number], self._ledger.count("failed")
        if trial.state != "failed":
            return
        if trial.kind == "dense":
            self._stopped = True
            raise TooManyFailures(
                f"the dense model itself failed: {trial.error}",
                where=str(self._run.folder / "logs"),
                hint="mend what the message names: without the dense model there is nothing to compare with",
            )
        allowed = max(LEAST_FAILURES, int(self._run.study.search.failures * self._run.study.search.trials))
        if failed > allowed:
            self._stopped = True
            raise TooManyFailures(
                f"{failed} trials failed, the last one with {trial.error}",
                where="search.failures",
                given=failed,
                allowed=f"at most {allowed}",
                hint=f"see {self._run.folder / 'logs'}; finished trials are kept",
            )
