"""The records of a run: a plain Optuna study."""

from __future__ import annotations

import contextlib
import functools
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.trial import TrialState
from slimfront.search.rows import NumberTaken, Rows
from slimfront.search.storage import File, Storage
from slimfront.search.sums import check, sealed, unsealed
from slimfront.search.trial import STATES, Trial, attributes_of, ended, thawed
from slimfront.search.witness import Witness
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.domain import Domain
from slimfront.studies.errors import RecordsError, SlimfrontError

OBJECTIVES = "slimfront:objectives"
Json = dict[str, Any]
T = TypeVar("T")


class Records:
    """Reads and writes the trials of one run.

    Args:
        folder: The run folder.
        create: Whether to make the file where it is missing.
        storage: Where the records are, if not in a file of the run folder.

    Raises:
        RecordsError: the records are missing, corrupt, locked or not writable.
    """

    def __init__(self, folder: Path, create: bool = False, storage: Storage | None = None) -> None:
        self._where = storage or File(folder, create)
        self._witness = Witness(folder)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with self._explained():
            self._storage = self._where.open()
            name = self._where.name(self._storage)
        self._study: optuna.Study | None = None
        if name is not None:
            self._study = self._read(lambda: optuna.load_study(study_name=name, storage=self._storage))
        if not create and not self._begun():
            raise RecordsError(
                "the records hold no study yet",
                where=self._where.place,
                hint="wait until a search that prepares has begun, or run 'slimfront launch' again",
            )

    @property
    def place(self) -> str:
        """Where the records are, for messages."""
        return self._where.place

    @property
    def shared(self) -> bool:
        """Whether several searches may write at once."""
        return self._where.shared

    def _begun(self) -> bool:
        return self._study is not None and OBJECTIVES in self._attributes()

    def begin(self, name: str, objectives: Mapping[str, Json]) -> None:
        """Create the study unless it is there; metric names are set for dashboards."""
        if not self._begun():
            self._where.do(lambda: self._create(name, objectives))

    def _create(self, name: str, objectives: Mapping[str, Json]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._study = self._study or optuna.create_study(
                study_name=name,
                storage=self._storage,
                directions=[entry["direction"] for entry in objectives.values()],
                sampler=optuna.samplers.RandomSampler(seed=0),
                load_if_exists=True,
            )
            self._study.set_metric_names(list(objectives))
            self._study.set_user_attr(OBJECTIVES, sealed("objectives", dict(objectives)))

    def _attributes(self) -> dict[str, Any]:
        return self._read(lambda: self.study.user_attrs)

    def _read(self, work: Callable[[], T]) -> T:
        with self._explained():
            return self._where.do(work)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn whatever damaged records make their readers raise into one clear message."""
        try:
            yield
        except (SlimfrontError, OSError):
            raise
        except Exception as error:
            raise RecordsError(
                "a record is damaged",
                where=self._where.place,
                given=f"{type(error).__name__}: {error}",
                allowed="what was written, whose sums are kept beside it",
                hint="restore the file from a copy",
            ) from error

    @property
    def study(self) -> optuna.Study:
        """The Optuna study."""
        assert self._study is not None
        return self._study

    def objectives(self) -> dict[str, Json]:
        """Return unit and direction by objective."""
        found: dict[str, Json] = self._read(lambda: unsealed("objectives", self._attributes()[OBJECTIVES]))
        return found

    def trials(self) -> list[Trial]:
        """Return all trials that were started, by number.

        Raises:
            RecordsError: a record is damaged.
        """
        counts = self._witness.counts()
        trials = self._read(self._trials)
        self._require("finished", _ended(trials), counts)
        return trials

    def _trials(self) -> list[Trial]:
        said = ""
        while True:
            frozen = self.study.get_trials(deepcopy=False)
            try:
                check(frozen, not self._attributes()[OBJECTIVES].startswith("{"))
                return [thawed(trial) for trial in frozen if trial.state in STATES]
            except ValueError as error:
                # The rows of a trial are read one after the other, and it may be finished in between; damage stays.
                if str(error) == said:
                    raise
                said = str(error)

    def changed(self, known: Callable[[int], str | None]) -> list[Trial]:
        """Return the trials whose state is another one than is known, and which another search may have written.

        Args:
            known: Returns the known state of a trial, or None.
        """

        def read() -> list[Trial]:
            frozen = self.study.get_trials(deepcopy=False)
            return [thawed(t) for t in frozen if t.state in STATES and known(t.number) != STATES[t.state]]

        return self._read(read)

    def accept_losses(self) -> int:
        """Take what the records hold for all that there is; return how many finished trials they have lost."""
        counts = self._witness.counts()
        self._witness.reset({})
        here = {"finished": _ended(self.trials()), "held_out": len(self.held_out()), "final": len(self.final())}
        self._witness.reset({name: count for name, count in here.items() if count})
        return max(0, counts.get("finished", 0) - here["finished"])

    def _require(self, name: str, count: int, counts: Mapping[str, int]) -> None:
        if count < counts.get(name, 0):
            raise RecordsError(
                f"the records have lost what was written ({name.replace('_', ' ')})",
                where=self._where.place,
                given=count,
                allowed=f"{counts[name]} entries",
                hint="restore the file and its -wal from a copy, or run 'slimfront launch' again: it makes up for them",
            )

    def start(
        self,
        number: int,
        configuration: Configuration,
        domains: Mapping[str, Domain],
        kind: str,
        seed: int,
        owner: Json | None = None,
    ) -> Trial:
        """Record in one transaction that a configuration is being evaluated, under the next number.

        Raises:
            NumberTaken: another search, which shares these records, wrote a trial of this number.
            RecordsError: another process wrote into records that are not shared.
        """
        trial = Trial(number, "running", configuration, kind, seed, {}, {}, {}, None, None, 1, owner=owner)
        try:
            self._where.do(lambda: self._rows.start(number, configuration, domains, attributes_of(trial)))
        except NumberTaken as taken:
            if self.shared:
                raise
            raise RecordsError(
                "another process writes into these records",
                where=self._where.place,
                given=f"trial {taken.count}",
                allowed=f"trial {number}",
                hint="let one process at a time search in a run folder",
            ) from None
        return trial

    def again(self, trial: Trial, owner: Json | None = None, counted: bool = True) -> Trial | None:
        """Record that a trial left running by a dead process is started once more; None where another did so.

        Args:
            trial: The trial.
            owner: Who runs it now.
            counted: Whether what was left counts as an attempt.
        """
        attempts = trial.attempts + 1 if counted else max(trial.attempts, 1)
        before, then = attributes_of(trial), replace(trial, attempts=attempts, owner=owner)
        told = attributes_of(then)
        taken = self._where.do(lambda: self._rows.again(trial.number, trial.configuration, before, told))
        return then if taken else None

    def put_back(self, trial: Trial) -> None:
        """Record that starting a trial did not count, for the search was stopped."""
        before, then = attributes_of(trial), attributes_of(replace(trial, attempts=trial.attempts - 1))
        self._where.do(lambda: self._rows.again(trial.number, trial.configuration, before, then))

    def complete(self, trial: Trial, outcome: Json, violations: Mapping[str, float]) -> Trial:
        """Record in one transaction a finished trial, evaluated to its end or stopped early."""
        stopped = "stopped" in outcome
        text = json.dumps({**outcome, "violations": dict(violations)}, allow_nan=False)
        values = [] if stopped else [float(entry["value"]) for entry in outcome["measurements"].values()]
        state = TrialState.PRUNED if stopped else TrialState.COMPLETE
        count = self._finish(trial, state, values, {"slimfront:outcome": text}, violations)
        self._witness.saw("finished", count)
        return ended(trial, "stopped" if stopped else "complete", json.loads(text))

    def fail(self, trial: Trial, error: str) -> Trial:
        """Record that a trial failed."""
        count = self._finish(trial, TrialState.FAIL, [], {"slimfront:error": error}, {})
        self._witness.saw("finished", count)
        return replace(trial, state="failed", error=error)

    def _finish(self, trial: Trial, *ending: Any) -> int:
        return self._where.do(lambda: self._rows.finish(trial.number, *ending))

    def beat(self, owner: Json, now: float) -> None:
        """Record a sign of life of a search, in seconds since 1970."""
        self._where.do(lambda: self.study.set_user_attr(_beat(owner), now))

    def beats(self, owner: Json) -> float:
        """Return when a search gave its last sign of life; 0 where it never did."""
        return float(self._attributes().get(_beat(owner), 0.0))

    def agree(self, study: Json) -> Json:
        """Record what is searched unless that was recorded before; return what was."""
        if "slimfront:study" not in self._attributes():
            self._where.do(lambda: self.study.set_user_attr("slimfront:study", sealed("study", study)))
        return self._kept("study")

    def hold_out(self, number: int, measurements: Json) -> None:
        """Record measurements on the held-out split; on the study, for finished trials are frozen."""
        self._note("held_out", {number: measurements})

    def held_out(self) -> dict[int, Json]:
        """Return the measurements on the held-out split by trial."""
        return self._notes("held_out")

    def finish_tournament(self, measurements: Mapping[int, Json]) -> None:
        """Record the latency of trials that were measured in the same rounds after the search."""
        self._note("final", measurements)

    def final(self) -> dict[int, Json]:
        """Return the latency that was measured in a last tournament by trial."""
        return self._notes("final")

    def set_lock(self, lock: Json) -> None:
        """Record what the artifacts depend on, beside their configurations, unless it was recorded before."""
        if "slimfront:lock" not in self._attributes():
            self._where.do(lambda: self.study.set_user_attr("slimfront:lock", sealed("lock", lock)))
        self._witness.saw("lock", 1)

    def lock(self) -> Json:
        """Return what the artifacts depend on; empty where it was not recorded."""
        return self._kept("lock")

    def _note(self, what: str, entries: Mapping[int, Json]) -> None:
        """Keep an entry for each trial, under a key of its own: searches that share records write at once."""
        for number, entry in entries.items():
            name = f"{what}:{number}"
            self._where.do(
                lambda name=name, entry=entry: self.study.set_user_attr(  # type: ignore[misc]
                    f"slimfront:{name}", sealed(name, entry)
                )
            )
        self._witness.saw(what, len(self._notes(what)))

    def _notes(self, what: str) -> dict[int, Json]:
        counts, attributes, prefix = self._witness.counts(), self._attributes(), f"slimfront:{what}:"

        def read() -> dict[int, Json]:
            # Earlier versions kept all entries under one key.
            together = unsealed(what, attributes.get(f"slimfront:{what}", "{}"))
            apart = {name.removeprefix("slimfront:"): text for name, text in attributes.items() if prefix in name}
            single = {name.partition(":")[2]: unsealed(name, text) for name, text in apart.items()}
            return {int(number): entry for number, entry in {**together, **single}.items()}

        found = self._read(read)
        self._require(what, len(found), counts)
        return found

    def _kept(self, what: str) -> Json:
        counts = self._witness.counts()
        found: Json = self._read(lambda: unsealed(what, self._attributes().get(f"slimfront:{what}", "{}")))
        self._require(what, min(1, len(found)), counts)
        return found

    @functools.cached_property
    def _rows(self) -> Rows:
        return Rows(self._storage, self.study.study_name)


def _beat(owner: Json) -> str:
    return f"slimfront:beat:{owner['host']}:{owner['process']}"


def _ended(trials: Sequence[Trial]) -> int:
    return sum(trial.state != "running" for trial in trials)
