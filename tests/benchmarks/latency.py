"""Whether a latency can be trusted: the dense model against itself, and against itself with known work on top."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from slimfront.objectives.rest import PATIENCE, Rest, at_rest
from slimfront.objectives.sessions.session import run_all
from slimfront.objectives.stopwatch import Ratio, ratio, undisturbed
from slimfront.search.evaluator import Evaluator

from tests.benchmarks.material import quickstart, say
from tests.benchmarks.table import write

# Shares of the dense model's time that come on top; busy processes beside, and how often each share is measured then.
EXTRA = (0.0, 0.05, 0.1, 0.2)
MACHINES = {"idle": (0, (500, 100, 60, 60)), "both cores busy": (2, (100, 40, 40, 40))}
Run = Callable[[], object]


def work(times: int) -> None:
    """Do something that takes as long every time."""
    for _ in range(times):
        MATRIX @ MATRIX


MATRIX = np.ones((24, 24), dtype=np.float32)


def fitted(run: Run, share: float) -> int:
    """Return how often the work must be done to take a share of a run's time."""
    spent: list[list[float]] = [[], []]
    for _ in range(60):
        for place, timed in enumerate((run, partial(work, 1000))):
            start = time.perf_counter()
            timed()
            spent[place].append(time.perf_counter() - start)
    one, unit = (float(np.median(values)) for values in spent)
    return round(share * one / unit * 1000)


@contextmanager
def load(processes: int) -> Iterator[None]:
    """Keep some cores busy, off and on."""
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=_spin, daemon=True) for _ in range(processes)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.kill()


def _spin() -> None:
    rng = np.random.default_rng(os.getpid())
    while True:
        stop = time.perf_counter() + rng.exponential(0.3)
        while time.perf_counter() < stop:
            MATRIX @ MATRIX
        time.sleep(rng.exponential(0.1))


def measured(path: Path, count: int, dense: Run, own: Run, rest: Rest) -> list[Ratio]:
    """Return so many ratios; those that were measured before are read."""
    found = [Ratio(*entry) for entry in json.loads(path.read_text())] if path.is_file() else []
    while len(found) < count:
        (base, times), _ = at_rest([dense, own], 1, rest.level, PATIENCE)
        rest.saw(undisturbed(base), 0.0)
        found.append(ratio(times, base))
        path.write_text(json.dumps([(one.value, one.low, one.high) for one in found]))
    return found


def main(folder: Path) -> None:
    """Run the benchmark in a folder."""
    folder = folder / "latency"
    folder.mkdir(exist_ok=True)
    evaluator = Evaluator.prepare(quickstart(), say)
    session = evaluator.runtime.load(evaluator.lower(evaluator.space.dense(), folder / "dense"))
    dense = partial(run_all, session, evaluator.requests(evaluator.subject))
    rows = []
    for title, (processes, counts) in MACHINES.items():
        rest = Rest()
        for extra, count in zip(EXTRA, counts, strict=True):
            times = fitted(dense, extra) if extra else 0

            def own(times: int = times) -> None:
                dense()
                work(times)

            with load(processes):
                found = measured(folder / f"{title}-{extra}.json", count, dense, own, rest)
            rows.append([title, f"+{extra:.0%}", *cells(found, extra)])
            print(f"  {rows[-1]}", file=sys.stderr, flush=True)
    text = """
Each measurement is one as a trial's: interleaved pairs for 1.2 s at most, and again for 2 s at most where the dense
model took more than 1.15 times as long as in one of the last sixteen. 'Slower' and 'faster' are claims: the 95 %
interval of the ratio lies above or below 1. 'Noisy' intervals are wider than 4 % of the ratio when time is up. The work
on top is multiplications of small matrices, fitted to the dense model's time.
"""
    header = (
        "machine",
        "work on top",
        "measurements",
        "median ratio",
        "ratio above 1",
        "slower",
        "faster",
        "noisy",
        "wrong and not noisy",
    )
    write("latency", "What a latency is worth", text, header, rows)


def cells(found: list[Ratio], extra: float) -> list[str]:
    """Return the cells of a row; a claim of a model without work on top is wrong whatever it says."""

    def share(which: Callable[[Ratio], bool]) -> str:
        return f"{np.mean([which(one) for one in found]):.1%}"

    return [
        str(len(found)),
        f"{np.median([one.value for one in found]):.3f}",
        share(lambda one: one.value > 1),
        share(lambda one: one.low > 1),
        share(lambda one: one.high < 1),
        share(lambda one: one.noisy),
        share(lambda one: (one.high < 1 or (not extra and one.low > 1)) and not one.noisy),
    ]
