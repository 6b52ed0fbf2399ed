"""Accuracy of the artifact's own predictions."""

from __future__ import annotations

from slimfront.objectives.artifact import Artifact
from slimfront.objectives.measurement import Measurement
from slimfront.objectives.objective import OBJECTIVES, Context, Objective


@OBJECTIVES.register("accuracy")
class Accuracy(Objective):
    """Share of the examples that the artifact classifies rightly, run on its runtime.

    The interval is the exact binomial one (Clopper and Pearson 1934).
    """

    unit = "fraction"
    direction = "maximize"
    on_examples = True
    description = "share of rightly classified examples"

    def measure(self, artifact: Artifact, context: Context) -> Measurement:  # noqa: ARG002
        """See :meth:`Objective.measure`."""
        # Imported where it is used: a start should not wait for it.
        from scipy.stats import binomtest

        right, total = int((context.predictions() == context.examples.labels).sum()), len(context.examples)
        interval = binomtest(right, total).proportion_ci(0.95)
        return Measurement(right / total, self.unit, (float(interval.low), float(interval.high)))
