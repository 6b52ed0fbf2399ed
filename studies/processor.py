"""What the processor of this machine is and can do."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

import torch


def processor_name() -> str:
    """Return the processor's name."""
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def multiplies_bf16() -> bool:
    """Return whether the processor multiplies bf16 itself: emulated, it is several times slower than fp32."""
    return bool(processor_has(("avx512_bf16", "amx_bf16", "bf16")))


def processor_has(names: Sequence[str]) -> list[str]:
    """Return those of some instruction sets, by PyTorch's names, that the processor has."""
    found = torch.cpu.get_capabilities()
    return [name for name in names if found.get(name, False)]
