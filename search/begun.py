"""A file beside a trial's artifact while a worker is at it: who left it behind died together with its coordinator."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path


def mark_of(artifact: Path) -> Path:
    """Return the file that says that a worker has begun a trial and has not ended it.

    Args:
        artifact: Where the trial's artifact goes.
    """
    return artifact.with_name(f"{artifact.name}.begun")


def unmark(artifact: Path) -> None:
    """Take the mark of a trial away, if there is one."""
    with contextlib.suppress(OSError):
        mark_of(artifact).unlink()


class Begun:
    """The mark of a worker process. One that outlives its coordinator takes it away: its trial is not to blame."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._artifact: Path | None = None

    @contextlib.contextmanager
    def at(self, artifact: Path) -> Iterator[None]:
        """Leave the mark of one trial while it is evaluated."""
        with self._lock:
            self._artifact = artifact
            with contextlib.suppress(OSError):
                # What cannot be written here is told where the artifact is.
                mark_of(artifact).touch()
        try:
            yield
        finally:
            with self._lock:
                self._clear()

    def leave(self) -> None:
        """Take the mark away for good: this process ends."""
        self._lock.acquire()
        self._clear()

    def _clear(self) -> None:
        if self._artifact is not None:
            unmark(self._artifact)
            self._artifact = None
