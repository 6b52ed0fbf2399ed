"""Constraint expressions such as ``<= 20 MB`` or ``accuracy >= dense - 0.01``, parsed and never evaluated."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from slimfront.studies.errors import StudyError, nearest

UNITS: dict[str, dict[str, float]] = {
    "byte": {
        **{"b": 1, "byte": 1, "bytes": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9},
        **{"kib": 2**10, "mib": 2**20, "gib": 2**30},
    },
    "ms": {"us": 1e-3, "ms": 1.0, "s": 1e3},
    "fraction": {"%": 0.01},
    "nat": {"nat": 1.0, "nats": 1.0},
}
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_LIMIT = re.compile(
    rf"\s*(?P<op><=|>=)\s*(?:(?P<dense>dense)(?:\s*(?P<arith>[-+*/])\s*(?P<by>{_NUMBER})\s*(?P<byunit>[A-Za-z%]*))?"
    rf"|(?P<value>{_NUMBER})\s*(?P<unit>[A-Za-z%]*))\s*"
)
# Nobody means a model of fewer bytes: a unit was forgotten.
_LEAST_BYTES = 1000
_ALLOWED = '"<= NUMBER UNIT", ">= NUMBER", ">= dense - NUMBER", "<= dense / NUMBER" or "<= dense * NUMBER"'


@dataclass(frozen=True)
class Limit:
    """A bound on one objective.

    Attributes:
        objective: The objective's name.
        upper: True for ``<=``, False for ``>=``.
        relative: The arithmetic sign applied to the dense model's value, or None for an absolute bound.
        amount: The number, in the objective's unit (a plain factor for ``*`` and ``/``).
        text: The expression as it was written.
    """

    objective: str
    upper: bool
    relative: str | None
    amount: float
    text: str

    def bound(self, dense: Mapping[str, float]) -> float:
        """Return the bound in the objective's unit, given the dense model's values."""
        if self.relative is None:
            return self.amount
        base = dense[self.objective]
        by = {"+": base + self.amount, "-": base - self.amount, "*": base * self.amount}
        return base / self.amount if self.relative == "/" else by[self.relative]

    def violation(self, value: float, dense: Mapping[str, float]) -> float:
        """Return by how much ``value`` breaks the bound: zero or less where it is kept."""
        bound = self.bound(dense)
        return value - bound if self.upper else bound - value


def _scaled(number: str, unit: str, objective_unit: str, where: str, text: str) -> float:
    amount = float(number)
    if not math.isfinite(amount):
        raise _refused("this number is too large", objective_unit, where, text)
    if not unit:
        return amount
    factors = UNITS.get(objective_unit, {})
    if unit.lower() not in factors:
        units = ", ".join(factors) or "a number without unit"
        raise _refused(f"{unit!r} is not a unit of this objective", objective_unit, where, text, units)
    return amount * factors[unit.lower()]


def _refused(message: str, unit: str, where: str, text: str, allowed: str = _ALLOWED) -> StudyError:
    hint = f"write for example {_example(unit)}"
    return StudyError(message, where=where, given=text, allowed=allowed, hint=hint)


def _example(unit: str, name: str = "") -> str:
    limit = {"byte": "<= 20 MB", "ms": "<= 5 ms", "nat": "<= 0.1 nat"}.get(unit, ">= dense - 0.01")
    return f'"{name} {limit}"' if name else f'"{limit}"'


def parse_limit(objective: str, text: str, unit: str, where: str) -> Limit:
    """Parse the bound that a study or a command sets on one objective.

    Args:
        objective: The objective's name.
        text: The expression, such as ``<= 20 MB`` or ``>= dense - 0.01``.
        unit: The objective's unit (``byte``, ``ms``, ``fraction``, ``nat``).
        where: The key's path or the option, for the message.

    Raises:
        StudyError: the text is not such an expression, its unit does not fit, or no model could ever keep it.
    """
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise _refused("this is not a constraint", unit, where, text)
    limit = _read(match, objective, text, unit, where)
    _require_plausible(limit, match["unit"] or "", unit, where, text)
    return limit


def _require_plausible(limit: Limit, written: str, unit: str, where: str, text: str) -> None:
    """Refuse what was surely meant otherwise: a search for it would take its time and find nothing.

    Raises:
        StudyError: no model could keep the limit, or none could break it.
    """
    absolute, factor = limit.relative is None, limit.relative in ("*", "/")
    if unit == "fraction" and not factor and (limit.amount > 1 or (limit.amount == 1 and not absolute)):
        raise _refused("this number is a share of 1", unit, where, text, "0 to 1, or a number with %")
    if limit.upper and unit == "byte" and absolute and not written and limit.amount < _LEAST_BYTES:
        raise _refused("no model has so few bytes", unit, where, text, f"a number with one of {', '.join(UNITS[unit])}")
    if limit.upper and unit in ("byte", "ms") and limit.relative in (None, "*") and limit.amount == 0:
        raise _refused("no model keeps this", unit, where, text, "more than 0")


def _read(match: re.Match[str], objective: str, text: str, unit: str, where: str) -> Limit:
    upper = match["op"] == "<="
    if match["value"] is not None:
        return Limit(objective, upper, None, _scaled(match["value"], match["unit"], unit, where, text), text.strip())
    if match["arith"] is None:
        return Limit(objective, upper, "+", 0.0, text.strip())
    if match["arith"] in "*/":
        if match["byunit"]:
            raise _refused("a factor has no unit", unit, where, text)
        factor = float(match["by"])
        if not math.isfinite(factor):
            raise _refused("this number is too large", unit, where, text)
        if match["arith"] == "/" and factor == 0:
            raise _refused("division by zero", unit, where, text)
        return Limit(objective, upper, match["arith"], factor, text.strip())
    amount = _scaled(match["by"], match["byunit"], unit, where, text)
    return Limit(objective, upper, match["arith"], amount, text.strip())


def parse_where(text: str, units: Mapping[str, str], where: str = "--where") -> Limit:
    """Parse a whole filter such as ``size <= 20MB``; ``units`` gives each objective's unit.

    Raises:
        StudyError: the objective is unknown or the expression is malformed.
    """
    match = re.fullmatch(r"\s*([A-Za-z_][\w-]*)\s*((?:<=|>=).*)", text)
    if match is None or match[1] not in units:
        name = match[1] if match else text
        near = nearest(name, units)
        raise StudyError(
            "this filter names no objective of the run" if match else "this is not a filter",
            where=where,
            given=text,
            allowed=f"NAME followed by {_ALLOWED}, NAME one of {', '.join(units)}",
            hint=_hint(text, near),
        )
    try:
        return parse_limit(match[1], match[2], units[match[1]], where)
    except StudyError as error:
        # A filter is given and written with the objective's name before it.
        error.given, error.hint = text, f"write for example {_example(units[match[1]], match[1])}"
        raise


def _hint(text: str, near: str | None) -> str:
    if re.search(r"[<>](?!=)", text):
        return "write <= or >="
    return f"did you mean {near!r}?" if near else 'write for example "accuracy >= dense - 0.01"'


def readable(value: float, unit: str) -> str:
    """Return a value in a unit that people read."""
    if unit == "byte":
        return f"{value / 1e6:.2f} MB"
    if unit in ("nat", "J"):
        return f"{value:.3g} {unit}"
    return f"{value:.3f} ms" if unit == "ms" else f"{value:.4f}"
