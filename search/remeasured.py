"""What was measured of a front anew, and the file that keeps it."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slimfront.search.front import Front, Point
from slimfront.search.run import Run, write_atomically
from slimfront.spaces.configuration import Configuration
from slimfront.studies.cache import file_sha256
from slimfront.studies.errors import RecordsError, StudyError

Json = dict[str, Any]
NAME = "remeasured-{}.json"


@dataclass(frozen=True)
class Remeasured:
    """What became of a front.

    Attributes:
        front: The front as it is here; points that are no longer on it are among ``everything``.
        left: Trials that were on the front and are not any more.
        recomputed: Trials whose answers differ here, so that their accuracy was measured anew.
        machine: The processor.
        target: The runtime.
        left_out: Why a point cannot be had on this runtime, by trial.
        lock: What the files depend on that were made for this runtime; empty where they are those of the search.
        files: Their SHA-256 by trial.
    """

    front: Front
    left: tuple[int, ...]
    recomputed: tuple[int, ...]
    machine: str
    target: str
    left_out: Mapping[int, str]
    lock: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[int, Mapping[str, str]] = field(default_factory=dict)

    def otherwise(self, before: Front) -> list[int]:
        """Return the trials that compute in another precision here than in the search."""
        then = {point.trial: point.configuration for point in before.everything}
        return sorted(p.trial for p in self.front.everything if p.configuration != then[p.trial])

    def save(self, run: Run) -> Path:
        """Write what was found into the run folder and return the file."""
        stamp = datetime.datetime.now(tz=datetime.UTC).strftime("%Y%m%dT%H%M%S")
        path = run.folder / NAME.format(stamp)
        write_atomically(path, json.dumps(self.to_json(), indent=1, allow_nan=False))
        return path

    def to_json(self) -> Json:
        """Return what was found as JSON; ``others`` are the points that are not on the front."""
        kept = {point.trial for point in self.front.points}
        return {
            "schema_version": 1,
            "machine": self.machine,
            "target": self.target,
            "dense": dict(self.front.dense.values),
            "front": [point.to_json() for point in self.front.points],
            "others": [point.to_json() for point in self.front.everything if point.trial not in kept],
            "left": list(self.left),
            "recomputed": list(self.recomputed),
            "left_out": {str(trial): reason for trial, reason in self.left_out.items()},
            "lock": dict(self.lock),
            "files": {str(trial): dict(sums) for trial, sums in self.files.items()},
        }


@dataclass(frozen=True)
class MovedFront:
    """A front as it was last measured on another runtime.

    Attributes:
        front: The front.
        target: The runtime.
        lock: What its files depend on.
        files: SHA-256 of each file by trial.
        folder: Where the files are, a folder for each trial.
    """

    front: Front
    target: str
    lock: Mapping[str, Any]
    files: Mapping[str, Mapping[str, str]]
    folder: Path

    @classmethod
    def open(cls, run: Run, target: str) -> MovedFront:
        """Read what :meth:`Remeasured.save` wrote last of a runtime.

        Raises:
            StudyError: the front was never moved there.
            RecordsError: what was kept of it is damaged.
        """
        for path in sorted(run.folder.glob(NAME.format("*")), reverse=True):
            try:
                told = json.loads(path.read_text(encoding="utf-8"))
                if told["target"] == target and told.get("files"):
                    return cls(_read(run, told), target, told["lock"], told["files"], moved_folder(run, target))
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise RecordsError(
                    "what was measured anew is damaged", where=str(path), given=str(error), hint="remove the file"
                ) from None
        raise StudyError(
            "this front was not moved to that runtime",
            where="--target",
            given=target,
            hint=f"run 'slimfront remeasure {run.folder} --target {target}' first",
        )

    def artifact(self, trial: int) -> Path:
        """Return where the files of a trial are.

        Raises:
            RecordsError: they are not those that were measured.
        """
        folder = self.folder / f"trial-{trial:05d}"
        for name, total in self.files[str(trial)].items():
            if not (folder / name).is_file() or file_sha256(folder / name) != total:
                raise RecordsError(
                    "this file is not what was measured",
                    where=str(folder / name),
                    hint="make the files again with 'slimfront remeasure --target'",
                )
        return folder


def moved_folder(run: Run, target: str) -> Path:
    """Return where the files are that were made of a run's points for another runtime."""
    return run.folder / "targets" / target


def _read(run: Run, told: Json) -> Front:
    before = run.front()
    known, target = {point.trial: point for point in before.everything}, told["target"]
    points = [_point(known[entry["trial"]], entry, target) for entry in (*told["front"], *told["others"])]
    return judged(before, sorted(points, key=lambda point: point.trial != before.dense.trial))


def _point(point: Point, entry: Json, target: str) -> Point:
    return replace(
        point,
        configuration=Configuration(entry["configuration"]),
        values={name: float(entry[name]) for name in point.values},
        intervals={name: (pair[0], pair[1]) for name, pair in entry["intervals"].items()},
        held_out=entry["held_out"],
        changes=entry["changes"],
        final=entry["final"],
        noisy=tuple(entry["noisy"]),
        conditions=entry["conditions"],
        percentiles=entry["percentiles"],
        target=target,
    )


def judged(before: Front, points: Sequence[Point]) -> Front:
    """Return the front of points that were measured anew, the dense model's first, under the same constraints."""
    dense = points[0]
    broken = [
        any(limit.violation(point.values[name], dense.values) > 0 for name, limit in before.limits.items())
        for point in points
    ]
    kept = [replace(point, feasible=not bad) for point, bad in zip(points, broken, strict=True)]
    return Front.of(before.objectives, dense, kept, before.limits)
