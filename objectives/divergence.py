"""How far the artifact's predictions are from the dense model's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.measurement import Measurement
from slimfront.objectives.objective import OBJECTIVES, Context, Objective


@OBJECTIVES.register("divergence")
class Divergence(Objective):
    """Mean Kullback-Leibler divergence of the dense artifact's predictions from the artifact's own, in nats.

    No label has a part in it, and it is far less noisy than the accuracy: every sentence tells how much was lost, not
    only those whose answer has changed. The interval is that of a mean of many.
    """

    unit = "nat"
    direction = "minimize"
    worst = 0.5
    on_examples = True
    description = "mean Kullback-Leibler divergence from the dense model's predictions"

    def measure(self, artifact: Artifact, context: Context) -> Measurement:  # noqa: ARG002
        """See :meth:`Objective.measure`; the dense model itself has none."""
        if context.dense_logits is None:
            return Measurement(0.0, self.unit)
        found = divergences(context.dense_logits, context.logits())
        value = float(found.mean())
        reach = 1.96 * float(found.std(ddof=1)) / len(found) ** 0.5 if len(found) > 1 else 0.0
        return Measurement(value, self.unit, (min(value, max(0.0, value - reach)), value + reach))


def divergences(dense: npt.NDArray[np.floating], own: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the divergence of each sentence, ``(sentences,)``.

    Args:
        dense: The dense model's logits, ``(sentences, classes)``.
        own: The other model's.
    """
    before, after = (log_softmax(logits.astype(np.float64), axis=-1) for logits in (dense, own))
    found: npt.NDArray[np.float64] = (np.exp(before) * (before - after)).sum(axis=-1)
    return found
