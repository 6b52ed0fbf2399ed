"""The energy counters that machines let one read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

# Where Linux shows the counters of processors that have them (running average power limit, RAPL).
PACKAGES = Path("/sys/class/powercap")


class Counter(Protocol):
    """Something that counts the joules it has used.

    Attributes:
        stretch: Seconds that must lie between two readings for the counter's own steps not to matter.
    """

    stretch: float

    def read(self) -> float:
        """Return the joules counted since some moment."""

    def between(self, before: float, after: float) -> float:
        """Return the joules between two readings."""


class Package:
    """A processor's package with whatever runs on it; the counter is renewed a thousand times a second."""

    stretch = 0.1

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _joules(self, name: str) -> float:
        return int((self._folder / name).read_text()) / 1e6

    def read(self) -> float:
        """See :meth:`Counter.read`.

        Raises:
            OSError: it may not be read.
            ValueError: it is not a number.
        """
        return self._joules("energy_uj")

    def between(self, before: float, after: float) -> float:
        """See :meth:`Counter.between`: a counter that has reached its end begins anew."""
        return after - before if after >= before else after - before + self._joules("max_energy_range_uj")


class Gpu:
    """The GPU that PyTorch runs on, read by NVML (Volta and later); the counter is renewed some ten times a second."""

    stretch = 1.0

    def __init__(self) -> None:
        import pynvml
        import torch

        self._nvml: Any = pynvml
        pynvml.nvmlInit()
        # NVML numbers all devices of the machine, PyTorch those that the process may see.
        name = f"GPU-{torch.cuda.get_device_properties(torch.cuda.current_device()).uuid}"
        self._device = pynvml.nvmlDeviceGetHandleByUUID(name)

    def read(self) -> float:
        """See :meth:`Counter.read`."""
        return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._device)) / 1e3

    def between(self, before: float, after: float) -> float:
        """See :meth:`Counter.between`."""
        return after - before


def counters(device: str) -> list[Counter]:
    """Return the counters of a target's device (``cpu``, ``cuda``) that can be read; none if there are none."""
    return _readable_gpu() if device == "cuda" else _readable_packages()


def _readable_packages() -> list[Counter]:
    found: list[Counter] = []
    for folder in sorted(PACKAGES.glob("intel-rapl:[0-9]*")):
        package = Package(folder)
        # Below the packages lie their parts, whose joules they contain.
        if folder.name.count(":") == 1 and _reads(package):
            found.append(package)
    return found


def _readable_gpu() -> list[Counter]:
    try:
        import pynvml
    except ImportError:
        return []
    try:
        gpu = Gpu()
        gpu.read()
    # Without a GPU it is PyTorch that fails, by exceptions of several kinds.
    except (pynvml.NVMLError, RuntimeError, AssertionError):
        return []
    return [gpu]


def _reads(counter: Counter) -> bool:
    try:
        counter.read()
    except (OSError, ValueError):
        return False
    return True
