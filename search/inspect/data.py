"""A run as JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from slimfront.search.front import Front, Point
from slimfront.search.records import Records
from slimfront.search.run import Run

Json = dict[str, Any]


def counts(run: Run) -> dict[str, int]:
    """Return how many trials ended in which way."""
    trials = Records(run.folder).trials()
    cached = sum(trial.cached_from is not None for trial in trials)
    complete = sum(trial.state == "complete" and trial.cached_from is None for trial in trials)
    stopped = sum(trial.state == "stopped" and trial.cached_from is None for trial in trials)
    failed = sum(trial.state == "failed" for trial in trials)
    return {"complete": complete, "stopped_early": stopped, "failed": failed, "cached": cached}


def as_json(run: Run, front: Front, points: Sequence[Point]) -> Json:
    """Return the document of ``inspect --json`` for some points of the front."""
    return {
        "schema_version": 1,
        "study": run.study.name,
        "objectives": {name: dict(entry) for name, entry in front.objectives.items()},
        "dense": dict(front.dense.values),
        "trials": counts(run),
        "hypervolume": front.hypervolume(),
        "front": [point.to_json() for point in points],
    }


def as_csv(front: Front, points: Sequence[Point]) -> str:
    """Return one line per point: trial, values, held-out values, configuration."""
    names = list(front.objectives)
    held_out = sorted({name for point in points for name in point.held_out})
    parameters = sorted({name for point in points for name in point.configuration})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["trial", *names, *(f"held_out/{name}" for name in held_out), *parameters])
    for point in points:
        row: list[object] = [point.trial, *(point.values[name] for name in names)]
        row += [point.held_out.get(name, "") for name in held_out]
        row += [point.configuration.get(name, "") for name in parameters]
        writer.writerow(row)
    return out.getvalue()
