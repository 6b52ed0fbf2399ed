"""Tables from which size, latency and loss of a configuration are added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from slimfront.spaces.domain import Value
from slimfront.studies.compressed import Form

Json = dict[str, Any]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Term:
    """What one weight or structure adds.

    Attributes:
        parameters: Positions of the space's parameters on which it depends.
        values: What it adds, one axis for each of those parameters, along its levels.
    """

    parameters: tuple[int, ...]
    values: npt.NDArray[Any]

    def at(self, levels: Ints) -> npt.NDArray[Any]:
        """Return the value for each row of ``levels``, ``(configurations, parameters)``."""
        found: npt.NDArray[Any] = self.values[tuple(levels[:, position] for position in self.parameters)]
        return found if self.parameters else np.full(len(levels), self.values[()])

    def to_json(self) -> Json:
        """Return the term as JSON."""
        return {"parameters": list(self.parameters), "values": self.values.tolist()}

    @classmethod
    def from_json(cls, data: Json, kind: type = float) -> Term:
        """Return the term of some JSON."""
        return cls(tuple(data["parameters"]), np.array(data["values"], dtype=kind))


class Lookup:
    """Many terms, looked up at once.

    Args:
        terms: The terms.
        parameters: How many parameters the space has.
    """

    def __init__(self, terms: Sequence[Term], parameters: int) -> None:
        values = [np.asarray(term.values) for term in terms]
        self._values = np.concatenate([np.zeros(0, dtype=np.int64), *(part.reshape(-1) for part in values)])
        self._starts = np.cumsum([0, *(part.size for part in values)])[:-1]
        # A product of floats is fast, and exact for numbers of this size.
        self._strides = np.zeros((parameters, len(terms)))
        for number, (term, part) in enumerate(zip(terms, values, strict=True)):
            for axis, position in enumerate(term.parameters):
                self._strides[position, number] = int(np.prod(part.shape[axis + 1 :]))

    def at(self, levels: Ints) -> npt.NDArray[Any]:
        """Return each term's value for each row of ``levels``, ``(configurations, terms)``."""
        found: npt.NDArray[Any] = self._values[(levels @ self._strides).astype(np.int64) + self._starts]
        return found


@dataclass(frozen=True)
class Tables:
    """All tables of one space on one target.

    Attributes:
        domains: The values of each of the space's parameters, in its order.
        size: Terms in bytes, whose sum is exact.
        forms: Bit-width and group of every form that a multiplied matrix may take.
        marks: For each multiplied matrix one bit for its form, by position in ``forms``: or-ed, they decide the mode.
        precision: Position of the inference precision among the target's.
        latency: For each mode terms in runs of the dense model.
        losses: For each parameter the KL divergence from dense that each level causes alone, in nats.
        steps: The number of recovery steps.
        stretch: Tokens of a request for each one of the dense model's: a small vocabulary reads more of them.
        line: Start and slope by which the summed latency, relative to the dense model's, becomes that of whole models.
        spread: Standard deviation of the relative error that this leaves.
        idle: For some parameters the positions of those that remove the blocks which they serve: where all of these are
            at their last level, the parameter has no effect.
        download: Terms in bytes, whose sum is nearly what is left of the files when they are compressed; empty where
            nobody asks for it.
        mixtures: Levels of some random configurations, each with its KL divergence from dense, in nats.
    """

    domains: Mapping[str, tuple[Value, ...]]
    size: tuple[Term, ...]
    forms: tuple[Form, ...]
    marks: tuple[Term, ...]
    precision: Term
    latency: Mapping[str, tuple[Term, ...]]
    losses: tuple[Floats, ...]
    steps: Term
    stretch: Term = field(default_factory=lambda: Term((), np.array(1.0)))
    line: tuple[float, float] = (0.0, 1.0)
    spread: float = 0.0
    idle: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    download: tuple[Term, ...] = ()
    mixtures: tuple[tuple[tuple[int, ...], float], ...] = ()

    def levels(self, configurations: Sequence[Mapping[str, Value]]) -> Ints:
        """Return the level of each parameter, ``(configurations, parameters)``."""
        places = [(name, {v: i for i, v in enumerate(values)}) for name, values in self.domains.items()]
        rows = [[place[c[name]] for name, place in places] for c in configurations]
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(places))

    def with_mixtures(self, mixtures: Sequence[tuple[Mapping[str, Value], float]]) -> Tables:
        """Return the tables with what random configurations really cost."""
        levels = self.levels([values for values, _ in mixtures]).tolist()
        told = [(tuple(row), divergence) for row, (_, divergence) in zip(levels, mixtures, strict=True)]
        return replace(self, mixtures=tuple(told))

    @cached_property
    def _lookups(self) -> dict[str, Lookup]:
        count = len(self.domains)
        losses = [Term((position,), values) for position, values in enumerate(self.losses)]
        latency = {f"latency/{mode}": terms for mode, terms in self.latency.items()}
        parts = {"size": self.size, "download": self.download, "marks": self.marks, "losses": losses, **latency}
        return {name: Lookup(terms, count) for name, terms in parts.items()}

    @cached_property
    def _removers(self) -> list[tuple[int, list[int], Ints]]:
        """For each parameter that may be idle its position, and positions and levels at which it is."""
        last = np.array([len(values) - 1 for values in self.domains.values()])
        return [(position, list(removers), last[list(removers)]) for position, removers in self.idle.items()]

    def sizes(self, levels: Ints) -> Ints:
        """Return the bytes of each configuration."""
        return np.asarray(self._lookups["size"].at(levels).sum(axis=1), dtype=np.int64)

    def downloads(self, levels: Ints) -> Floats:
        """Return the bytes that are left of each configuration's files when they are compressed."""
        return np.asarray(self._lookups["download"].at(levels).sum(axis=1), dtype=np.float64)

    def masks(self, levels: Ints) -> Ints:
        """Return the mask of each configuration."""
        return np.asarray(np.bitwise_or.reduce(self._lookups["marks"].at(levels), axis=1), dtype=np.int64)

    def times(self, levels: Ints, modes: Sequence[str]) -> Floats:
        """Return the latency of each configuration in its mode, in runs of the dense model as its parts add up."""
        found = np.zeros(len(levels))
        for mode in set(modes):
            rows = np.array([own == mode for own in modes])
            found[rows] = self._lookups[f"latency/{mode}"].at(levels[rows]).sum(axis=1)
        return np.asarray(found * self.stretch.at(levels), dtype=np.float64)

    def single_losses(self, levels: Ints) -> Floats:
        """Return what each parameter's level costs alone, ``(configurations, parameters)``."""
        found: Floats = np.asarray(self._lookups["losses"].at(levels), dtype=np.float64)
        for position, removers, last in self._removers:
            found[(levels[:, removers] == last).all(axis=1), position] = 0.0
        return found

    def to_json(self) -> Json:
        """Return the tables as JSON."""
        return {
            "domains": {name: list(values) for name, values in self.domains.items()},
            "size": [term.to_json() for term in self.size],
            "download": [term.to_json() for term in self.download],
            "marks": [term.to_json() for term in self.marks],
            "forms": [[form.bits, form.group, form.static] for form in self.forms],
            "precision": self.precision.to_json(),
            "latency": {mode: [term.to_json() for term in terms] for mode, terms in self.latency.items()},
            "losses": [values.tolist() for values in self.losses],
            "steps": self.steps.to_json(),
            "stretch": self.stretch.to_json(),
            "line": list(self.line),
            "spread": self.spread,
            "idle": [[position, list(removers)] for position, removers in self.idle.items()],
            "mixtures": [[list(row), divergence] for row, divergence in self.mixtures],
        }

    @classmethod
    def from_json(cls, data: Json) -> Tables:
        """Return the tables of some JSON."""
        return cls(
            {name: tuple(values) for name, values in data["domains"].items()},
            tuple(Term.from_json(term, int) for term in data["size"]),
            tuple(Form(bits, (), group, static) for bits, group, static in data["forms"]),
            tuple(Term.from_json(term, int) for term in data["marks"]),
            Term.from_json(data["precision"], int),
            {mode: tuple(Term.from_json(term) for term in terms) for mode, terms in data["latency"].items()},
            tuple(np.array(values) for values in data["losses"]),
            Term.from_json(data["steps"], int),
            Term.from_json(data["stretch"]),
            (float(data["line"][0]), float(data["line"][1])),
            float(data["spread"]),
            {position: tuple(removers) for position, removers in data["idle"]},
            tuple(Term.from_json(term) for term in data["download"]),
            tuple((tuple(row), float(divergence)) for row, divergence in data["mixtures"]),
        )
