"""The axes' contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from slimfront.spaces.domain import Domain, Value
from slimfront.spaces.draft import Draft
from slimfront.spaces.structure import Anatomy
from slimfront.studies.compressed import Capabilities
from slimfront.studies.registry import Registry
from slimfront.studies.space import SpaceSpec

Values = Mapping[str, Value]
T = TypeVar("T")


class Axis(ABC):
    """One way in which a model may change, laid over the layers of one model.

    Args:
        spec: The study's section ``space``.
        anatomy: What the model is made of.
        capabilities: What the target packs and runs.

    Raises:
        StudyError: the section asks for what the target or the model does not have.
    """

    stage: int
    """Axes are applied in ascending order of this number."""

    @abstractmethod
    def __init__(self, spec: SpaceSpec, anatomy: Anatomy, capabilities: Capabilities) -> None: ...

    @abstractmethod
    def domains(self) -> dict[str, Domain]:
        """Return what may be chosen, by parameter name; empty where there is no choice."""

    @abstractmethod
    def dense(self) -> Values:
        """Return the values at which nothing changes; every axis has them."""

    @abstractmethod
    def apply(self, draft: Draft, values: Values) -> None:
        """Write this axis's choices into ``draft``."""

    def weights(self) -> dict[str, frozenset[str]]:
        """Return the names of the weights that a parameter changes, for each parameter that changes nothing else."""
        return {}

    def canonical(self, values: Values) -> Values:
        """Return values with the same effect in which whatever has none is at its dense setting."""
        return values

    def uniform(self) -> list[Values]:
        """Return the settings that give every layer the same level, least compressed first."""
        domains = self.domains()
        longest = max((domain.values for domain in domains.values()), key=len, default=())
        return [{name: _nearest_level(domain, value) for name, domain in domains.items()} for value in longest]


class Levelled(Axis):
    """An axis that gives each of some items one of its levels, the first of which changes nothing."""

    _levels: tuple[Value, ...]
    """Its levels."""
    _parameters: dict[str, str]
    """By item the parameter that governs it."""
    _touched: Mapping[str, Iterable[str]]
    """By item the weights that it changes."""

    def domains(self) -> dict[str, Domain]:
        """See :meth:`Axis.domains`."""
        if len(self._levels) < 2:
            return {}
        return {name: Domain(self._levels) for name in self._parameters.values()}

    def weights(self) -> dict[str, frozenset[str]]:
        """See :meth:`Axis.weights`."""
        return by_parameter((self._parameters[name], weights) for name, weights in self._touched.items())

    def dense(self) -> Values:
        """See :meth:`Axis.dense`."""
        return dict.fromkeys(self.domains(), self._levels[0])


def _nearest_level(domain: Domain, value: Value) -> Value:
    return value if value in domain.values else domain.values[-1]


def parameter_names(
    prefix: str, granularity: str, items: Sequence[T], layer: Callable[[T], str], role: Callable[[T], str]
) -> list[str]:
    """Return for each item the parameter that governs it, at the study's granularity."""
    if granularity == "all":
        return [f"{prefix}/all" for _ in items]
    name = layer if granularity == "layer" else role
    return [f"{prefix}/{name(item)}" for item in items]


def by_parameter(weights: Iterable[tuple[str, Iterable[str]]]) -> dict[str, frozenset[str]]:
    """Return all weights of each parameter."""
    found: dict[str, frozenset[str]] = {}
    for parameter, names in weights:
        found[parameter] = found.get(parameter, frozenset()) | frozenset(names)
    return found


AXES: Registry[Axis] = Registry("axis", "slimfront.spaces.axes")
