"""A run folder: the study, the records and the artifacts of one search."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimfront.search.front import Front, Point
from slimfront.search.given import STUDY
from slimfront.search.records import Records
from slimfront.search.storage import FILE, Server
from slimfront.search.trial import Trial, finished
from slimfront.studies.cache import digest
from slimfront.studies.errors import NoFeasiblePoint, RecordsError, StudyError, nearest, one_line
from slimfront.studies.limits import parse_limit
from slimfront.studies.reader import parse_study
from slimfront.studies.schema import Study

SUM = "sha256"
# What may change when a search continues: how much is searched, not what.
MUTABLE = {"trials", "timeout", "workers", "failures", "patience", "budget", "bank", "engine", "address"}
MUTABLE |= {"trial_timeout", "trial_memory", "trackers"}
Json = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A run folder that exists.

    Attributes:
        folder: The folder.
        study: The study that is searched.
    """

    folder: Path
    study: Study

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Open a run folder.

        Raises:
            StudyError: there is no such run.
            RecordsError: its study is damaged.
        """
        folder = Path(folder)
        path = folder / STUDY
        if not path.is_file():
            near = None
            if folder.parent.is_dir():
                near = nearest(folder.name, [p.parent.name for p in folder.parent.glob(f"*/{STUDY}")])
            raise StudyError(
                "this is not a run folder",
                where=str(folder),
                allowed=f"a folder that 'slimfront launch' wrote, with {STUDY} and {FILE}",
                hint=f"did you mean {folder.parent / near}?" if near else "run 'slimfront launch STUDY.yaml' first",
            )
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            # Studies of earlier versions have no sum.
            if SUM in data and data.pop(SUM) != digest(data):
                raise ValueError("its sum differs")
            return cls(folder, parse_study(data, str(path)))
        except (OSError, ValueError, TypeError, RecursionError, StudyError) as error:
            raise RecordsError(
                "the run's study is damaged",
                where=str(path),
                given=one_line(str(error)),
                hint="restore the file",
            ) from None

    @classmethod
    def begin(cls, folder: Path, study: Study) -> Run:
        """Create a run folder, or reopen it for the same study.

        Raises:
            StudyError: the folder belongs to a study that differs where it may not.
        """
        if (folder / STUDY).exists():
            run = cls.open(folder)
            require_same_study(run.study, study, str(folder))
        elif folder.is_dir() and any(folder.iterdir()):
            raise StudyError(
                "this folder holds something else",
                where="--run",
                given=str(folder),
                hint="choose an empty or a new folder",
            )
        run = cls(folder, study)
        if not (folder / STUDY).exists():
            # The study first: a folder that holds anything else without it is not taken for a run.
            folder.mkdir(parents=True, exist_ok=True)
            run.keep_study()
        (folder / "artifacts").mkdir(exist_ok=True)
        return run

    def keep_study(self) -> None:
        """Write the study, whose settings may be others than before; only who holds the run's lock may."""
        data = self.study.model_dump(mode="json")
        write_atomically(
            self.folder / STUDY, json.dumps({**data, SUM: digest(data)}, sort_keys=True, indent=1, allow_nan=False)
        )

    def records(self, create: bool = False) -> Records:
        """Return the run's records.

        Args:
            create: Whether to make them where they are missing.

        Raises:
            RecordsError: they are missing, damaged or out of reach.
        """
        url = self.study.search.storage
        return Records(self.folder, create, Server(url, self.study.name) if url else None)

    def artifact(self, number: int) -> Path:
        """Return where the artifact of a trial is kept, if it is."""
        return self.folder / "artifacts" / f"trial-{number:05d}"

    def logits(self, number: int) -> Path:
        """Return where a trial's logits on the search split are kept, for later trials to be forecast from."""
        return self.folder / "logits" / f"trial-{number:05d}.safetensors"

    def front(self) -> Front:
        """Read the front.

        Raises:
            NoFeasiblePoint: not even the dense model was evaluated yet.
            RecordsError: the records are missing or damaged.
        """
        records = self.records()
        trials = finished(records.trials())
        if not trials:
            raise NoFeasiblePoint(
                "no trial has finished yet",
                where=str(self.folder),
                hint="the same 'slimfront launch' goes on: what it prepared, which counts towards a timeout, is kept",
            )
        again, final = records.held_out(), records.final()
        if trials[0].kind != "dense":
            raise RecordsError(
                "the dense model's trial is missing from the records",
                where=records.place,
                given=f"trial {trials[0].number} comes first",
                allowed="trial 0, the dense model",
                hint="restore the file, or search again in another --run",
            )
        points = [self._point(trial, again, final) for trial in trials if trial.cached_from is None]
        objectives = records.objectives()
        limits = {
            name: parse_limit(name, text, objectives[name]["unit"], f"constraints.{name}")
            for name, text in self.study.constraints.items()
        }
        return Front.of(objectives, points[0], points, limits)

    def _point(self, trial: Trial, again: Mapping[int, Json], final: Mapping[int, Json]) -> Point:
        measured, held_out = trial.measurements, again.get(trial.number, {})
        return Point(
            trial=trial.number,
            values={name: entry["value"] for name, entry in measured.items()},
            intervals={name: (e["interval"][0], e["interval"][1]) for name, e in measured.items() if e["interval"]},
            configuration=trial.configuration,
            kind=trial.kind,
            feasible=trial.feasible,
            held_out={name: entry["value"] for name, entry in held_out.items()},
            changes={name: entry["change"] for name, entry in held_out.items() if "change" in entry},
            final={"latency": final[trial.number]} if trial.number in final else {},
            noisy=tuple(name for name, entry in measured.items() if entry.get("noisy")),
            conditions={name: entry["conditions"] for name, entry in measured.items() if "conditions" in entry},
            percentiles={name: entry["percentiles"] for name, entry in measured.items() if "percentiles" in entry},
            right=held_out.get("accuracy", {}).get("right", ""),
            information=trial.details.get("information", {}),
            run=self.folder,
        )


def require_same_study(before: Study, after: Study, place: str) -> None:
    """Refuse a study that differs from the one that a run began with, but for how much is searched.

    Raises:
        StudyError: it differs.
    """
    old, new = settled(before), settled(after)
    changed = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    if changed:
        shown = "; ".join(f"{key}: {one_line(old.get(key), 40)} → {one_line(new.get(key), 40)}" for key in changed[:6])
        raise StudyError(
            f"the study changed since this run began ({shown})",
            where=changed[0],
            allowed=f"changes of {', '.join(f'search.{key}' for key in sorted(MUTABLE))}",
            hint=f"change it back, or begin another run with --new or --run (this one is {place})",
        )


def settled(study: Study) -> dict[str, Any]:
    """Return what may not change when a search continues, value by the key's path."""
    found = _flat(study.model_dump(mode="json"))
    return {key: value for key, value in found.items() if not (key.startswith("search.") and key[7:] in MUTABLE)}


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {k: v for key, part in value.items() for k, v in _flat(part, f"{path}.{key}" if path else key).items()}
    return {path: value}


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that it is either the old or the new one, whatever happens."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with scratch.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(path)
    except OSError as error:
        # Who reads the message knows nothing of the other name.
        error.filename, error.filename2 = str(path), None
        raise
    finally:
        scratch.unlink(missing_ok=True)


@contextlib.contextmanager
def only_coordinator(folder: Path) -> Iterator[None]:
    """Hold the run's lock, which the system releases when this process ends, however it ends.

    Raises:
        RecordsError: another process searches in this folder.
    """
    path = folder / "coordinator.lock"
    with path.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.seek(0)
            raise RecordsError(
                "another process searches in this run folder",
                where=str(folder),
                given=f"process {stream.read().strip() or 'unknown'}",
                hint="wait for it or stop it, or choose another --run",
            ) from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield
