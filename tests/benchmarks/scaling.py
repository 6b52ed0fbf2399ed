"""How many workers one coordinator keeps busy: a simulation with measured times of trials and of asking and telling."""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from slimfront.search.run import Run

from tests.benchmarks.table import FOLDER, write

WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)
TRIALS, SEED, SAMPLERS = 20_000, 0, ("evolution", "random", "tpe")


def rate(workers: int, trials: Sequence[float], asking: float) -> float:
    """Return trials a second, with one coordinator that serves workers one after another, first come, first served.

    Args:
        workers: How many.
        trials: Seconds that trials take on a worker, from which they are drawn.
        asking: Seconds of the coordinator for each trial: telling its result, choosing and recording the next.
    """
    rng = np.random.default_rng(SEED)
    lengths = rng.choice(np.asarray(trials), size=TRIALS)
    ready = [(0.0, worker) for worker in range(workers)]
    free = 0.0
    for length in lengths:
        came, worker = heapq.heappop(ready)
        free = max(free, came) + asking
        heapq.heappush(ready, (free + float(length), worker))
    return TRIALS / max(end for end, _ in ready)


def measured_asking() -> dict[str, float]:
    """Return seconds of asking and telling at trial 500 by sampler, from the last benchmark ``asking``."""
    text = (FOLDER / "asking.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| (\w+): ask and tell at trial 500 \| ([\d.]+) ms", text, re.MULTILINE)
    return {name: float(value) / 1000 for name, value in found if name in SAMPLERS}


def main(folder: Path) -> None:
    """Simulate searches with the times of the benchmark ``recipes``'s hour of search and of ``asking``."""
    run = folder / "recipes" / "run-openvino"
    if not run.is_dir():
        raise SystemExit("run the benchmark 'recipes' first: its search gives the times of trials")
    done = [t for t in Run.open(run).records().trials() if t.cached_from is None and "seconds" in t.details]
    seconds = [float(trial.details["seconds"]) for trial in done]
    mean, asking = float(np.mean(seconds)), measured_asking()
    rows = []
    for workers in WORKERS:
        rates = [rate(workers, seconds, spent) for spent in asking.values()]
        rows.append((workers, *(f"{value:.2f} ({value * mean / workers:.0%})" for value in rates)))
    full = ", ".join(f"{mean / spent:.0f} ({name})" for name, spent in asking.items())
    text = f"""
Simulated: {TRIALS} trials whose times are drawn from the {len(done)} of an hour of search of the shipped study
(mean {mean:.1f} s, median {np.median(seconds):.1f} s: some are distilled, most stop early), and the coordinator's
time for each trial as `asking` measured it. The coordinator is busy all the time from about so many workers on:
{full}. Then let several searches share one study: each `slimfront launch --storage URL`
has a coordinator and workers of its own, and what one measures all know.
"""
    header = ("workers", *(f"{name}: trials a second (share of the workers' time)" for name in asking))
    write("scaling", "One coordinator and many workers", text, header, rows)
