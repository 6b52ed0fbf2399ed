"""A run as JSON, rows and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from slimfront.search.front import Front, Point
from slimfront.search.inspect.documents import Inspected
from slimfront.search.prediction.agreement import rank_correlations
from slimfront.search.run import Run
from slimfront.search.trial import Trial
from slimfront.spaces.domain import Value

Json = dict[str, Any]


def counts(trials: Sequence[Trial]) -> dict[str, int]:
    """Return how many trials ended in which way."""
    cached = sum(trial.cached_from is not None for trial in trials)
    complete = sum(trial.state == "complete" and trial.cached_from is None for trial in trials)
    stopped = sum(trial.state == "stopped" and trial.cached_from is None for trial in trials)
    failed = sum(trial.state == "failed" for trial in trials)
    return {"complete": complete, "stopped_early": stopped, "failed": failed, "cached": cached}


def compared(trials: Sequence[Trial]) -> dict[str, list[tuple[int, float, float]]]:
    """Return each complete trial's number, what was predicted before it, and what was measured, by quantity."""
    found: dict[str, list[tuple[int, float, float]]] = {}
    for trial in trials:
        told = trial.details.get("predicted", {})
        if trial.state != "complete" or trial.kind == "dense" or trial.cached_from is not None:
            continue
        measured = {name: trial.value(name) for name in trial.measurements}
        measured |= {name: trial.details[name] for name in ("divergence",) if name in trial.details}
        for name in sorted(told.keys() & measured.keys()):
            found.setdefault(name, []).append((trial.number, told[name], measured[name]))
    return found


def agreement(trials: Sequence[Trial]) -> dict[str, float]:
    """Return the rank correlation of what was predicted before each trial with what was measured, by quantity."""
    found = compared(trials)
    return rank_correlations({name: [(told, value) for _, told, value in rows] for name, rows in found.items()})


def failures(trials: Sequence[Trial]) -> list[Json]:
    """Return failed trials by kind of error, most frequent first: ``kind``, ``trials`` and distinct ``messages``."""
    kinds: dict[str, Json] = {}
    for trial in trials:
        if trial.state == "failed":
            kind, _, message = (trial.error or "unknown").partition(": ")
            entry = kinds.setdefault(kind, {"kind": kind, "trials": [], "messages": []})
            entry["trials"].append(trial.number)
            if message and message not in entry["messages"]:
                entry["messages"].append(message)
    return sorted(kinds.values(), key=lambda entry: -len(entry["trials"]))


def notes(trials: Sequence[Trial], front: Front) -> list[str]:
    """Return in lines how far predictions agreed with measurements, and the search split with the held-out one."""
    lines, correlations, optimism = [], agreement(trials), front.optimism()
    guessing = trials[front.dense.trial].details.get("guessing", 0.0)
    if front.dense.values.get("accuracy", 1.0) <= guessing:
        lines.append(
            f"the dense model is no better than guessing ({guessing:.3f} by always giving the most frequent label):"
            " are tokenizer, labels and weights those of one model, and data.labels in the order of its classes?"
        )
    if again := front.rematched:
        told = " and ".join(again)
        lines.append(f"picks, budgets and pictures go by the front's {told} in the last tournament, the rest by trials")
    if correlations:
        found = ", ".join(f"{name} {value:.2f}" for name, value in correlations.items())
        lines.append(f"rank correlation of predicted and measured: {found}")
    if optimism is not None:
        points = f"by {100 * optimism:.1f} points more" if optimism > 0 else "no more"
        lines.append(f"the search split flatters the front {points} than the dense model")
    return lines


def document(run: Run, front: Front, points: Sequence[Point]) -> Inspected:
    """Return the document of ``inspect --json`` for some points of the front."""
    trials = run.records().trials()
    found = {
        "schema_version": 1,
        "study": run.study.name,
        "objectives": {name: dict(entry) for name, entry in front.objectives.items()},
        "dense": dict(front.dense.values),
        "trials": counts(trials),
        "hypervolume": front.hypervolume(),
        "optimism": front.optimism(),
        "prediction": agreement(trials),
        "front": [point.to_json() for point in points],
    }
    return Inspected.model_validate(found)


def rows(front: Front, points: Sequence[Point]) -> list[dict[str, Value | None]]:
    """Return one row per point: trial, values, held-out values, final latency, ends of intervals, configuration.

    All rows have the same columns in the same order; what a point does not have is None.
    """
    held_out = sorted({name for point in points for name in point.held_out})
    final = sorted({name for point in points for name in point.final})
    spread = [name for name in front.objectives if any(name in point.intervals for point in points)]
    columns = ["trial", *front.objectives, *(f"held_out/{name}" for name in held_out)]
    columns += [f"final/{name}" for name in final]
    columns += [f"{end}/{name}" for name in spread for end in ("low", "high")]
    columns += sorted({name for point in points for name in point.configuration})
    return [{name: known.get(name) for name in columns} for known in map(_flat, points)]


def _flat(point: Point) -> dict[str, Value]:
    return {
        "trial": point.trial,
        **point.values,
        **{f"held_out/{name}": value for name, value in point.held_out.items()},
        **{f"final/{name}": entry["value"] for name, entry in point.final.items()},
        **{f"low/{name}": low for name, (low, _) in point.intervals.items()},
        **{f"high/{name}": high for name, (_, high) in point.intervals.items()},
        **point.configuration,
    }


def as_csv(front: Front, points: Sequence[Point]) -> str:
    """Return :func:`rows` as CSV."""
    out, found = io.StringIO(), rows(front, points)
    writer = csv.DictWriter(out, list(found[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return out.getvalue()
