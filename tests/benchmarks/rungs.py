"""Distillation in rungs against distillation whose steps the sampler chooses, at equal CPU time."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from slimfront.search.trial import Trial
from slimfront.studies.schema import Study

from tests.benchmarks.hypervolume import at, curve
from tests.benchmarks.material import Workplace, quickstart
from tests.benchmarks.table import write

# Steps of the longest recovery; CPU seconds of each search, uniform settings included; searches of each arm.
LONGEST, BUDGET, SEEDS = 243, 1500, 3
ARMS: Mapping[str, tuple[list[int], int | None]] = {
    "steps chosen by the sampler": ([0, LONGEST], None),
    "in rungs, one in three goes on": ([0, LONGEST // 9, LONGEST // 3, LONGEST], 3),
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
    for name, (steps, factor) in ARMS.items():
        study = study_of(steps, factor)
        place = Workplace(study, folder / "rungs")
        try:
            for seed in range(SEEDS):
                trials = place.search(f"seed-{seed}", trials=100_000, budget=f"{BUDGET}s", seed=seed)
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
    def median(name: str, figure: str) -> float:
        return float(np.median([one[figure] for one in found[name]]))

    rows = [
        [
            name,
            f"{median(name, 'models an hour'):.0f}",
            f"{median(name, 'hypervolume'):.4f}",
            f"{median(name, 'distilled'):.0f}",
        ]
        for name in found
    ]
    plain, rungs = found
    models = median(rungs, "models an hour") / median(plain, "models an hour")
    pairs = zip(found[rungs], found[plain], strict=True)
    volumes = [one["hypervolume"] / other["hypervolume"] for one, other in pairs if other["hypervolume"]]
    text = f"""
{BUDGET} CPU seconds of trials a search, {SEEDS} seeds, medians; no recovery shared by trials, at most {LONGEST} steps.
In rungs {models:.1f} times the models are tried an hour, and the hypervolume is {np.median(volumes):.2f} times that of
the same seed.
"""
    write("rungs", "Distillation in rungs", text, ("search", "models an hour", "hypervolume", "distilled"), rows)
