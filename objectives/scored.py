"""Metrics of scikit-learn on the artifact's own predictions."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import numpy.typing as npt
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.measurement import Measurement
from slimfront.objectives.objective import Context, Objective

RESAMPLES = 200
Ints = npt.NDArray[np.int64]


class Scored(Objective):
    """A metric, with its 95 % bootstrap interval over the examples (Efron 1979, "Bootstrap Methods")."""

    unit = "fraction"
    direction = "maximize"
    on_examples = True

    @abstractmethod
    def score(self, labels: Ints, predictions: Ints, weights: npt.NDArray[np.float64]) -> float:
        """Return the metric of examples, ``(examples,)`` each, that count by their weights."""

    def measure(self, artifact: Artifact, context: Context) -> Measurement:  # noqa: ARG002
        """See :meth:`Objective.measure`."""
        pairs = np.stack([context.examples.labels, context.predictions()])
        # Examples of the same label and prediction are alike: how often each kind is drawn is all that matters.
        kinds, counts = np.unique(pairs, axis=1, return_counts=True)
        value = self.score(kinds[0], kinds[1], counts.astype(np.float64))
        rng, total = np.random.default_rng(0), int(counts.sum())
        drawn = rng.multinomial(total, counts / total, size=RESAMPLES).astype(np.float64)
        low, high = np.quantile([self._of(kinds, weights) for weights in drawn], [0.025, 0.975])
        return Measurement(value, self.unit, (min(float(low), value), max(float(high), value)))

    def _of(self, kinds: Ints, weights: npt.NDArray[np.float64]) -> float:
        present = weights > 0
        return self.score(kinds[0][present], kinds[1][present], weights[present])
