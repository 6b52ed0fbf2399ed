"""Where a trial's processor time goes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Clock:
    """Adds up the process CPU seconds of named stages; a stage inside another counts for itself alone."""

    def __init__(self) -> None:
        self._start = time.process_time()
        self._seconds: dict[str, float] = {}
        self._inner = 0.0

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time inside the context for ``name``."""
        start, before = time.process_time(), self._inner
        self._inner = 0.0
        try:
            yield
        finally:
            spent = time.process_time() - start
            self._seconds[name] = self._seconds.get(name, 0.0) + spent - self._inner
            self._inner = before + spent

    def seconds(self) -> dict[str, float]:
        """Return CPU seconds by stage; ``other`` is the rest, ``total`` everything since this clock was made."""
        total = time.process_time() - self._start
        named = {name: round(value, 4) for name, value in self._seconds.items()}
        return {**named, "other": round(total - sum(self._seconds.values()), 4), "total": round(total, 4)}
