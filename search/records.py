"""The records of a run: a plain Optuna study, in SQLite in WAL mode inside the run folder by default."""

from __future__ import annotations

import contextlib
import functools
import json
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from slimfront.search.rows import NumberTaken, Rows
from slimfront.search.sums import check, sealed, unsealed
from slimfront.search.witness import Witness
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.domain import Domain
from slimfront.studies.errors import RecordsError, SlimfrontError

FILE, OBJECTIVES = "records.sqlite3", "slimfront:objectives"
Json = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One recorded trial.

    Attributes:
        number: Its number, from 0, without gaps.
        state: ``running``, ``complete``, ``stopped`` (early) or ``failed``.
        configuration: What was tried.
        kind: ``dense``, ``uniform``, ``predicted``, ``promoted``, ``sampled`` or ``neighbour``.
        seed: Seed of the order in which it reads sentences.
        measurements: Measurement by objective, as JSON; empty while running or failed. Of a stopped trial some are
            predictions or estimates.
        files: SHA-256 of the artifact's files.
        violations: By how much each constraint is broken.
        cached_from: The trial from which a duplicate was answered, or None.
        error: What went wrong with a failed trial.
        attempts: How often it was started.
        details: What else the worker told: ``divergence``, ``sentences``, ``stopped``, ``cpu``, ``seconds``; and what
            had been ``predicted``.
    """

    number: int
    state: str
    configuration: Configuration
    kind: str
    seed: int
    measurements: Mapping[str, Json]
    files: Mapping[str, str]
    violations: Mapping[str, float]
    cached_from: int | None
    error: str | None
    attempts: int
    details: Mapping[str, Any] = field(default_factory=dict)

    def value(self, objective: str) -> float:
        """Return the measured value of one objective."""
        return float(self.measurements[objective]["value"])

    def steer(self, objective: str) -> float:
        """Return what samplers are told of one objective."""
        return float(self.measurements[objective]["steer"])

    @property
    def feasible(self) -> bool:
        """Whether all constraints are kept."""
        return all(violation <= 0 for violation in self.violations.values())


STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}
# What the outcome holds beside the details.
KNOWN = {"measurements", "files", "cached_from", "violations"}


@contextlib.contextmanager
def storage_errors(place: Path) -> Iterator[None]:
    """Turn the database's errors into one clear message."""
    import sqlalchemy.exc

    try:
        yield
    except (sqlite3.Error, sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        root = error.__cause__ or error
        raise RecordsError(
            "the records cannot be read or written",
            where=str(place),
            given=f"{type(root).__name__}: {str(root).splitlines()[0]}",
            allowed="an SQLite file written by slimfront, on a local disk with free space",
            hint="free the disk or restore the file, then run the same command again",
        ) from error


@contextlib.contextmanager
def reading(place: Path) -> Iterator[None]:
    """Turn whatever a damaged database makes its readers raise into one clear message."""
    try:
        with storage_errors(place):
            yield
    except (SlimfrontError, OSError):
        raise
    except Exception as error:
        raise RecordsError(
            "a record is damaged",
            where=str(place),
            given=f"{type(error).__name__}: {error}",
            allowed="what was written, whose sums are kept beside it",
            hint="restore the file from a copy",
        ) from error


class Records:
    """Reads and writes the trials of one run.

    Args:
        folder: The run folder.
        create: Whether to make the file where it is missing.

    Raises:
        RecordsError: the file is missing, corrupt, locked or not writable.
    """

    def __init__(self, folder: Path, create: bool = False) -> None:
        self.path = folder / FILE
        if not create and not self.path.is_file():
            raise RecordsError(
                "this run has no records",
                where=str(self.path),
                hint="run 'slimfront launch' with this --run first",
            )
        self._witness = Witness(folder)
        with reading(self.path):
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            if create and not self.path.exists():
                _make(self.path)
            self._storage = _open(self.path)
            _write_ahead(self._storage)
            names, told = optuna.get_all_study_names(self._storage), False
        self._study: optuna.Study | None = None
        if names:
            with reading(self.path):
                self._study = optuna.load_study(study_name=names[0], storage=self._storage)
                told = OBJECTIVES in self._study.user_attrs
        if not create and not (names and told):
            raise RecordsError("the records hold no study", where=str(self.path), hint="launch the study again")

    def begin(self, name: str, objectives: Mapping[str, Json]) -> None:
        """Create the study unless it is there; metric names are set for dashboards."""
        if self._study is not None and OBJECTIVES in self._study.user_attrs:
            return
        with storage_errors(self.path), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._study = self._study or optuna.create_study(
                study_name=name,
                storage=self._storage,
                directions=[entry["direction"] for entry in objectives.values()],
                sampler=optuna.samplers.RandomSampler(seed=0),
            )
            self._study.set_metric_names(list(objectives))
            self._study.set_user_attr(OBJECTIVES, sealed("objectives", dict(objectives)))

    @property
    def study(self) -> optuna.Study:
        """The Optuna study."""
        assert self._study is not None
        return self._study

    def objectives(self) -> dict[str, Json]:
        """Return unit and direction by objective."""
        with reading(self.path):
            found: dict[str, Json] = unsealed("objectives", self.study.user_attrs[OBJECTIVES])
            return found

    def trials(self) -> list[Trial]:
        """Return all trials that were started, by number.

        Raises:
            RecordsError: a record is damaged.
        """
        counts = self._witness.counts()
        with reading(self.path):
            frozen = self.study.get_trials(deepcopy=False)
            check(frozen, not self.study.user_attrs[OBJECTIVES].startswith("{"))
            trials = [_thaw(trial) for trial in frozen if trial.state in STATES]
        self._require("finished", _ended(trials), counts)
        return trials

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
                where=str(self.path),
                given=count,
                allowed=f"{counts[name]} entries",
                hint="restore the file and its -wal from a copy, or run 'slimfront launch' again: it makes up for them",
            )

    def start(
        self, number: int, configuration: Configuration, domains: Mapping[str, Domain], kind: str, seed: int
    ) -> Trial:
        """Record in one transaction that a configuration is being evaluated, under the next number.

        Raises:
            RecordsError: another process wrote a trial of this number.
        """
        attributes = {"kind": kind, "seed": seed, "attempts": 1}
        with storage_errors(self.path):
            try:
                self._rows.start(
                    number, configuration, domains, {f"slimfront:{name}": value for name, value in attributes.items()}
                )
            except NumberTaken as taken:
                raise RecordsError(
                    "another process writes into these records",
                    where=str(self.path),
                    given=f"trial {taken.count}",
                    allowed=f"trial {number}",
                    hint="let one process at a time search in a run folder",
                ) from None
        return Trial(number, "running", configuration, kind, seed, {}, {}, {}, None, None, 1)

    def again(self, trial: Trial) -> Trial:
        """Record that a trial left running by a dead process is started once more."""
        with storage_errors(self.path):
            attributes = {"kind": trial.kind, "seed": trial.seed, "attempts": trial.attempts + 1}
            self._rows.again(
                trial.number, trial.configuration, {f"slimfront:{name}": value for name, value in attributes.items()}
            )
        return replace(trial, attempts=trial.attempts + 1)

    def complete(self, trial: Trial, outcome: Json, violations: Mapping[str, float]) -> Trial:
        """Record in one transaction a finished trial, evaluated to its end or stopped early."""
        stopped = "stopped" in outcome
        text = json.dumps({**outcome, "violations": dict(violations)}, allow_nan=False)
        values = [] if stopped else [float(entry["value"]) for entry in outcome["measurements"].values()]
        state = TrialState.PRUNED if stopped else TrialState.COMPLETE
        with storage_errors(self.path):
            count = self._rows.finish(trial.number, state, values, {"slimfront:outcome": text}, violations)
        self._witness.saw("finished", count)
        return _finished(trial, "stopped" if stopped else "complete", json.loads(text))

    def fail(self, trial: Trial, error: str) -> Trial:
        """Record that a trial failed."""
        with storage_errors(self.path):
            count = self._rows.finish(trial.number, TrialState.FAIL, [], {"slimfront:error": error}, {})
        self._witness.saw("finished", count)
        return replace(trial, state="failed", error=error)

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
        with storage_errors(self.path):
            if "slimfront:lock" not in self.study.user_attrs:
                self.study.set_user_attr("slimfront:lock", sealed("lock", lock))
        self._witness.saw("lock", 1)

    def lock(self) -> Json:
        """Return what the artifacts depend on; empty where it was not recorded."""
        return self._kept("lock")

    def _note(self, what: str, entries: Mapping[int, Json]) -> None:
        known = {**self._notes(what), **entries}
        with storage_errors(self.path):
            text = sealed(what, {str(number): entry for number, entry in known.items()})
            self.study.set_user_attr(f"slimfront:{what}", text)
        self._witness.saw(what, len(known))

    def _notes(self, what: str) -> dict[int, Json]:
        found = self._kept(what)
        with reading(self.path):
            return {int(number): entry for number, entry in found.items()}

    def _kept(self, what: str) -> Json:
        counts = self._witness.counts()
        with reading(self.path):
            found: Json = unsealed(what, self.study.user_attrs.get(f"slimfront:{what}", "{}"))
        self._require(what, min(1, len(found)) if what == "lock" else len(found), counts)
        return found

    @functools.cached_property
    def _rows(self) -> Rows:
        return Rows(self._storage, self.study.study_name)


def _open(path: Path) -> optuna.storages.RDBStorage:
    return optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 30}})


def _make(path: Path) -> None:
    """Make an empty file of records that is never seen half made: whoever opens one without tables makes them too."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(scratch)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    storage = _open(scratch)
    storage.scoped_session.remove()
    storage.engine.dispose()
    scratch.replace(path)


def _write_ahead(storage: optuna.storages.RDBStorage) -> None:
    """Let a commit wait for the disk only at checkpoints: with a write-ahead log, a killed process loses nothing."""
    import sqlalchemy

    @sqlalchemy.event.listens_for(storage.engine, "connect")
    def relax(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")

    storage.engine.dispose()


def _thaw(frozen: FrozenTrial) -> Trial:
    attributes = {name.removeprefix("slimfront:"): value for name, value in frozen.user_attrs.items()}
    trial = Trial(
        number=frozen.number,
        state=STATES[frozen.state],
        configuration=Configuration(frozen.params),
        kind=str(attributes.get("kind", "sampled")),
        seed=int(attributes.get("seed", 0)),
        measurements={},
        files={},
        violations={},
        cached_from=None,
        error=attributes.get("error"),
        attempts=int(attributes.get("attempts", 0)),
    )
    if trial.state in ("complete", "stopped"):
        return _finished(trial, trial.state, json.loads(attributes["outcome"]))
    return trial


def _finished(trial: Trial, state: str, outcome: Json) -> Trial:
    return replace(
        trial,
        state=state,
        measurements=outcome["measurements"],
        files=outcome.get("files", {}),
        violations=outcome.get("violations", {}),
        cached_from=outcome.get("cached_from"),
        details={name: value for name, value in outcome.items() if name not in KNOWN},
    )


def _ended(trials: Sequence[Trial]) -> int:
    return sum(trial.state != "running" for trial in trials)


def finished(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that were evaluated to their end."""
    return [trial for trial in trials if trial.state == "complete"]
