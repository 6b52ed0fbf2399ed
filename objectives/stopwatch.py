"""Compares how long two or more runs take, on a machine that does other things as well."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from slimfront.objectives.pinning import pinned

LEAST_ROUNDS, MOST_ROUNDS, SECONDS, RESAMPLES = 20, 120, 1.2, 500
# Half of the 95 % interval of a ratio, relative: more rounds are run until it is this narrow, and beyond it is noisy.
PRECISION = 0.02
# Rounds of each half whose medians must agree before anything counts, how well, and how many halves there are at most.
WARM_UP, AGREEMENT, MOST_HALVES = 3, 0.1, 6
# Seconds for which a model runs before it is timed, once at least, and how often at most: the one before just emptied
# the caches, and one run of a small model does not fill them again. After the dense model's run, the second run of some
# of 2 ms took 1.0 to 1.2 times as long as their third, that of one of 6 ms as long (two cores with AVX2).
SETTLE, MOST_SETTLING = 0.005, 3
# The share of its runs that a model is undisturbed in, on a machine that others use as well.
LOWEST = 0.1
# A place and a name that all users of the machine agree on, whatever TMPDIR says.
PLACE, LOCK = Path("/tmp"), "slimfront-stopwatch.lock"
# How many runs a percentile of the times takes: ten lie above it.
RUNS = {90: 100, 99: 1000}
Times = npt.NDArray[np.float64]
Run = Callable[[], object]


@dataclass(frozen=True)
class Ratio:
    """How much longer one run takes than another.

    Attributes:
        value: Ratio of the medians.
        low: Lower end of the 95 % interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    @property
    def noisy(self) -> bool:
        """Whether time was up before the interval was narrow."""
        return self.high - self.low > 2 * PRECISION * self.value


def compared(
    runs: Sequence[Run], threads: int, seconds: float = SECONDS, least: int = LEAST_ROUNDS
) -> tuple[Times, dict[str, object]]:
    """Time some runs while no other measurement runs on this machine; see :func:`interleaved`.

    Returns:
        The milliseconds of each run in each round, ``(runs, rounds)``, and the conditions as JSON.
    """
    with one_at_a_time():
        # What was running just before bears on the times, this measurement itself does not.
        around = conditions()
        with pinned(threads) as cores:
            times = interleaved(runs, seconds, least).T
    around |= {"pinned": cores} if cores else {}
    return times, {**around, "threads": threads, "rounds": times.shape[1]}


def interleaved(runs: Sequence[Run], seconds: float = SECONDS, least: int = LEAST_ROUNDS) -> Times:
    """Return the milliseconds of each run in each round, ``(rounds, runs)``.

    The order within a round is random, so that whatever else the machine does falls on all alike.

    Args:
        runs: What is timed; the first one is what others are compared with.
        seconds: Time after which no further round begins.
        least: Rounds that are run in any case.
    """
    rng = np.random.default_rng(0)
    _warm_up(runs, rng)
    rounds: list[list[float]] = []
    stop = time.perf_counter() + seconds
    while len(rounds) < least or (
        time.perf_counter() < stop and len(rounds) < MOST_ROUNDS and _half_width(np.array(rounds)) > PRECISION
    ):
        rounds.append(_round(runs, rng))
    return np.array(rounds)


def _round(runs: Sequence[Run], rng: np.random.Generator) -> list[float]:
    times = [0.0] * len(runs)
    for place in rng.permutation(len(runs)):
        settle(runs[place])
        start = time.perf_counter()
        runs[place]()
        times[place] = (time.perf_counter() - start) * 1e3
    return times


def settle(run: Run) -> int:
    """Run untimed until the caches hold what a run needs, and return how often it ran."""
    stop, count = time.perf_counter() + SETTLE, 0
    while not count or (count < MOST_SETTLING and time.perf_counter() < stop):
        run()
        count += 1
    return count


def _warm_up(runs: Sequence[Run], rng: np.random.Generator) -> None:
    """Run until the medians of two stretches agree: clocks rise, and memory is laid out."""
    before: Times | None = None
    for _ in range(MOST_HALVES):
        after = np.median([_round(runs, rng) for _ in range(WARM_UP)], axis=0)
        # Those of most runs, or of both: of many one or another is always disturbed.
        if before is not None and (np.abs(after / before - 1) < AGREEMENT).mean() > 0.5:
            return
        before = after


def _half_width(times: Times) -> float:
    """Return half of the widest 95 % interval of a median log ratio, from its median absolute deviation."""
    ratios = np.log(times[:, 1:]) - np.log(times[:, :1])
    deviation = 1.4826 * np.median(np.abs(ratios - np.median(ratios, axis=0)), axis=0)
    # The median of n normal values spreads by 1.2533 / sqrt(n) of one value.
    return float(1.96 * 1.2533 * deviation.max(initial=0.0) / np.sqrt(len(ratios)))


def ratio(own: Times, base: Times) -> Ratio:
    """Return the ratio of the medians of two runs with its bootstrap interval.

    Whole stretches of neighbouring rounds are drawn, for what disturbs one round disturbs the next (Künsch 1989, "The
    Jackknife and the Bootstrap for General Stationary Observations"; the stretch is the cube root of the rounds).

    Args:
        own: Milliseconds by round, ``(rounds,)``.
        base: Those of the other run in the same rounds.
    """
    picks = _stretches(len(own))
    values = np.median(own[picks], axis=1) / np.median(base[picks], axis=1)
    low, high = np.quantile(values, [0.025, 0.975])
    value = float(np.median(own) / np.median(base))
    return Ratio(value, min(float(low), value), max(float(high), value))


def median(own: Times) -> Ratio:
    """Return the median of some milliseconds, ``(rounds,)``, to one, with its bootstrap interval."""
    return ratio(own, np.ones_like(own))


def undisturbed(own: Times) -> float:
    """Return the milliseconds of a run while hardly anything else disturbs it: their lowest tenth, ``(rounds,)``.

    Who shares a processor core with others (threads of one core, neighbours on one host) finds two medians, one for
    each state of them, and neither tells what the model needs; the lowest times hardly differ from day to day.
    """
    return float(np.quantile(own, LOWEST))


def across(times: Times) -> list[Ratio]:
    """Return the ratio of each run to the first over several occasions, and where as many others are expected to lie.

    The interval is the 95 % prediction interval of the mean of as many further occasions, on a logarithmic scale
    (Hahn and Meeker 1991, "Statistical Intervals", chapter 4), from how the ratios differ between occasions, pooled
    over all of them.

    Args:
        times: Milliseconds of each run on each occasion, ``(occasions, runs)``; two of both at least.
    """
    from scipy.stats import t

    logs = np.log(times[:, 1:]) - np.log(times[:, :1])
    occasions, count = logs.shape
    # However many are pooled: all of them have their base in common.
    freedom = min(2, count) * (occasions - 1)
    spread = np.sqrt(logs.var(axis=0, ddof=1).mean() * 2 / occasions)
    reach = float(t.ppf(0.975, freedom)) * spread
    return [Ratio(*np.exp([value, value - reach, value + reach]).tolist()) for value in logs.mean(axis=0)]


def percentiles(own: Times) -> dict[str, float]:
    """Return the percentiles of some milliseconds, ``(rounds,)``, for which there are enough of them."""
    return {f"p{rank}": float(np.percentile(own, rank)) for rank, least in RUNS.items() if len(own) >= least}


def _stretches(rounds: int) -> npt.NDArray[np.int64]:
    """Return rounds drawn in stretches that go round in a circle, ``(resamples, rounds)``."""
    length = max(1, round(rounds ** (1 / 3)))
    starts = np.random.default_rng(0).integers(rounds, size=(RESAMPLES, -(-rounds // length)))
    found: npt.NDArray[np.int64] = (starts[:, :, None] + np.arange(length)).reshape(RESAMPLES, -1)[:, :rounds] % rounds
    return found


@contextlib.contextmanager
def one_at_a_time(folder: Path | None = None) -> Iterator[None]:
    """Hold the machine's stopwatch, which the system takes back when this process ends: two would disturb each other.

    Args:
        folder: Where the lock lies; by default where the temporary files of all users are.
    """
    path = (folder or (PLACE if PLACE.is_dir() else Path(tempfile.gettempdir()))) / LOCK
    # Read only, and made only where it is missing: another user's file can be locked, too, but not opened to be made.
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def conditions() -> dict[str, object]:
    """Return what else bears on a measured time: load of the machine, how many cores this process may use, governor."""
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    found: dict[str, object] = {"load": round(os.getloadavg()[0], 2)}
    if hasattr(os, "sched_getaffinity"):
        found["cores"] = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError):
        found["governor"] = governor.read_text().strip()
    return found
