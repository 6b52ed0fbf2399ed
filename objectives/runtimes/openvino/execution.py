"""How the CPU plugin executes a model: modes, kernels, and where the time goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from slimfront.objectives.runtimes.parts import Parts, seconds
from slimfront.objectives.stopwatch import settle
from slimfront.studies.compressed import Form
from slimfront.studies.encoding import Batch

if TYPE_CHECKING:
    import openvino as ov

# Widths of the groups in which activations are quantized at run time; each must divide the weights' groups.
DYNAMIC_GROUPS = (128, 64, 32)
INTEGER_KERNELS = (2, 4, 8)
PRODUCT_NODES = ("FullyConnected", "MatMul")
WARM_UP = 3
# OpenVINO cuts times down to whole microseconds: on average half a one is lost, in seconds.
HALF = 5e-7


def mode_of(forms: Iterable[Form], precision: str) -> str:
    """Return the inference precision and the dynamic quantization group, 0 for none, such as ``bf16/64``."""
    codes = {form for form in forms if form.bits in INTEGER_KERNELS and not form.static}
    if precision != "f32" and any(form.bits == 2 for form in codes):
        # OpenVINO 2026.4 returns an empty output for 2-bit weights with quantized bf16 activations.
        return f"{precision}/0"
    fitting = (size for size in DYNAMIC_GROUPS if all(form.group % size == 0 for form in codes))
    return f"{precision}/{next(fitting, DYNAMIC_GROUPS[-1])}"


def kernel_of(form: Form, mode: str) -> str | None:
    """Return the kernel that multiplies a matrix; see :meth:`Runtime.kernel`."""
    precision, _, group = mode.partition("/")
    if form.static:
        return f"{precision}/i{form.bits}"
    if form.bits not in INTEGER_KERNELS:
        # Two floating-point widths are the same once compiled.
        return f"{precision}/{min(form.bits, 16)}"
    if int(group) and (form.group % int(group) or (form.bits == 2 and precision != "f32")):
        return None
    return f"{mode}/u{form.bits}"


def options(mode: str, threads: int) -> dict[str, Any]:
    """Return how files are compiled for a mode."""
    precision, _, group = mode.partition("/")
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # Pinned threads of two processes would share one core.
        "ENABLE_CPU_PINNING": False,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": int(group),
    }


def node_times(
    text: str,
    data: npt.NDArray[np.uint8],
    how: Mapping[str, Any],
    request: Batch,
    repeats: int,
    reference: Callable[[], object],
) -> list[tuple[str, str, float]]:
    """Return name, type and time of each node that a request executes, in runs of the reference.

    What a request takes beyond its nodes stands under the empty name. OpenVINO tells the mean of all runs since the
    model was compiled, the first one included, which takes many times as long: what earlier runs took is subtracted.
    """
    import openvino as ov

    model = ov.Core().read_model(model=text.encode(), weights=ov.Tensor(data))
    infer = ov.compile_model(model, "CPU", {**how, "PERF_COUNT": True}).create_infer_request()
    for _ in range(WARM_UP):
        infer.infer(request)
        reference()
    parts, before, spent, count = Parts[tuple[str, str]](), _means(infer), 0.0, 0
    for _ in range(repeats):
        parts.units.append(seconds(reference))
        start = time.perf_counter()
        count += settle(lambda: infer.infer(request)) + 1
        parts.walls.append(seconds(lambda: infer.infer(request)))
        spent += time.perf_counter() - start
    after = _means(infer).items()
    grown = {node: (mean - before.get(node, 0.0)) * WARM_UP / count for node, mean in after}
    means = {node: max(HALF, mean + grown[node]) for node, mean in after}
    found, rest = parts.shared_out(means, spent / count)
    return [*((name, kind, spent) for (name, kind), spent in found.items()), ("", "", rest)]


def _means(infer: ov.InferRequest) -> dict[tuple[str, str], float]:
    """Return the mean seconds of each node that runs, over all runs so far, by name and type."""
    nodes = [node for node in infer.profiling_info if node.status == node.Status.EXECUTED]
    return {(node.node_name, node.node_type): node.real_time.total_seconds() + HALF for node in nodes}
