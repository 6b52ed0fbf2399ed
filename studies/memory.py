"""Memory that is free but that the allocator keeps."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Give free memory back to the system where the C library can: glibc keeps what lies below anything still in use.

    After a stage that took gigabytes in pieces of up to 32 MiB, most of them would stay with the process.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
