"""Energy of a request."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.counters import PACKAGES, Counter, counters
from slimfront.objectives.latency import latency
from slimfront.objectives.measurement import Measurement
from slimfront.objectives.objective import OBJECTIVES, Context, Objective
from slimfront.objectives.stopwatch import Ratio, conditions, median, one_at_a_time, ratio
from slimfront.studies.errors import MissingError

# How often candidate and dense artifact take turns.
ROUNDS = 20
WANTED = {
    "cpu": f"a processor with RAPL whose {PACKAGES}/intel-rapl:*/energy_uj this user may read",
    "cuda": "a GPU of Volta's generation or later, and the extra slimfront[gpu]",
}


@OBJECTIVES.register("energy")
class Energy(Objective):
    """Joules of one request: of the processor's packages, or of the GPU that it runs on, whatever else runs there.

    Candidate and dense artifact run in turn, in stretches that are long beside the counters' own steps; the value is
    the ratio of the medians of their joules for each run times the dense artifact's own.
    """

    unit = "J"
    direction = "minimize"
    predicted = True
    proxy = "latency"
    description = "joules of one request, relative to the dense artifact in interleaved stretches"

    @classmethod
    def require(cls, device: str) -> None:
        """See :meth:`Objective.require`."""
        if not counters(device):
            raise MissingError(
                "this machine does not let its energy counters be read",
                where="objectives",
                given="energy",
                allowed=WANTED[device],
                hint="make them readable, or remove energy and keep latency, which it mostly follows",
            )

    def measure(self, artifact: Artifact, context: Context) -> Measurement:
        """See :meth:`Objective.measure`."""
        rounds, read, runs = [], counters(str(artifact.options.get("device", "cpu"))), context.runs()
        with one_at_a_time():
            around = conditions()
            for run in runs:
                run()
            for _ in range(ROUNDS):
                rounds.append([_joules(run, read) for run in runs])
        dense, own = np.array(rounds).T / len(context.requests)
        base = context.dense.get("energy")
        found: Ratio = median(own) if base is None else ratio(own, dense)
        told = latency(found, base or 1.0, context.cost, around)
        return Measurement(told.value, self.unit, told.interval, told.steer, told.noisy, told.conditions)


def _joules(run: Callable[[], object], read: Sequence[Counter]) -> float:
    """Return the joules of one run, from a stretch of them."""
    before = [counter.read() for counter in read]
    count, stop = 0, time.perf_counter() + max(counter.stretch for counter in read)
    while time.perf_counter() < stop:
        run()
        count += 1
    return sum(counter.between(old, counter.read()) for counter, old in zip(read, before, strict=True)) / count
