"""Throughput: what a sentence takes when batches are full."""

from __future__ import annotations

from functools import partial

from slimfront.objectives.latency import latency
from slimfront.objectives.measurement import Measurement
from slimfront.objectives.objective import OBJECTIVES, Context, Objective
from slimfront.objectives.runtimes.artifact import Artifact
from slimfront.objectives.stopwatch import Ratio, conditions, interleaved, median, one_at_a_time, ratio


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
        dense_batch, batch = context.full_requests
        runs = [
            partial((context.dense_session or context.session).run, dense_batch),
            partial(context.session.run, batch),
        ]
        with one_at_a_time():
            around = conditions()
            dense, own = interleaved(runs).T
        base, sentences = context.dense.get("throughput"), len(batch["input_ids"])
        if base is None:
            alone = median(own)
            found = Ratio(alone.value / sentences, alone.low / sentences, alone.high / sentences)
            return latency(found, 1.0, context.cost, around)
        return latency(ratio(own, dense), base, context.cost, around)
