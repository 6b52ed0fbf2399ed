"""A registry of plug-ins: each is registered by the decorator above its own class."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from slimfront.studies.errors import no_such

T = TypeVar("T")


class Registry(Generic[T]):
    """Plug-ins of one kind by name.

    Args:
        kind: What the members are called in messages, such as ``sampler``.
        package: The package whose modules hold the members; imported on the first lookup.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self.package = kind, package
        self._members: dict[str, type[T]] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Return a decorator that files a class under ``name``."""

        def file(member: type[T]) -> type[T]:
            if name in self._members and self._members[name] is not member:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._members[name] = member
            return member

        return file

    def _load(self) -> None:
        if self._loaded:
            return
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self.package}.{module.name}")
        self._loaded = True

    def names(self) -> tuple[str, ...]:
        """Return the names of all members, sorted."""
        self._load()
        return tuple(sorted(self._members))

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def get(self, name: str, *, where: str) -> type[T]:
        """Return the member called ``name``.

        Raises:
            StudyError: there is none; the nearest spelling is suggested.
        """
        self._load()
        if name not in self._members:
            hint = f"choose one of the allowed names in {where}"
            raise no_such(f"there is no {self.kind} of this name", name, self.names(), where=where, hint=hint)
        return self._members[name]
