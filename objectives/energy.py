"""Energy of a request."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from slimfront.objectives.latency import latency
from slimfront.objectives.measurement import Measurement
from slimfront.objectives.objective import OBJECTIVES, Context, Objective
from slimfront.objectives.runtimes.artifact import Artifact
from slimfront.objectives.stopwatch import Ratio, conditions, median, one_at_a_time, ratio
from slimfront.studies.errors import MissingError

# Where Linux shows the energy counters of processors that have them (running average power limit, RAPL).
COUNTERS = Path("/sys/class/powercap")
# Counters are renewed a thousand times a second: a stretch of runs must last much longer than that.
STRETCH, ROUNDS = 0.1, 20


@OBJECTIVES.register("energy")
class Energy(Objective):
    """Joules of one request: of the processor's packages, whatever else runs on them.

    Candidate and dense artifact run in turn, in stretches of a tenth of a second; the value is the ratio of the medians
    of their joules for each run times the dense artifact's own.
    """

    unit = "J"
    direction = "minimize"
    predicted = True
    proxy = "latency"
    description = "joules of one request, relative to the dense artifact in interleaved stretches"

    @classmethod
    def require(cls) -> None:
        """See :meth:`Objective.require`."""
        if not _packages():
            raise MissingError(
                "this machine does not let its energy counters be read",
                where="objectives",
                given="energy",
                allowed=f"a processor with RAPL whose {COUNTERS}/intel-rapl:*/energy_uj this user may read",
                hint="make them readable, or remove energy and keep latency, which it mostly follows",
            )

    def measure(self, artifact: Artifact, context: Context) -> Measurement:  # noqa: ARG002
        """See :meth:`Objective.measure`."""
        rounds = []
        with one_at_a_time():
            around = conditions()
            context.run_dense()
            context.run()
            for _ in range(ROUNDS):
                rounds.append([_joules(context.run_dense), _joules(context.run)])
        dense, own = np.array(rounds).T / len(context.requests)
        base = context.dense.get("energy")
        found: Ratio = median(own) if base is None else ratio(own, dense)
        told = latency(found, base or 1.0, context.cost, around)
        return Measurement(told.value, self.unit, told.interval, told.steer, told.noisy, told.conditions)


def _packages() -> list[Path]:
    """Return the counters of whole packages that can be read."""
    found = []
    for folder in sorted(COUNTERS.glob("intel-rapl:[0-9]*")):
        try:
            int((folder / "energy_uj").read_text())
        except (OSError, ValueError):
            continue
        if folder.name.count(":") == 1:
            found.append(folder)
    return found


def _joules(run: Callable[[], object]) -> float:
    """Return the joules of one run, from a stretch of them."""
    packages = _packages()
    before = [int((folder / "energy_uj").read_text()) for folder in packages]
    count, stop = 0, time.perf_counter() + STRETCH
    while time.perf_counter() < stop:
        run()
        count += 1
    spent = 0
    for folder, old in zip(packages, before, strict=True):
        change = int((folder / "energy_uj").read_text()) - old
        # A counter that has reached its end begins anew.
        spent += change if change >= 0 else change + int((folder / "max_energy_range_uj").read_text())
    return spent / 1e6 / count
