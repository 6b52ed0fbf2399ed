"""One point of a space."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from slimfront.spaces.domain import Value
from slimfront.studies.cache import digest

# Place of each parameter by names: the configurations of one space share one table, however many there are.
_PLACES: dict[tuple[str, ...], dict[str, int]] = {}


class Configuration(Mapping[str, Value]):
    """Chosen values by parameter name: frozen, hashable, JSON."""

    __slots__ = ("_places", "_values")

    def __init__(self, values: Mapping[str, Value]) -> None:
        names = tuple(sorted(values))
        self._places = _PLACES.setdefault(names, {name: place for place, name in enumerate(names)})
        self._values = tuple(values[name] for name in names)

    def __getitem__(self, name: str) -> Value:
        return self._values[self._places[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Configuration) and self._places is other._places and self._values == other._values

    def __repr__(self) -> str:
        return f"Configuration({dict(self)})"

    @property
    def sha256(self) -> str:
        """The SHA-256 of the canonical JSON."""
        return digest(dict(self))

    def to_json(self) -> str:
        """Return canonical JSON."""
        return json.dumps(dict(self), sort_keys=True, allow_nan=False)

    def replace(self, **values: Value) -> Configuration:
        """Return a copy with some values exchanged."""
        return Configuration({**self, **values})
