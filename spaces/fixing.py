"""Parameters that a study keeps at one value."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from slimfront.spaces.domain import Domain, Value
from slimfront.studies.errors import StudyError, nearest

WHERE = "space.fixed"
# So many names of parameters are listed in an error.
SHOWN = 12


def fixed_values(given: Mapping[str, Value], domains: Mapping[str, Domain]) -> dict[str, Value]:
    """Return the value of each parameter that is kept at one.

    Args:
        given: Values by parameter name or pattern, such as ``bits/*.attention``; of several that match the longest
            counts, and a parameter's own name before all of them.
        domains: What may be chosen.

    Raises:
        StudyError: nothing is called so, the value is none that may be chosen, or two patterns of the same length say
            different things of one parameter.
    """
    found: dict[str, Value] = {}
    decided: dict[str, str] = {}
    # A study file's keys have no order: what counts must not depend on it.
    for pattern in sorted(given, key=lambda pattern: (pattern in domains, len(pattern), pattern)):
        value = given[pattern]
        names = [name for name in domains if fnmatchcase(name, pattern)]
        if not names:
            near = nearest(pattern, domains)
            raise StudyError(
                "no parameter of the space is called so",
                where=f"{WHERE}.{pattern}",
                allowed=", ".join(list(domains)[:SHOWN]) + (", …" if len(domains) > SHOWN else ""),
                hint=f"did you mean {near!r}?" if near else "'slimfront plan' lists all parameters",
            )
        for name in names:
            values = domains[name].values
            if value not in values:
                raise StudyError(
                    f"{name} cannot have this value",
                    where=f"{WHERE}.{pattern}",
                    given=value,
                    allowed=", ".join(map(str, values)),
                    hint="choose an allowed one, or add it to the levels of its axis",
                )
            rival = decided.get(name, "")
            if len(rival) == len(pattern) and found[name] != value:
                raise StudyError(
                    f"two patterns give {name} different values",
                    where=f"{WHERE}.{pattern}",
                    given=value,
                    allowed=f"{found[name]}, as {rival!r} says",
                    hint="make one of them longer, or name the parameter itself",
                )
            found[name], decided[name] = values[values.index(value)], pattern
    return found
