"""Latency of the artifact, as a ratio to the dense artifact taken in interleaved runs."""

from __future__ import annotations

from slimfront.objectives.measurement import Measurement
from slimfront.objectives.objective import OBJECTIVES, Context, Objective
from slimfront.objectives.runtimes.artifact import Artifact
from slimfront.objectives.stopwatch import Ratio, conditions, interleaved, median, one_at_a_time, ratio


@OBJECTIVES.register("latency")
class Latency(Objective):
    """Median milliseconds of one request.

    Candidate and dense artifact run in randomly ordered pairs; the value is the ratio of their medians times the
    dense artifact's own milliseconds, the interval is a bootstrap over stretches of pairs. Samplers are told the
    predicted latency instead, which is repeatable, so that the clock's noise cannot change which trials a seed gives.
    """

    unit = "ms"
    direction = "minimize"
    predicted = True
    description = "median milliseconds of one request, relative to the dense artifact in interleaved runs"

    def measure(self, artifact: Artifact, context: Context) -> Measurement:  # noqa: ARG002
        """See :meth:`Objective.measure`."""
        with one_at_a_time():
            # What else was running just before bears on the times, this measurement itself does not.
            around = conditions()
            dense, own = interleaved([context.run_dense, context.run]).T
        base = context.dense.get("latency")
        if base is None:
            return latency(median(own), 1.0, context.cost, around)
        return latency(ratio(own, dense), base, context.cost, around)


def latency(found: Ratio, base: float, steer: float | None, around: dict[str, object]) -> Measurement:
    """Return the latency of a model whose ratio to ``base`` milliseconds was found: to the dense model's, or to one."""
    interval = (found.low * base, found.high * base)
    return Measurement(found.value * base, Latency.unit, interval, steer, found.noisy, around)
