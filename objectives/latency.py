"""Latency of the artifact, as a ratio to the dense artifact taken in interleaved runs."""

from __future__ import annotations

from collections.abc import Mapping

from slimfront.objectives.artifact import Artifact
from slimfront.objectives.measurement import Measurement
from slimfront.objectives.objective import OBJECTIVES, Context, Objective
from slimfront.objectives.rest import at_rest
from slimfront.objectives.stopwatch import Ratio, median, percentiles, ratio, undisturbed
from slimfront.studies.encoding import widths


@OBJECTIVES.register("latency")
class Latency(Objective):
    """Median milliseconds of one request; of several lengths, the mean over them.

    Candidate and dense artifact run in randomly ordered pairs; the value is the ratio of their medians times the
    dense artifact's own milliseconds, the interval is a bootstrap over stretches of pairs. A machine that others use
    as well is given a moment to come to rest. Samplers are told the predicted latency instead, which is repeatable, so
    that the clock's noise cannot change which trials a seed gives.
    """

    unit = "ms"
    direction = "minimize"
    predicted = True
    description = "median milliseconds of one request, relative to the dense artifact in interleaved runs"

    def measure(self, artifact: Artifact, context: Context) -> Measurement:  # noqa: ARG002
        """See :meth:`Objective.measure`."""
        runs, threads = context.runs(), context.session.threads
        (dense, own), around = at_rest(runs, threads, context.rest.level, context.rest.patience)
        base, count = context.dense.get("latency"), len(context.requests)
        around |= {"tokens": widths(context.requests), "dense": undisturbed(dense)}
        context.rest.saw(undisturbed(dense), around["waited"])
        # Runs through several requests tell nothing of how long one of them may take.
        tail = percentiles(own) if count == 1 else {}
        if base is None:
            return latency(median(own / count), 1.0, context.cost, around, tail)
        return latency(ratio(own, dense), base, context.cost, around, tail)


def latency(
    found: Ratio,
    base: float,
    steer: float | None,
    around: Mapping[str, object],
    tail: Mapping[str, float] | None = None,
) -> Measurement:
    """Return the latency of a model whose ratio to ``base`` milliseconds was found: to the dense model's, or to one.

    Args:
        found: The ratio.
        base: Milliseconds.
        steer: What samplers are told.
        around: The conditions.
        tail: Percentiles of the milliseconds.
    """
    interval = (found.low * base, found.high * base)
    noisy = found.noisy or "disturbed" in around
    return Measurement(found.value * base, Latency.unit, interval, steer, noisy, around, tail or {})
