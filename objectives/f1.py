"""F1 of the artifact's own predictions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from slimfront.objectives.objective import OBJECTIVES
from slimfront.objectives.scored import Ints, Scored


@OBJECTIVES.register("f1")
class F1(Scored):
    """Harmonic mean of precision and recall, averaged over the classes: each class counts the same, however rare."""

    description = "F1, averaged over the classes"

    def score(self, labels: Ints, predictions: Ints, weights: npt.NDArray[np.float64]) -> float:
        """See :meth:`Scored.score`."""
        from sklearn.metrics import f1_score

        return float(f1_score(labels, predictions, average="macro", sample_weight=weights, zero_division=0.0))
