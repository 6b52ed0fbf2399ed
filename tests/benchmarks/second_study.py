"""A second study of the same model: how soon its first trial is measured, and how large the bank is."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from slimfront.search.storage import FILE
from slimfront.studies.cache import cache_root

from tests.benchmarks.material import Material, quickstart
from tests.benchmarks.table import write

REPEATS = 3


def first_trial(study: Path, run: Path) -> float:
    """Return the seconds from the command to the first measured trial in the records."""
    command = [sys.executable, "-m", "slimfront.search.cli", "launch", str(study), "--run", str(run)]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        while not _measured(run / FILE):
            time.sleep(0.05)
            if process.poll() is not None:
                raise RuntimeError(f"the search ended with status {process.returncode}")
        return time.perf_counter() - start
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _measured(records: Path) -> bool:
    if not records.exists():
        return False
    try:
        with contextlib.closing(sqlite3.connect(f"file:{records}?mode=ro", uri=True)) as connection:
            return bool(connection.execute("select 1 from trials where state = 'COMPLETE' limit 1").fetchall())
    except sqlite3.OperationalError:
        return False


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
    done = times[len(times) // 2]
    rows = [
        ["command to the first measured trial", f"{done:.1f} s"],
        ["weights compressed", str(len(made))],
        ["bank", f"{bank.size() / 1e6:.0f} MB, {bank.size() / weights:.2f} times the fp32 weights"],
    ]
    text = (
        f"Wall time, median of {REPEATS}: another study of the same model, with other constraints and another sampler."
    )
    write("second_study", "A second study of the same model", text, ("what", "figure"), rows)
