"""Accuracy of the artifact's own predictions."""

from __future__ import annotations

from scipy.stats import binomtest
from sklearn.metrics import accuracy_score
from slimfront.objectives.measurement import Measurement
from slimfront.objectives.objective import OBJECTIVES, Context, Objective
from slimfront.objectives.runtimes.artifact import Artifact


@OBJECTIVES.register("accuracy")
class Accuracy(Objective):
    """Share of the examples that the artifact classifies rightly, run on its runtime at the target's batch.

    The interval is the exact binomial one (Clopper and Pearson 1934).
    """

    unit = "fraction"
    direction = "maximize"
    on_examples = True
    description = "share of rightly classified examples"

    def measure(self, artifact: Artifact, context: Context) -> Measurement:  # noqa: ARG002
        """See :meth:`Objective.measure`."""
        found = context.predictions()
        value = float(accuracy_score(context.examples.labels, found))
        right = int((found == context.examples.labels).sum())
        interval = binomtest(right, len(found)).proportion_ci(0.95)
        return Measurement(value, self.unit, (float(interval.low), float(interval.high)))
