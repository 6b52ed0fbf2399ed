"""How models are trained on this machine: arithmetic and optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from slimfront.studies.processor import multiplies_bf16
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# Counted up when the same training gives other weights.
VERSION = 2
# Sentences of a batch are padded to a multiple of so many tokens: a kernel is compiled for every length.
TOKENS = 8


def arithmetic() -> dict[str, Any]:
    """Return JSON of what decides, beside data and settings, which weights come out of a training."""
    return {"torch": torch.__version__, "bf16": multiplies_bf16(), "training": VERSION}


def adamw(parameters: Iterable[torch.Tensor], rate: float) -> torch.optim.AdamW:
    """Return the optimizer, which updates each parameter in one pass."""
    return torch.optim.AdamW(list(parameters), lr=rate, fused=True)


@contextmanager
def half_precision() -> Iterator[None]:
    """Make forward passes, while the context lasts, in bf16 where the processor multiplies it; attention in fp32.

    Over the short sentences that classifiers read, attention's kernels take several times as long in bf16 (16 sentences
    of 32 tokens, 12 heads of 32 channels, there and back: 16 ms against 2.4). They catch up with length: at 512 tokens
    fp32 takes as long as bf16 with heads of 32 channels, and 1.4 times as long with heads of 64.
    """
    if not multiplies_bf16():
        yield
        return
    with torch.autocast("cpu", dtype=torch.bfloat16), _AttentionInFull():
        yield


class _AttentionInFull(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        with torch.autocast("cpu", enabled=False):
            return func(*map(_full, args), **{name: _full(value) for name, value in (kwargs or {}).items()})


def _full(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
