"""Distillation in rungs against that of every model, and of those that the sampler chooses, at equal CPU time."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from slimfront.search.trial import Trial
from slimfront.spaces.domain import Value
from slimfront.studies.schema import Study

from tests.benchmarks.hypervolume import at, curve
from tests.benchmarks.material import Workplace, quickstart
from tests.benchmarks.table import write

# Steps of the longest recovery; CPU seconds of each search, uniform settings included; searches of each arm.
LONGEST, BUDGET, SEEDS = 243, 750, 3
RUNGS = "in rungs, one in three goes on"
# The steps that there are, of how many trials one goes on to more of them, and what is not searched.
ARMS: Mapping[str, tuple[list[int], int | None, Mapping[str, Value]]] = {
    "all steps for every model": ([0, LONGEST], None, {"distillation/steps": LONGEST}),
    "none or all, as the sampler chooses": ([0, LONGEST], None, {}),
    RUNGS: ([0, LONGEST // 9, LONGEST // 3, LONGEST], 3, {}),
}


def study_of(steps: list[int], factor: int | None) -> Study:
    """Return the shipped study without shared recovery, where every trial is distilled by itself."""
    distillation = {"steps": steps, "temperature": [1.0, 2.0, 4.0], "weight": [0.5, 1.0]}
    return quickstart(space={"distillation": distillation}, reduction_factor=factor)


def configurations(trials: list[Trial]) -> int:
    """Return how many models were tried, whatever the steps."""
    stems = {
        tuple(value for name, value in trial.configuration.items() if not name.startswith("distillation/"))
        for trial in trials
        if trial.state in ("complete", "stopped")
    }
    return len(stems)


def main(folder: Path) -> None:
    """Run the benchmark in a folder."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ARMS}
    for name, (steps, factor, fixed) in ARMS.items():
        study = study_of(steps, factor)
        place = Workplace(study, folder / "rungs")
        try:
            for seed in range(SEEDS):
                title = f"{'whole-' if fixed else ''}seed-{seed}"
                trials = place.search(title, fixed=fixed, trials=100_000, budget=f"{BUDGET}s", seed=seed)
                found[name].append(_figures(study, trials))
                print(f"  {name}, seed {seed}: {found[name][-1]}", file=sys.stderr, flush=True)
        finally:
            place.close()
    _write(found)


def _figures(study: Study, trials: list[Trial]) -> dict[str, Any]:
    spent = sum(float(trial.details.get("cpu", {}).get("total", 0.0)) for trial in trials)
    return {
        "models an hour": 3600 * configurations(trials) / spent,
        "hypervolume": at(curve(study, trials, 0.0, bounded=True), BUDGET),
        "distilled": sum(int(t.configuration["distillation/steps"]) > 0 for t in trials),
    }


def _write(found: Mapping[str, list[dict[str, Any]]]) -> None:
    rows = []
    for name, figures in found.items():
        ratios = []
        for figure in ("models an hour", "hypervolume"):
            pairs = zip(found[RUNGS], figures, strict=True)
            of = [rungs[figure] / other[figure] for rungs, other in pairs if other[figure]]
            ratios.append(f"{np.median(of):.2f} ({min(of):.2f} to {max(of):.2f})" if of else "-")
        models, volume, distilled = (float(np.median([one[figure] for one in figures])) for figure in figures[0])
        rows.append([name, f"{models:.0f}", f"{volume:.4f}", f"{distilled:.0f}", *ratios])
    text = f"""
{BUDGET} CPU seconds of trials a search, {SEEDS} seeds, medians; no recovery shared by trials, at most {LONGEST} steps.
What rungs are against the others is of the same seed: median and range.
"""
    header = ("search", "models an hour", "hypervolume", "distilled", "models in rungs against it", "hypervolume")
    write("rungs", "Distillation in rungs", text, header, rows)
