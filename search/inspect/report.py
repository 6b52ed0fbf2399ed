"""The report of a run: one HTML file that opens without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import moocore
import numpy as np
from slimfront.search.box import Box
from slimfront.search.front import PICKS, Front, Point, readable
from slimfront.search.inspect.data import counts, notes
from slimfront.search.inspect.plot import SCALE
from slimfront.search.inspect.table import summary
from slimfront.search.records import Records, Trial
from slimfront.search.run import Run, write_atomically

Json = dict[str, Any]
TEMPLATE = Path(__file__).with_name("report.html.jinja")
# The axes whose values are shown layer by layer, with what they are called there.
# What is predicted relative to the dense model's.
RELATIVE = ("latency", "throughput", "energy")
LAYERED = {"bits": "bits", "sparsity": "share of units removed", "unstructured": "zeros", "depth": "blocks"}


def write_report(run: Run, front: Front, path: Path) -> None:
    """Write the report of a run."""
    import jinja2
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    told = document(run, front)
    # Within a script no character may end it.
    text = json.dumps(_brief(told), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    write_atomically(path, template.render(text=Markup(text), plotly=get_plotlyjs(), **told))


def _brief(value: Any) -> Any:
    """Return JSON whose numbers have no more digits than anybody reads."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: _brief(entry) for key, entry in value.items()}
    return [_brief(entry) for entry in value] if isinstance(value, list) else value


def document(run: Run, front: Front) -> Json:
    """Return everything that the report shows, as JSON."""
    trials = Records(run.folder).trials()
    rivals = front.rivals()
    chosen = {point.trial for point in front.points}
    knee = front.pick("knee").trial if front.points else front.dense.trial
    over = axes(front.dense.configuration)
    points = [_point(front, point, over, point.trial in chosen, rivals.get(point.trial)) for point in front.everything]
    return {
        "name": run.study.name,
        "run": str(run.folder),
        "target": f"{run.study.target.runtime}, {run.study.target.threads} thread(s), {run.study.target.length}",
        "answers": answers(front),
        "notes": notes(run, front),
        "counts": {name.replace("_", " "): number for name, number in counts(run).items()},
        "objectives": [_objective(front, name) for name in front.objectives],
        "limits": [f"{name} {limit.text}" for name, limit in front.limits.items()],
        "axes": over,
        "dense": front.dense.trial,
        "knee": knee,
        "points": points,
        "history": history(front, trials),
        "predictions": predictions(trials),
        "failures": [{"trial": t.number, "error": t.error} for t in trials if t.state == "failed"],
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
    """Return a point's objectives against the dense model's, in words; on the held-out split where it was read."""
    if point.trial == front.dense.trial:
        return "the dense model itself"
    parts = []
    for name, entry in front.objectives.items():
        here = point.held_out if name in point.held_out and name in front.dense.held_out else point.values
        base = front.dense.held_out if here is point.held_out else front.dense.values
        value, dense = here[name], base[name]
        if entry["direction"] == "minimize" and "worst" not in entry and value and dense:
            verb = {"byte": ("smaller", "larger")}.get(str(entry["unit"]), ("less", "more"))
            verb = ("faster", "slower") if name in ("latency", "throughput") else verb
            ratio = dense / value if value <= dense else value / dense
            what = f"{ratio:.1f}× {verb[value > dense]}" + ("" if verb[0] != "less" else f" {name}")
            parts.append(f"{name} as before" if f"{ratio:.1f}" == "1.0" else what)
        elif entry["direction"] == "maximize":
            where = " on the held-out split" if here is point.held_out else ""
            parts.append(f"{100 * (value - dense):+.1f} points of {name}{where}")
        else:
            parts.append(f"{name} {readable(value, str(entry['unit']))}")
    return ", ".join(parts)


def _objective(front: Front, name: str) -> Json:
    entry = front.objectives[name]
    scale, unit = SCALE[str(entry["unit"])]
    return {"name": name, "unit": unit, "scale": scale, "less": entry["direction"] == "minimize"}


def _point(front: Front, point: Point, over: Sequence[Json], on_front: bool, rival: int | None) -> Json:
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
        "layers": [layers(point.configuration, axis) for axis in over],
        "settings": {k: v for k, v in point.configuration.items() if k.partition("/")[0] not in LAYERED},
        "information": dict(point.information),
    }


def axes(configuration: Mapping[str, Any]) -> list[Json]:
    """Return the axes that go over layers, with blocks and roles: all configurations of a run have the same."""
    found: dict[str, Json] = {}
    for name in configuration:
        axis, _, place = name.partition("/")
        if axis in LAYERED:
            block, _, role = place.rpartition(".")
            entry = found.setdefault(axis, {"axis": axis, "title": LAYERED[axis], "blocks": {}, "roles": {}})
            entry["blocks"][block or place] = entry["roles"][role if block else "all"] = None
    return [{**entry, "blocks": list(entry["blocks"]), "roles": list(entry["roles"])} for entry in found.values()]


def layers(configuration: Mapping[str, Any], axis: Json) -> list[list[Any]]:
    """Return a configuration's values of one axis, a row for each block, a column for each role."""
    name = axis["axis"]
    return [
        [configuration.get(f"{name}/{block}" if role == "all" else f"{name}/{block}.{role}") for role in axis["roles"]]
        for block in axis["blocks"]
    ]


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


def predictions(trials: Sequence[Trial]) -> dict[str, list[list[float]]]:
    """Return what was predicted before each trial and what was measured, in shares of dense, by objective."""
    dense, found = trials[0], dict[str, list[list[float]]]()
    for trial in trials[1:]:
        told = trial.details.get("predicted", {})
        if trial.state != "complete" or trial.cached_from is not None:
            continue
        for name in told.keys() & trial.measurements.keys():
            base = dense.value(name) or 1.0
            predicted = told[name] if name in RELATIVE else told[name] / base
            found.setdefault(name, []).append([predicted, trial.value(name) / base])
    return found
