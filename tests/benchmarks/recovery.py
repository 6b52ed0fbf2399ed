"""What recovery that all trials share brings, against recovery of every trial by itself."""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

import numpy as np
from slimfront.search.evaluator import Evaluator
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.space import Space
from slimfront.studies.schema import SharedRecovery

from tests.benchmarks.material import held_out_accuracy, quickstart, say
from tests.benchmarks.table import write

# One pass over the train split at 16 sentences a step.
FULL, SHARED, COUNT = 375, 150, 20
SPACE = {
    "sparsity": {"granularity": "layer", "levels": [0.0, 0.25, 0.5, 0.75]},
    "bits": {"granularity": "layer", "levels": [3, 4, 6, 8, 32]},
    "precision": ["f32"],
    "distillation": {"steps": [0, FULL], "temperature": [2.0], "weight": [1.0]},
}


def draw(space: Space) -> list[Configuration]:
    """Return random configurations in which every layer is compressed."""
    rng, found = random.Random(0), []
    for _ in range(COUNT):
        values = {
            name: rng.choice([value for value in domain.values if value != 32])
            for name, domain in space.domains.items()
        }
        found.append(space.canonical({**values, "distillation/steps": 0}))
    return found


def held_out(evaluator: Evaluator, configuration: Configuration, folder: Path) -> tuple[float, float]:
    """Return the held-out accuracy, and the CPU seconds of compression."""
    start = time.process_time()
    evaluator.lower(configuration, folder)
    spent = time.process_time() - start
    return held_out_accuracy(evaluator, configuration, folder), spent


def measured(name: str, evaluator: Evaluator, chosen: list[Configuration], folder: Path) -> list[tuple[float, float]]:
    """Return accuracy and CPU seconds of each configuration; those that were measured before are read."""
    path = folder / f"{name}.json"
    found = json.loads(path.read_text()) if path.is_file() else []
    for configuration in chosen[len(found) :]:
        found.append(held_out(evaluator, configuration, folder / "artifact"))
        path.write_text(json.dumps(found))
        print(f"  {name} {len(found)}: {found[-1]}", file=sys.stderr, flush=True)
    return [(float(accuracy), float(spent)) for accuracy, spent in found]


def main(folder: Path) -> None:
    """Run the benchmark in a folder."""
    folder = folder / "recovery"
    folder.mkdir(exist_ok=True)
    study = quickstart(space=SPACE)
    plain = Evaluator.prepare(study, say)
    configurations = draw(plain.space)
    full = [plain.space.canonical({**c, "distillation/steps": FULL}) for c in configurations]
    results = {"dense": measured("dense", plain, [plain.space.dense()], folder)}
    results["none"] = measured("none", plain, configurations, folder)
    start = time.process_time()
    shared = Evaluator.prepare(study.model_copy(update={"recovery": SharedRecovery(steps=SHARED)}), say)
    cost = folder / "cost.json"
    if not cost.is_file():
        cost.write_text(json.dumps(time.process_time() - start))
    results["shared"] = measured("shared", shared, configurations, folder)
    results["full"] = measured("full", plain, full, folder)
    _write(results, float(json.loads(cost.read_text())))


def _write(results: dict[str, list[tuple[float, float]]], cost: float) -> None:
    accuracy = {name: np.array([value for value, _ in found]) for name, found in results.items()}
    one = float(np.mean([spent for _, spent in results["full"]]))
    gain = {name: accuracy[name] - accuracy["none"] for name in ("shared", "full")}
    share = gain["shared"].mean() / gain["full"].mean()
    titles = {
        "dense": ("not compressed", "0"),
        "none": ("stitched from the dense model", "0"),
        "shared": (f"stitched from the super-network, {SHARED} steps", f"{cost / one:.1f} in all"),
        "full": (f"each distilled by itself, {FULL} steps", f"1 each, {one:.0f} CPU s"),
    }
    rows = [
        [text, f"{100 * accuracy[name].mean():.2f}", f"{100 * accuracy[name].min():.1f}", price]
        for name, (text, price) in titles.items()
    ]
    text = f"""
{COUNT} random configurations of the shipped study's model, every block pruned by 0 to 75 % and every layer at 3 to 8
bits, measured as OpenVINO artifacts on the held-out split. Shared recovery brings
{100 * share:.0f} % of what full recovery of every model by itself does
(paired: {100 * gain["shared"].mean():.2f} ± {_error(gain["shared"]):.2f} and
{100 * gain["full"].mean():.2f} ± {_error(gain["full"]):.2f} points, 95 %), and costs {cost / one:.1f} of them, once.
"""
    write(
        "recovery", "Shared recovery", text, ("models", "mean accuracy, %", "worst, %", "price, full recoveries"), rows
    )


def _error(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    return float(196 * values.std(ddof=1) / len(values) ** 0.5)
