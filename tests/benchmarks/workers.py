"""What a second worker is worth: trials an hour of one and of two, on both engines, in turn."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import time
from pathlib import Path

import numpy as np
from slimfront.search.launching import Listener, launch
from slimfront.search.standing import Progress

from tests.benchmarks.material import quickstart
from tests.benchmarks.table import write

# Trials of a search, of which the first ones, while workers start, do not count; searches of each kind.
TRIALS, FIRST, ROUNDS = 36, 8, 3
ENGINES, WORKERS = ("optuna", "ray"), (1, 2)


class Enough(Exception):
    """All trials are there: what a search measures afterwards does not count."""


def rate(engine: str, workers: int, folder: Path) -> float:
    """Return trials an hour of a search of random configurations, the same ones for all."""
    ends: dict[int, float] = {}

    def note(progress: Progress) -> None:
        ends.setdefault(progress.done, time.monotonic())
        if progress.done >= TRIALS:
            raise Enough

    shutil.rmtree(folder, ignore_errors=True)
    space = {"distillation": None}
    study = quickstart(space, sampler="random", engine=engine, workers=workers, trials=TRIALS)
    with contextlib.suppress(Enough):
        launch(study, folder, listener=Listener(trial=note))
    return 3600 * (TRIALS - FIRST) / (ends[TRIALS] - ends[FIRST])


def main(folder: Path) -> None:
    """Run the benchmark in a folder."""
    # The first of all would fill the bank for the others.
    rate(ENGINES[0], 1, folder / "workers-first")
    found: dict[tuple[str, int], list[float]] = {kind: [] for kind in itertools.product(ENGINES, WORKERS)}
    for _ in range(ROUNDS):
        for (engine, workers), rates in found.items():
            rates.append(rate(engine, workers, folder / f"workers-{engine}-{workers}"))
    rows = []
    for engine in ENGINES:
        one, two = (found[engine, workers] for workers in WORKERS)
        shares = [b / a for a, b in zip(one, two, strict=True)]
        spread = f"{np.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})"
        rows.append([engine, f"{np.median(one):.0f}", f"{np.median(two):.0f}", spread])
    text = f"""
Medians of {ROUNDS} searches of each kind, in turn, each of {TRIALS} random configurations of the shipped study without
recovery, one thread a worker, after one search that filled the bank; the first {FIRST} trials, while workers start, do
not count. The ratio is that of searches beside each other, with the least and the greatest. Why it may
exceed two was not measured: when counting starts, the other of two workers has part of a trial done, and who is stopped
early depends on who ended before.
"""
    header = ("engine", "trials an hour, one worker", "two workers", "ratio")
    write("workers", "What a second worker is worth", text, header, rows)
