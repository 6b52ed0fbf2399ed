"""A content-addressed folder for what is computed once: dense models, importance scores, teacher predictions."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slimfront.studies.errors import MissingError
from slimfront.studies.memory import give_back

DONE = "complete.json"
# Seconds after which the unfinished work of another process is given up.
STALE = 3 * 86400.0


def cache_root() -> Path:
    """Return the cache's folder: ``SLIMFRONT_CACHE``, or ``slimfront`` in the user's cache folder."""
    if given := os.environ.get("SLIMFRONT_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slimfront"


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def folder_sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file under ``folder``, by its relative path."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != DONE)
    return {p.relative_to(folder).as_posix(): file_sha256(p) for p in files}


def cached(kind: str, key: Any, build: Callable[[Path], None]) -> Path:
    """Return the folder of one cache entry, built by ``build`` unless a sound one is there.

    An entry is written beside its place and renamed when whole; one whose sums do not match is built again.

    Args:
        kind: The first folder level, such as ``dense``.
        key: JSON value that determines the content.
        build: Writes the entry's files into the folder that it is given.

    Raises:
        MissingError: the cache cannot be written.
    """
    place = cache_root() / kind / digest(key)[:24]
    if _sound(place, key):
        return place
    scratch = _scratch(place)
    try:
        build(scratch)
        (scratch / DONE).write_bytes(_label(scratch, key))
        # Another process may have finished meanwhile, and be reading already.
        if place.exists() and not _sound(place, key):
            shutil.rmtree(place)
        if not place.exists():
            scratch.rename(place)
    except OSError:
        # Another process may have put the same entry there first.
        if not _sound(place, key):
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        # What is worth a place here took memory that trials do not need.
        give_back()
    return place


def _scratch(place: Path) -> Path:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        for old in place.parent.glob(".*-*"):
            # Left by a process that was killed, for nothing takes so long to build; or another one's, and gone by now.
            with contextlib.suppress(FileNotFoundError):
                if old.is_dir() and time.time() - old.stat().st_mtime > STALE:
                    shutil.rmtree(old, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    except OSError as error:
        raise MissingError(
            "the cache cannot be written",
            where=str(place.parent),
            given=error.strerror,
            allowed="a folder that this user may write",
            hint="name another one in the environment variable SLIMFRONT_CACHE",
        ) from error


def _label(folder: Path, key: Any) -> bytes:
    """Return what says that a folder is complete: what determines it, and the sums of its files."""
    return json.dumps({"key": key, "sha256": folder_sums(folder)}, sort_keys=True).encode()


def _sound(place: Path, key: Any) -> bool:
    try:
        return (place / DONE).read_bytes() == _label(place, key)
    except OSError:
        return False
