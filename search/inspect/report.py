"""The report of a run: one HTML file that opens without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import moocore
import numpy as np
from slimfront.search.box import Box
from slimfront.search.front import Front, Point
from slimfront.search.inspect.data import agreement, compared, counts, failures, notes
from slimfront.search.inspect.distilled import distilled
from slimfront.search.inspect.importance import importance, short
from slimfront.search.inspect.plot import SCALE
from slimfront.search.inspect.table import summary
from slimfront.search.picking import PICKS
from slimfront.search.run import Run, write_atomically
from slimfront.search.trial import Trial
from slimfront.studies.limits import readable

Json = dict[str, Any]
HERE = Path(__file__).parent
# What is predicted relative to the dense model's.
RELATIVE = ("latency", "throughput", "energy")
# The axes whose values are shown layer by layer, with what they are called there.
LAYERED = {"bits": "bits", "sparsity": "share of units removed", "unstructured": "zeros", "depth": "blocks"}


def write_report(run: Run, front: Front, path: Path) -> None:
    """Write the report of a run."""
    import jinja2
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    loader = jinja2.FileSystemLoader(HERE)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    told = document(run, front)
    # Within a script no character may end it.
    shown = {name: value for name, value in told.items() if name not in ("importance", "failures", "notes", "answers")}
    text = json.dumps(_brief(shown), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    parts = {name: Markup((HERE / f"report.{name}").read_text(encoding="utf-8")) for name in ("css", "js")}
    page = environment.get_template("report.html.jinja").render(
        text=Markup(text), plotly=Markup(get_plotlyjs()), **parts, **told
    )
    write_atomically(path, page)


def _brief(value: Any) -> Any:
    """Return JSON whose numbers have no more digits than anybody reads."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: _brief(entry) for key, entry in value.items()}
    return [_brief(entry) for entry in value] if isinstance(value, list) else value


def document(run: Run, front: Front) -> Json:
    """Return everything that the report shows, as JSON."""
    records = run.records()
    trials = records.trials()
    rivals = front.rivals()
    chosen = {point.trial for point in front.points}
    knee = front.pick("knee").trial if front.points else front.dense.trial
    parameters = list(front.dense.configuration)
    # What the budgets filter is what ``--where`` goes by.
    judged = front.settled.everything
    points = [_point(front, point, point.trial in chosen, rivals.get(point.trial)) for point in judged]
    return {
        "name": run.study.name,
        "run": str(run.folder),
        "target": f"{run.study.target.runtime}, {run.study.target.threads} thread(s), {run.study.target.length}",
        "answers": answers(front),
        "notes": notes(trials, front),
        "counts": {name.replace("_", " "): number for name, number in counts(trials).items()},
        "objectives": [_objective(front, name) for name in front.objectives],
        "limits": [f"{name} {limit.text}" for name, limit in front.limits.items()],
        "parameters": parameters,
        "axes": axes(parameters),
        "dense": front.dense.trial,
        "knee": knee,
        "points": points,
        "history": history(front, trials),
        "predictions": predictions(front, trials),
        "importance": importance(records, trials),
        "distilled": distilled(trials, front.objectives),
        "failures": failures(trials),
        "hypervolume": front.hypervolume(),
    }


def answers(front: Front) -> list[str]:
    """Return in plain words what the knee and the ends of the front give, each against the dense model."""
    if not front.points:
        return ["No trial keeps the study's constraints."]
    found: dict[int, list[str]] = {}
    for how in PICKS:
        if not PICKS[how] or any(name in front.objectives for name in PICKS[how]):
            found.setdefault(front.pick(how).trial, []).append(how.replace("-", " "))
    points = {point.trial: point for point in front.points}
    return [f"{_listed(names)} (trial {trial}): {_against(front, points[trial])}" for trial, names in found.items()]


def _listed(names: Sequence[str]) -> str:
    text = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return text[0].upper() + text[1:]


def _against(front: Front, point: Point) -> str:
    """Return a point's objectives against the dense model's, in words, as they were measured again where they were."""
    if point.trial == front.dense.trial:
        return "the dense model itself"
    parts = []
    for name, entry in front.objectives.items():
        held_out = name in point.held_out and name in front.dense.held_out
        value, dense = (point.held_out[name], front.dense.held_out[name]) if held_out else _final(front, point, name)
        if entry["direction"] == "minimize" and "worst" not in entry and value and dense:
            verb = {"byte": ("smaller", "larger")}.get(str(entry["unit"]), ("less", "more"))
            verb = ("faster", "slower") if name in ("latency", "throughput") else verb
            ratio = dense / value if value <= dense else value / dense
            what = f"{ratio:.1f}× {verb[value > dense]}" + ("" if verb[0] != "less" else f" {name}")
            parts.append(f"{name} as before" if f"{ratio:.1f}" == "1.0" else what)
        elif entry["direction"] == "maximize":
            where = " on the held-out split" if held_out else ""
            parts.append(f"{100 * (value - dense):+.1f} points of {name}{where}")
        else:
            parts.append(f"{name} {readable(value, str(entry['unit']))}")
    return ", ".join(parts)


def _final(front: Front, point: Point, name: str) -> tuple[float, float]:
    """Return an objective of a point, from the tournament where it took part, and the dense model's."""
    value = point.final[name]["value"] if name in point.final else point.values[name]
    return float(value), front.dense.values[name]


def _objective(front: Front, name: str) -> Json:
    entry = front.objectives[name]
    scale, unit = SCALE[str(entry["unit"])]
    return {"name": name, "unit": unit, "scale": scale, "less": entry["direction"] == "minimize"}


def _point(front: Front, point: Point, on_front: bool, rival: int | None) -> Json:
    return {
        "trial": point.trial,
        "kind": point.kind,
        "front": on_front,
        "feasible": point.feasible,
        "rival": rival,
        "values": dict(point.values),
        "shown": {name: readable(value, front.units[name]) for name, value in point.values.items()},
        "intervals": {name: list(pair) for name, pair in point.intervals.items()},
        "noisy": list(point.noisy),
        "again": {name: readable(value, front.units[name]) for name, value in point.held_out.items()}
        | {name: readable(entry["value"], front.units[name]) for name, entry in point.final.items()},
        "summary": "dense" if point.trial == front.dense.trial else summary(point.configuration),
        "configuration": list(point.configuration.values()),
        "information": dict(point.information),
    }


def axes(parameters: Sequence[str]) -> list[Json]:
    """Return the axes that go over layers, with blocks and roles: all configurations of a run have the same.

    Returns:
        ``axis``, ``title``, ``blocks``, ``roles`` and ``cells``: the place of a block's and role's parameter among all.
    """
    found: dict[str, dict[tuple[str, str], int]] = {}
    for number, name in enumerate(parameters):
        axis, _, place = name.partition("/")
        if axis in LAYERED:
            block, _, role = place.rpartition(".")
            found.setdefault(axis, {})[(block, role) if block else (place, "all")] = number
    return [_axis(axis, places) for axis, places in found.items()]


def _axis(axis: str, places: Mapping[tuple[str, str], int]) -> Json:
    blocks, roles = (list(dict.fromkeys(key[side] for key in places)) for side in (0, 1))
    cells = [[places.get((block, role)) for role in roles] for block in blocks]
    return {"axis": axis, "title": LAYERED[axis], "blocks": short(blocks), "roles": roles, "cells": cells}


def history(front: Front, trials: Sequence[Trial]) -> list[list[float]]:
    """Return the hypervolume after each trial that was measured, ``(trials, 2)``: number and share."""
    box = Box.of(front.objectives, front.dense.values, front.limits)
    feasible = {point.trial: point for point in front.everything if point.feasible}
    kept, found = np.zeros((0, len(front.objectives))), []
    for trial in trials:
        if trial.number in feasible:
            values = feasible[trial.number].values
            row = box.scaled(np.array([[values[name] for name in box.names]], dtype=np.float64))
            kept = np.concatenate([kept, row])
            kept = kept[moocore.is_nondominated(kept, keep_weakly=False)]
        share = float(moocore.hypervolume(kept, ref=np.ones(kept.shape[1]))) if len(kept) else 0.0
        found.append([trial.number, share])
    return found


def predictions(front: Front, trials: Sequence[Trial]) -> list[Json]:
    """Return what was predicted before each trial and what was measured, by quantity; nothing of what is always exact.

    Returns:
        ``name``, ``unit``, ``pairs`` of trial, prediction and measurement, and Spearman's ``correlation``, or None.
    """
    found = compared(trials)
    known = agreement(trials)
    told = []
    for name, rows in found.items():
        dense = front.dense.values.get(name)
        share = name in RELATIVE and dense
        pairs = [[number, told, value / dense if share and dense else value] for number, told, value in rows]
        unit = "share of dense" if share else "nat" if name == "divergence" else ""
        if any(predicted != measured for _, predicted, measured in pairs):
            told.append({"name": name, "unit": unit, "pairs": pairs, "correlation": known.get(name)})
    return told
