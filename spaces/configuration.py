"""One point of a space."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from slimfront.spaces.domain import Value
from slimfront.studies.cache import digest


class Configuration(Mapping[str, Value]):
    """Chosen values by parameter name: frozen, hashable, JSON."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = dict(sorted(values.items()))

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(tuple(self._values.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Configuration) and self._values == other._values

    def __repr__(self) -> str:
        return f"Configuration({self._values})"

    @property
    def sha256(self) -> str:
        """The SHA-256 of the canonical JSON."""
        return digest(self._values)

    def to_json(self) -> str:
        """Return canonical JSON."""
        return json.dumps(self._values, sort_keys=True, allow_nan=False)

    def replace(self, **values: Value) -> Configuration:
        """Return a copy with some values exchanged."""
        return Configuration({**self._values, **values})
