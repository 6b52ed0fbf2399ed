"""Latency of the artifact, as a ratio to the dense artifact taken in interleaved runs."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from slimfront.objectives.measurement import Measurement
from slimfront.objectives.objective import OBJECTIVES, Context, Objective
from slimfront.objectives.runtimes.artifact import Artifact

WARM_UP, LEAST_PAIRS, MOST_PAIRS, SECONDS, RESAMPLES = 3, 20, 120, 1.2, 500
# Half of the 95 % interval of the ratio, relative: more pairs are run until it is this narrow.
PRECISION = 0.02
Times = npt.NDArray[np.float64]


@OBJECTIVES.register("latency")
class Latency(Objective):
    """Median milliseconds of one request.

    Candidate and dense artifact run in randomly ordered pairs; the value is the ratio of their medians times the
    dense artifact's own milliseconds, the interval is a bootstrap over the pairs. Samplers are told the predicted
    latency instead, which is repeatable, so that the clock's noise cannot change which trials a seed gives.
    """

    unit = "ms"
    direction = "minimize"
    predicted = True
    description = "median milliseconds of one request, relative to the dense artifact in interleaved runs"

    def measure(self, artifact: Artifact, context: Context) -> Measurement:  # noqa: ARG002
        """See :meth:`Objective.measure`."""
        with one_at_a_time(context.lock):
            own, dense = interleaved(context.run, context.run_dense)
        base = context.dense.get("latency")
        if base is None:
            low, high = _bootstrap(own, None)
            return Measurement(float(np.median(own)), self.unit, (low, high), steer=context.cost)
        ratio = float(np.median(own) / np.median(dense))
        low, high = _bootstrap(own, dense)
        interval = (min(low, ratio) * base, max(high, ratio) * base)
        return Measurement(ratio * base, self.unit, interval, steer=context.cost)


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file: two measurements at once would disturb each other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def interleaved(candidate: Callable[[], object], dense: Callable[[], object]) -> tuple[Times, Times]:
    """Return the milliseconds of paired runs of two models, ``(pairs,)`` each.

    The order within a pair is random, so that whatever else the machine does falls on both alike.
    """
    rng = np.random.default_rng(0)
    for _ in range(WARM_UP):
        candidate()
        dense()
    times: tuple[list[float], list[float]] = ([], [])
    stop = time.perf_counter() + SECONDS
    while len(times[0]) < LEAST_PAIRS or (
        time.perf_counter() < stop and len(times[0]) < MOST_PAIRS and _half_width(times) > PRECISION
    ):
        for which in rng.permutation(2):
            run = (candidate, dense)[which]
            # Not timed: the other model has just emptied the caches.
            run()
            start = time.perf_counter()
            run()
            times[which].append((time.perf_counter() - start) * 1e3)
    return np.array(times[0]), np.array(times[1])


def _half_width(times: tuple[list[float], list[float]]) -> float:
    """Return half of the 95 % interval of the median log ratio, from its median absolute deviation."""
    ratios = np.log(times[0]) - np.log(times[1])
    deviation = 1.4826 * float(np.median(np.abs(ratios - np.median(ratios))))
    # The median of n normal values spreads by 1.2533 / sqrt(n) of one value.
    return 1.96 * 1.2533 * deviation / float(np.sqrt(len(ratios)))


def _bootstrap(own: Times, dense: Times | None) -> tuple[float, float]:
    """Return the 95 % percentile interval of the median, or of the ratio of medians."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(own), size=(RESAMPLES, len(own)))
    values = np.median(own[picks], axis=1)
    if dense is not None:
        values = values / np.median(dense[picks], axis=1)
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
