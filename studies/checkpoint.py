"""A training that was cut off goes on where it last rested."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from slimfront.studies.cache import cache_root, digest
from slimfront.studies.tensors import make_room, read_tensors, write_tensors

WEIGHT, FIRST, SECOND, RANDOM = "weight", "exp_avg", "exp_avg_sq", "random"
# Seconds between two rests.
EVERY = 60.0
# Bytes that unfinished trainings may take.
ROOM = 16 * 2**30


@dataclass
class Checkpoint:
    """The state of one training with AdamW, in one file: weights, optimizer and torch's random numbers.

    Attributes:
        path: Where it is.
    """

    path: Path
    _last: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, kind: str, key: Any) -> Checkpoint:
        """Return the checkpoint of what will be a cache entry."""
        return cls(cache_root() / "unfinished" / f"{kind}-{digest(key)[:24]}.safetensors")

    def rest(self, step: int, weights: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer) -> None:
        """Write the state after so many steps, where the last rest is long ago; the file is replaced when whole."""
        if time.monotonic() - self._last < EVERY:
            return
        parts = {RANDOM: torch.get_rng_state()}
        for name, weight in weights.items():
            state = optimizer.state.get(weight, {})
            parts[f"{WEIGHT}/{name}"] = weight
            parts |= {f"{part}/{name}": state[part] for part in (FIRST, SECOND) if part in state}
        write_tensors(self.path, parts, {"step": str(step)})
        make_room(self.path.parent, ROOM, self.path)
        self._last = time.monotonic()

    def restore(self, weights: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer) -> int:
        """Bring everything to where it rested, and return the number of steps done; 0 without a sound file."""
        found = read_tensors(self.path)
        if found is None:
            return 0
        parts, step = found[0], int(found[1]["step"])
        if {name for name in parts if name.startswith(f"{WEIGHT}/")} != {f"{WEIGHT}/{name}" for name in weights}:
            return 0
        torch.set_rng_state(parts[RANDOM])
        for name, weight in weights.items():
            with torch.no_grad():
                weight.copy_(parts[f"{WEIGHT}/{name}"])
            if f"{FIRST}/{name}" in parts:
                optimizer.state[weight] = {
                    "step": torch.tensor(float(step)),
                    FIRST: parts[f"{FIRST}/{name}"].clone(),
                    SECOND: parts[f"{SECOND}/{name}"].clone(),
                }
        return step

    def remove(self) -> None:
        """Remove the file: what it led to is finished."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
