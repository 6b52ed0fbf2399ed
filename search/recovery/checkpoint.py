"""A training that was cut off goes on where it last rested."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from slimfront.studies.cache import cache_root, digest
from slimfront.studies.tensors import read_tensors, write_tensors

WEIGHT, FIRST, SECOND = "weight", "exp_avg", "exp_avg_sq"


@dataclass(frozen=True)
class Checkpoint:
    """The state of one training with AdamW, in one file.

    Attributes:
        path: Where it is.
    """

    path: Path

    @classmethod
    def of(cls, kind: str, key: Any) -> Checkpoint:
        """Return the checkpoint of what will be a cache entry."""
        return cls(cache_root() / "unfinished" / f"{kind}-{digest(key)[:24]}.safetensors")

    def keep(self, step: int, weights: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer) -> None:
        """Write weights and the optimizer's state after so many steps; the file is replaced when whole."""
        parts = {}
        for name, weight in weights.items():
            state = optimizer.state.get(weight, {})
            parts[f"{WEIGHT}/{name}"] = weight
            parts |= {f"{part}/{name}": state[part] for part in (FIRST, SECOND) if part in state}
        write_tensors(self.path, parts, {"step": str(step)})

    def restore(self, weights: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer) -> int:
        """Bring weights and optimizer to where they rested, and return the number of steps done; 0 without a file."""
        found = read_tensors(self.path)
        if found is None:
            return 0
        parts, step = found[0], int(found[1]["step"])
        if {name for name in parts if name.startswith(WEIGHT)} != {f"{WEIGHT}/{name}" for name in weights}:
            return 0
        for name, weight in weights.items():
            with torch.no_grad():
                weight.copy_(parts[f"{WEIGHT}/{name}"])
            if f"{FIRST}/{name}" in parts:
                optimizer.state[weight] = {
                    "step": torch.tensor(float(step)),
                    FIRST: parts[f"{FIRST}/{name}"],
                    SECOND: parts[f"{SECOND}/{name}"],
                }
        return step

    def remove(self) -> None:
        """Remove the file: what it led to is finished."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
