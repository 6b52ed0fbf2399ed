"""Predicts size, latency and loss of accuracy from the tables, corrected by what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from slimfront.objectives.runtimes import Runtime
from slimfront.search.prediction.agreement import affine
from slimfront.search.prediction.tables import Floats, Ints, Tables
from slimfront.spaces.domain import Value

# Divergences of several levels add up like numbers between their sum and the square of the sum of their roots:
# changes of the same sign add in amplitude. On 60 random mixtures this power ordered best (rank correlation 0.96
# with the divergence, against 0.95 for the plain sum).
POWER = 0.7
# Smallest divergence that is told from zero, in nats.
FLOOR = 1e-5
LEAST_PROBES = 4


@dataclass(frozen=True)
class Prediction:
    """Predictions for some configurations, ``(configurations,)`` each.

    Attributes:
        size: Bytes, exact.
        latency: Relative to the dense model's.
        loss: KL divergence of the predictions from the dense model's, in nats.
        download: Bytes of the compressed files, nearly; 0 where the tables lack it.
    """

    size: Ints
    latency: Floats
    loss: Floats
    download: Floats

    def costs(self) -> dict[str, Floats]:
        """Return what is predicted of the objectives that depend on no example, by name."""
        return {"size": self.size.astype(np.float64), "latency": self.latency, "download": self.download}


class Predictor:
    """Adds tables up.

    Args:
        tables: The tables.
        runtime: The target, which knows the modes.
        precisions: The target's precisions by position.
        dense: The dense configuration.

    Attributes:
        tables: The tables.
        dense: What is predicted of the dense model.
    """

    def __init__(self, tables: Tables, runtime: Runtime, precisions: Sequence[str], dense: Mapping[str, Value]) -> None:
        self.tables, self._runtime, self._precisions = tables, runtime, precisions
        self._modes: dict[tuple[int, int], str] = {}
        row = tables.levels([dense])
        self._dense = float(self._times(row)[0])
        self.dense = self.at(row)

    def predict(self, configurations: Sequence[Mapping[str, Value]]) -> Prediction:
        """Return the predictions for some configurations."""
        return self.at(self.tables.levels(configurations))

    def at(self, levels: Ints) -> Prediction:
        """Return the predictions for levels ``(configurations, parameters)``."""
        start, slope = self.tables.line
        latency: Floats = start + slope * self._times(levels) / self._dense
        sizes, downloads = self.tables.sizes(levels), self.tables.downloads(levels)
        return Prediction(sizes, latency, combined(self.tables, levels), downloads)

    def calibrated(self, probes: Sequence[tuple[Mapping[str, Value], float]]) -> Tables:
        """Return the tables with the line that fits whole models best, in relative error, and what error it leaves.

        What layers take together is not quite what they take one by one: caches are shared, and what stands between
        them is not all seen.

        Args:
            probes: Configurations with their latency relative to the dense model's.
        """
        if not probes:
            return self.tables
        summed = self._times(self.tables.levels([values for values, _ in probes])) / self._dense
        measured = np.array([ratio for _, ratio in probes])
        # Few points tell how far the sums are off, and no line.
        start, slope = affine(summed, measured) if len(probes) >= LEAST_PROBES else self.tables.line
        errors = (start + slope * summed) / measured - 1
        return replace(self.tables, line=(start, slope), spread=float(np.sqrt(np.mean(errors**2))))

    def _times(self, levels: Ints) -> Floats:
        pairs = zip(self.tables.masks(levels).tolist(), self.tables.precision.at(levels).tolist(), strict=True)
        return self.tables.times(levels, [self._mode(mask, precision) for mask, precision in pairs])

    def _mode(self, mask: int, precision: int) -> str:
        key = (mask, precision)
        if key not in self._modes:
            forms = [form for number, form in enumerate(self.tables.forms) if mask >> number & 1]
            mode = self._runtime.mode(forms, self._precisions[precision])
            alike = [other for other in self.tables.latency if other.split("/")[0] == mode.split("/")[0]]
            self._modes[key] = mode if mode in self.tables.latency else (alike or list(self.tables.latency))[0]
        return self._modes[key]


def combined(tables: Tables, levels: Ints) -> npt.NDArray[np.float64]:
    """Return the divergence of all levels together, from what each costs alone."""
    single: Floats = tables.single_losses(levels)
    total: Floats = (single**POWER).sum(axis=1) ** (1 / POWER)
    return np.maximum(total, FLOOR)
