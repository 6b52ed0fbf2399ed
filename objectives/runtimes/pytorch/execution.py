"""How a module is run, and where the time goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from slimfront.objectives.runtimes.parts import Parts, seconds
from slimfront.objectives.runtimes.pytorch.load import Skipped
from slimfront.objectives.stopwatch import settle
from slimfront.studies.compressed import Cut
from slimfront.studies.encoding import Batch
from torch import nn

WARM_UP = 3
# Start and end of each module that ran, in seconds, by its path.
Stretches = dict[str, tuple[float, float]]


def logits(model: nn.Module, batch: Batch, device: str) -> npt.NDArray[np.float32]:
    """Return the logits ``(rows, classes)`` of a batch whose inputs are ``(rows, tokens)``."""
    with torch.inference_mode():
        found = model(**{name: torch.from_numpy(values).to(device) for name, values in batch.items()}).logits
        return np.asarray(found.float().cpu().numpy(), dtype=np.float32)


def profiled(
    model: nn.Module,
    products: Collection[str],
    cuts: Mapping[str, Cut],
    blocks: Collection[str],
    request: Batch,
    repeats: int,
    reference: Callable[[], object],
) -> dict[str, float]:
    """Return times by part, in runs of the reference; see :meth:`Blueprint.profile`.

    What lies between a structure's matrices is what passes between the end of the last one that makes its units and the
    start of the one that reads them.
    """
    device = str(next(model.parameters()).device)
    paths = {name.removesuffix(".weight") for name in products} | set(blocks)
    parts = Parts[str]()
    with _watched(model, paths) as stretches:

        def run() -> None:
            logits(model, request, device)

        for _ in range(WARM_UP):
            run()
            reference()
        for _ in range(repeats):
            parts.units.append(seconds(reference))
            settle(run)
            stretches.clear()
            parts.walls.append(seconds(run))
            parts.spent.append(_shared_out(stretches, products, cuts, blocks))
    found, rest = parts.in_units()
    return {**found, "": rest}


def _shared_out(
    stretches: Stretches, products: Collection[str], cuts: Mapping[str, Cut], blocks: Collection[str]
) -> dict[str, float]:
    """Return the seconds of each part of one run."""

    def end(name: str) -> float:
        return stretches.get(name.removesuffix(".weight"), (0.0, 0.0))[1]

    found = dict.fromkeys((*products, *cuts, *blocks), 0.0)
    for name in products:
        start, stop = stretches.get(name.removesuffix(".weight"), (0.0, 0.0))
        found[name] = stop - start
    for name, cut in cuts.items():
        read = stretches.get(cut.consumer.removesuffix(".weight"))
        found[name] = max(0.0, read[0] - max(map(end, cut.producers))) if read else 0.0
    for block in blocks:
        start, stop = stretches.get(block, (0.0, 0.0))
        inside = sum(found[name] for name in products if name.startswith(f"{block}."))
        inside += sum(found[name] for name, cut in cuts.items() if cut.consumer.startswith(f"{block}."))
        found[block] = max(0.0, stop - start - inside)
    return found


@contextmanager
def _watched(model: nn.Module, paths: Collection[str]) -> Iterator[Stretches]:
    """Note when modules start and end."""
    stretches: Stretches = {}
    handles = []

    def begin(path: str) -> Callable[..., None]:
        def note(*_: Any) -> None:
            stretches[path] = (time.perf_counter(), 0.0)

        return note

    def finish(path: str) -> Callable[..., None]:
        def note(*_: Any) -> None:
            stretches[path] = (stretches[path][0], time.perf_counter())

        return note

    # What stands in a removed block's place is no part of the model's time.
    parts = {path: part for path, part in model.named_modules() if path in paths and not isinstance(part, Skipped)}
    for path, part in parts.items():
        handles += [part.register_forward_pre_hook(begin(path)), part.register_forward_hook(finish(path))]
    try:
        yield stretches
    finally:
        for handle in handles:
            handle.remove()
