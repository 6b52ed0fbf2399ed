"""Ends a worker that takes too long, too much memory, or floods its log."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil
from slimfront.search.failures import FAILED, MEMORY, TIME
from slimfront.studies.schema import SearchSpec, byte_count, seconds

# Seconds between two looks, bytes that a task may print, and the share of the machine's memory for all workers.
POLL, OUTPUT, SHARE = 0.5, 64 * 2**20, 0.9
CGROUP = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Allowance:
    """What one task may take.

    Attributes:
        seconds: Wall time.
        memory: Resident bytes of the worker and its children together.
        output: Bytes of its log.
    """

    seconds: float
    memory: int
    output: int = OUTPUT

    @classmethod
    def of(cls, search: SearchSpec) -> Allowance:
        """Return what a study allows; without a limit of its own, workers share the machine's memory evenly."""
        shared = int(SHARE * machine_memory() / search.workers)
        memory = shared if search.trial_memory is None else byte_count(search.trial_memory)
        return cls(seconds(search.trial_timeout), memory)


def machine_memory() -> int:
    """Return the bytes of memory that this machine, or the container, has."""
    total = int(psutil.virtual_memory().total)
    with contextlib.suppress(OSError, ValueError):
        total = min(total, int(CGROUP.read_text()))
    return total


class Watch:
    """Watches a process while it is at a task.

    Args:
        process: Its id.
        allowance: What the task may take.
        log: Where its output goes.
        end: Ends it, at once; called with the verdict.

    Attributes:
        verdict: The kind of failure and its message, once the process was ended.
    """

    def __init__(self, process: int, allowance: Allowance, log: Path, end: Callable[[str, str], None]) -> None:
        self._process, self._allowance, self._log, self._end = process, allowance, log, end
        self._over = threading.Event()
        self.verdict: tuple[str, str] | None = None

    def __enter__(self) -> Watch:
        self._deadline = time.monotonic() + self._allowance.seconds
        self._written = self._size()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(POLL):
            self.verdict = self._judged()
            if self.verdict is not None:
                self._end(*self.verdict)
                return

    def _judged(self) -> tuple[str, str] | None:
        allowed = self._allowance
        if time.monotonic() > self._deadline:
            return TIME, f"not done after {allowed.seconds:g} s (search.trial_timeout)"
        used = resident(self._process)
        if used > allowed.memory:
            return MEMORY, f"{used / 1e9:.2f} GB, of {allowed.memory / 1e9:.2f} GB (search.trial_memory)"
        if self._size() - self._written > allowed.output:
            os.truncate(self._log, self._written)
            return FAILED, f"printed more than {allowed.output / 1e6:.0f} MB"
        return None

    def _size(self) -> int:
        return self._log.stat().st_size if self._log.exists() else 0


def resident(process: int) -> int:
    """Return the resident bytes of a process and its descendants; 0 once it is gone."""
    total = 0
    with contextlib.suppress(psutil.Error):
        own = psutil.Process(process)
        for one in (own, *own.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += int(one.memory_info().rss)
    return total
