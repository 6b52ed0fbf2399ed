"""Who runs a trial, told so that others can see whether that process still lives."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass
from typing import Any

import psutil

Json = dict[str, Any]
# Two readings of the same start may differ by a tick of the kernel's clock.
TICK = 0.1


@dataclass(frozen=True)
class Lease:
    """A process on a machine.

    Attributes:
        host: The machine.
        boot: When it was booted, in seconds; ids of processes mean nothing after the next time.
        process: The process's id.
        start: When it was started, in seconds: ids are used again.
    """

    host: str
    boot: float
    process: int
    start: float

    @classmethod
    def mine(cls) -> Lease:
        """Return this process's."""
        return cls(socket.gethostname(), psutil.boot_time(), os.getpid(), psutil.Process().create_time())

    @classmethod
    def from_json(cls, data: Json) -> Lease:
        """Return what :meth:`to_json` gave."""
        return cls(str(data["host"]), float(data["boot"]), int(data["process"]), float(data["start"]))

    def to_json(self) -> Json:
        """Return it as JSON."""
        return asdict(self)

    def alive(self) -> bool | None:
        """Return whether the process lives, or None where that cannot be seen from this machine."""
        if self.host != socket.gethostname():
            return None
        if abs(self.boot - psutil.boot_time()) > 1:
            return False
        try:
            found = psutil.Process(self.process)
            same = abs(found.create_time() - self.start) < TICK
            return bool(same and found.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False
