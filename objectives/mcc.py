"""Matthews' correlation coefficient of the artifact's own predictions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from slimfront.objectives.objective import OBJECTIVES
from slimfront.objectives.scored import Ints, Scored


@OBJECTIVES.register("mcc")
class MCC(Scored):
    """Correlation of labels and predictions, from -1 to 1; 0 is what guessing gives, however uneven the classes are.

    Matthews 1975, "Comparison of the predicted and observed secondary structure of T4 phage lysozyme"; for more than
    two classes Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient".
    """

    description = "Matthews' correlation coefficient"

    def score(self, labels: Ints, predictions: Ints, weights: npt.NDArray[np.float64]) -> float:
        """See :meth:`Scored.score`."""
        from sklearn.metrics import matthews_corrcoef

        return float(matthews_corrcoef(labels, predictions, sample_weight=weights))
