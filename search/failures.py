"""What a trial that did not finish ended with."""

from __future__ import annotations

import re

from slimfront.studies.errors import NotFinite

MEMORY, TIME, CRASHED, NOT_FINITE, FAILED = "out of memory", "timed out", "crashed", "not finite", "failed"
KINDS = (MEMORY, TIME, CRASHED, NOT_FINITE, FAILED)
# What libraries say that have no exception of their own for it.
_NO_MEMORY = re.compile(r"can't allocate memory|out of memory|bad_alloc|failed to allocate", re.IGNORECASE)


class WorkerDied(Exception):
    """A worker's process ended in the middle of a task.

    Args:
        kind: One of ``KINDS``.
        message: How it ended.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Tainted(Exception):
    """A trial changed what all trials share."""


def kind_of(error: BaseException) -> str:
    """Return which of ``KINDS`` an exception is."""
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        return MEMORY
    return NOT_FINITE if isinstance(error, NotFinite | FloatingPointError) else FAILED
