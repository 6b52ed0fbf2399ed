"""What may be chosen for one parameter, and its two converters: Optuna and Ray Tune."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from slimfront.studies.errors import StudyError

Value = int | float | str


@dataclass(frozen=True)
class Domain:
    """The finite, ordered set of values of one parameter.

    Attributes:
        values: Distinct values; for ordered domains from the least to the most compressed.
        ordered: Whether neighbours in ``values`` are close in effect.
    """

    values: tuple[Value, ...]
    ordered: bool = True

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) != len(self.values):
            raise ValueError(f"a domain needs distinct values, not {self.values}")

    def neighbours(self, value: Value) -> tuple[Value, ...]:
        """Return the values next to ``value``: all others where there is no order."""
        if not self.ordered:
            return tuple(other for other in self.values if other != value)
        index = self.values.index(value)
        return self.values[max(0, index - 1) : index] + self.values[index + 1 : index + 2]


def to_optuna(domains: Mapping[str, Domain]) -> dict[str, optuna.distributions.BaseDistribution]:
    """Return Optuna distributions, one categorical per parameter."""
    return {name: optuna.distributions.CategoricalDistribution(domain.values) for name, domain in domains.items()}


def to_ray(domains: Mapping[str, Domain]) -> dict[str, Any]:
    """Return a Ray Tune ``param_space``, one ``tune.choice`` per parameter."""
    from ray import tune

    return {name: tune.choice(list(domain.values)) for name, domain in domains.items()}


def check_values(domains: Mapping[str, Domain], values: Mapping[str, Value], where: str) -> None:
    """Check that ``values`` chooses once for every parameter.

    Raises:
        StudyError: a parameter is missing, unknown or out of its domain.
    """
    for name in sorted(set(domains) ^ set(values)):
        word = "missing" if name in domains else "unknown"
        raise StudyError(f"{word} parameter", where=f"{where}.{name}", allowed=", ".join(domains))
    for name, domain in domains.items():
        if values[name] not in domain.values:
            raise StudyError(
                "not a value of this parameter",
                where=f"{where}.{name}",
                given=values[name],
                allowed=", ".join(map(str, domain.values)),
            )
