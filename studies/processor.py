"""What the processor of this machine is and can do."""

from __future__ import annotations

import platform
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
    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
