"""Throughput: what a sentence takes when batches are full."""

from __future__ import annotations

from slimfront.objectives.artifact import Artifact
from slimfront.objectives.latency import latency
from slimfront.objectives.measurement import Measurement
from slimfront.objectives.objective import OBJECTIVES, Context, Objective
from slimfront.objectives.sessions.session import run_all
from slimfront.objectives.stopwatch import compared, median, ratio
from slimfront.studies.encoding import widths


@OBJECTIVES.register("throughput")
class Throughput(Objective):
    """Milliseconds for each sentence of a full batch: a thousand divided by it is the number of sentences a second.

    Measured as the latency is: in randomly ordered pairs with the dense artifact.
    """

    unit = "ms"
    direction = "minimize"
    predicted = True
    proxy = "latency"
    description = "milliseconds for each sentence of a full batch, relative to the dense artifact in interleaved runs"

    def measure(self, artifact: Artifact, context: Context) -> Measurement:  # noqa: ARG002
        """See :meth:`Objective.measure`."""
        assert context.full_requests is not None
        dense_batches, batches = context.full_requests
        first, session = context.dense_session, context.session
        runs = [lambda: run_all(first, dense_batches), lambda: run_all(session, batches)]
        (dense, own), around = compared(runs, session.threads)
        around["tokens"] = widths(batches)
        base, sentences = context.dense.get("throughput"), sum(len(batch["input_ids"]) for batch in batches)
        if base is None:
            return latency(median(own / sentences), 1.0, context.cost, around)
        return latency(ratio(own, dense), base, context.cost, around)
