"""A measured number that cannot lack its unit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slimfront.studies.errors import NotFinite


@dataclass(frozen=True)
class Measurement:
    """One objective's value on one artifact.

    Attributes:
        value: The value, finite.
        unit: ``byte``, ``ms``, ``J``, ``fraction`` or ``nat``.
        interval: 95 % interval of the value, or None where it is exact.
        steer: What the samplers are told: equal to the value, or a repeatable stand-in where the value is noisy.
        noisy: Whether the interval is wider than it should be because the machine was not quiet.
        conditions: What else bore on the measurement, as JSON.
        percentiles: Of the single runs, such as ``p90``; only those for which there were enough of them.

    Raises:
        NotFinite: a number is not finite.
        ValueError: the interval is upside down.
    """

    value: float
    unit: str
    interval: tuple[float, float] | None = None
    steer: float | None = None
    noisy: bool = False
    conditions: Mapping[str, object] = field(default_factory=dict)
    percentiles: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = [self.value, *(self.interval or ()), *(() if self.steer is None else (self.steer,))]
        if not all(math.isfinite(number) for number in numbers):
            raise NotFinite(f"a measurement must be finite, not {numbers}")
        if self.interval is not None and self.interval[0] > self.interval[1]:
            raise ValueError(f"an interval must ascend, not {self.interval}")

    def to_json(self) -> dict[str, Any]:
        """Return the measurement as JSON."""
        steer = self.value if self.steer is None else self.steer
        interval = None if self.interval is None else list(self.interval)
        found = {"value": self.value, "unit": self.unit, "interval": interval, "steer": steer}
        found |= {"noisy": True} if self.noisy else {}
        found |= {"conditions": dict(self.conditions)} if self.conditions else {}
        return found | ({"percentiles": dict(self.percentiles)} if self.percentiles else {})
