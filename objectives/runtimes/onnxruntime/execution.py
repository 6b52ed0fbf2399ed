"""How ONNX Runtime executes a model on the CPU: kernels, sessions, and where the time goes."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slimfront.objectives.runtimes.parts import Parts, seconds
from slimfront.objectives.sessions.onnxruntime import session
from slimfront.objectives.stopwatch import settle
from slimfront.studies.compressed import Form
from slimfront.studies.encoding import Batch

# Blocks of codes for which there are fast kernels, widest first; the smallest power of two that a table's may have.
BLOCKS, LEAST = (256, 128, 64, 32, 16), 16
PADDED = 32
WARM_UP = 3


def is_dynamic(form: Form) -> bool:
    """Return whether a matrix is multiplied in 8-bit integers: with one scale a row, and activations with one scale."""
    return form.bits == 8 and form.group == form.shape[1]


def block_of(form: Form, product: bool) -> int:
    """Return how many codes share a scale in the file.

    A block is a power of two, so that a group of another width is split into several, or, where it is the whole row,
    filled up.

    Args:
        form: Form of a matrix in codes.
        product: Whether it is multiplied; else rows of it are looked up.
    """
    if not product and form.group == form.shape[1]:
        return max(LEAST, 1 << (form.group - 1).bit_length())
    return next((block for block in BLOCKS if form.group % block == 0), PADDED)


def kernel_of(form: Form) -> str:
    """Return the kernel that multiplies a matrix; see :meth:`Runtime.kernel`."""
    if form.bits >= 16:
        return "f32"
    return "u8" if is_dynamic(form) else f"u{form.bits}/{block_of(form, True)}"


def node_times(
    model: bytes, options: Mapping[str, Any], request: Batch, repeats: int, reference: Callable[[], object]
) -> list[tuple[str, float]]:
    """Return name and time of each node that a request executes, in its order, in runs of the reference.

    What a request takes beyond its nodes stands under the empty name.
    """
    with tempfile.TemporaryDirectory() as folder:
        infer = session(model, options, Path(folder) / "profile")
        for _ in range(WARM_UP):
            infer.run(None, request)
            reference()
        parts, counted = Parts[str](), []
        for _ in range(repeats):
            parts.units.append(seconds(reference))
            counted.append(settle(lambda: infer.run(None, request)) + 1)
            parts.walls.append(seconds(lambda: infer.run(None, request)))
        events = json.loads(Path(infer.end_profiling()).read_text(encoding="utf-8"))
    everyone = sorted((e["ts"], e["ts"] + e["dur"]) for e in events if e["name"] == "model_run")
    runs = [everyone[WARM_UP + last - 1] for last in itertools.accumulate(counted)]
    nodes = [event for event in events if event["cat"] == "Node" and event["name"].endswith("_kernel_time")]
    nodes.sort(key=lambda event: event["ts"])
    for start, end in runs:
        within = [event for event in nodes if start <= event["ts"] < end]
        parts.spent.append({event["name"].removesuffix("_kernel_time"): event["dur"] / 1e6 for event in within})
    found, rest = parts.in_units()
    return [*found.items(), ("", rest)]
