"""A second study of the same model: how soon its first trial is measured, and how large the bank is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from slimfront.studies.cache import cache_root

from tests.benchmarks.material import Material, quickstart
from tests.benchmarks.table import write

REPEATS = 3


def first_trial(study: Path, run: Path) -> tuple[float, float]:
    """Return the seconds from the command to the workers' readiness and to the first measured trial."""
    command = [sys.executable, "-m", "slimfront.search.cli", "launch", str(study), "--run", str(run)]
    start = time.perf_counter()
    ready = done = 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("trial 0 of") and not ready:
                ready = time.perf_counter() - start
            if line.startswith("trial 1 of"):
                done = time.perf_counter() - start
                break
        process.kill()
    return ready, done


def main(folder: Path) -> None:
    """Run the benchmark in a folder."""
    folder = folder / "second"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    material = Material(quickstart())
    assert material.told
    bank = material.evaluator.bank
    weights = sum(value.numel() * 4 for value in bank.weights.values())
    data = {**material.study.model_dump(mode="json"), "name": "second", "constraints": {}}
    data["search"]["sampler"] = "random"
    (folder / "second.yaml").write_text(json.dumps(data))
    before = {path: path.stat().st_size for path in (cache_root() / "bank").rglob("*.safetensors")}
    times = sorted(first_trial(folder / "second.yaml", folder / f"run-{n}") for n in range(REPEATS))
    made = [path for path in (cache_root() / "bank").rglob("*.safetensors") if path not in before]
    ready, done = times[len(times) // 2]
    rows = [
        ["command to ready workers", f"{ready:.1f} s"],
        ["command to the first measured trial", f"{done:.1f} s"],
        ["weights compressed", str(len(made))],
        ["bank", f"{bank.size() / 1e6:.0f} MB, {bank.size() / weights:.2f} times the fp32 weights"],
    ]
    text = (
        f"Wall time, median of {REPEATS}: another study of the same model, with other constraints and another sampler."
    )
    write("second_study", "A second study of the same model", text, ("what", "figure"), rows)
