"""Times runs while a machine that others use as well is at rest."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from slimfront.objectives.stopwatch import LEAST_ROUNDS, SECONDS, Run, Times, compared, settle, undisturbed

# By how much the dense model may take longer than it does at rest. Beside a neighbour on the same processor core it
# took 1.3 times as long (seen on two cores of a host with AMX), and a bf16 model twice.
AT_REST = 1.15
# Seconds between two looks whether the machine is at rest, and runs of a look.
POLL, LOOK = 0.25, 3
# Seconds for which one measurement waits for rest, and the share of a worker's time that all of its may wait.
PATIENCE, SHARE = 2.0, 0.1
# So many of the last measurements tell what rest is, by default: a machine that is slower for good rests more slowly.
MEMORY = 16


class Rest:
    """How long the dense model takes while the machine is at rest, as far as the last measurements tell.

    It knows, too, for how long rest may be waited for: models that take a moment to evaluate are not worth long waits.

    Args:
        share: The share of all time that may be waited.
        memory: So many of the last measurements tell what rest is; None for all.
    """

    def __init__(self, share: float = SHARE, memory: int | None = MEMORY) -> None:
        self._share = share
        self._seen: deque[float] = deque(maxlen=memory)
        self._begun, self._waited = time.monotonic(), 0.0

    @property
    def level(self) -> float:
        """Its milliseconds; infinite where nothing was measured."""
        return min(self._seen, default=math.inf)

    @property
    def patience(self) -> float:
        """Seconds that the next measurement may wait."""
        return max(0.0, min(PATIENCE, self._share * (time.monotonic() - self._begun) - self._waited))

    def saw(self, milliseconds: float, waited: float) -> None:
        """Take in what it took in another measurement, and for how many seconds rest was waited for."""
        self._seen.append(milliseconds)
        self._waited += waited

    def come(self, run: Run) -> None:
        """Wait until the machine is at rest, or patience is out; ``run`` runs the dense model once."""
        begun = time.monotonic()
        took = _come(run, self.level, begun + self.patience)
        self.saw(took, time.monotonic() - begun)

    def look(self, run: Run) -> float:
        """Return the milliseconds of the dense model's run now."""
        self.saw(took := _look(run), 0.0)
        return took

    def was(self, milliseconds: float) -> bool:
        """Return whether the machine was at rest when the dense model took so long, as far as is known by now."""
        return milliseconds <= AT_REST * self.level


def at_rest(
    runs: Sequence[Run],
    threads: int,
    rest: float,
    patience: float,
    seconds: float = SECONDS,
    least: int = LEAST_ROUNDS,
) -> tuple[Times, dict[str, Any]]:
    """Time some runs as :func:`~slimfront.objectives.stopwatch.compared` does, once the machine has come to rest.

    Where it does not, or does not stay at rest, they are timed again until patience is out; what was disturbed least
    counts, and its conditions say that it was ``disturbed``. They say how many seconds were ``waited``, too.

    Args:
        runs: What is timed; how long the first one takes tells whether the machine is at rest.
        threads: Threads of one run.
        rest: Milliseconds of the first run at rest, or infinite, where they are not known.
        patience: Seconds after which nothing is waited for.
        seconds: Time after which no further round begins.
        least: Rounds that are run in any case.
    """
    begun = time.monotonic()
    stop = begun + patience
    best: tuple[Times, dict[str, Any]] | None = None
    while best is None or (undisturbed(best[0][0]) > AT_REST * rest and time.monotonic() < stop):
        if math.isfinite(rest) and time.monotonic() < stop:
            _come(runs[0], rest, stop)
        waited = time.monotonic() - begun
        found = compared(runs, threads, seconds, least)
        if best is None or undisturbed(found[0][0]) < undisturbed(best[0][0]):
            best = found
    times, around = best
    around |= {"waited": round(waited, 2)} | ({"disturbed": True} if undisturbed(times[0]) > AT_REST * rest else {})
    return times, around


def _come(run: Run, rest: float, stop: float) -> float:
    """Wait until a run takes no longer than at rest, or it is time to stop; return its milliseconds."""
    while (took := _look(run)) > AT_REST * rest and time.monotonic() < stop:
        time.sleep(POLL)
    return took


def _look(run: Run) -> float:
    """Return the shortest milliseconds of a few runs."""
    settle(run)
    times = []
    for _ in range(LOOK):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return min(times)
