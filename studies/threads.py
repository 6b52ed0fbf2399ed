"""How torch and BLAS compute: small operations on several threads suffer badly from a busy neighbour."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch
from torch import nn

LARGE = 5_000_000
KERNELS = "512"


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Compute with ``count`` threads inside the context, then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Let numpy and scipy compute with at most ``count`` threads inside the context."""
    # Imported where they are used: a start should not wait for them. scipy has a BLAS of its own, and only a library
    # that is loaded can be told.
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_limits

    with threadpool_limits(count, user_api="blas"):
        yield


def keep_few_kernels() -> None:
    """Let oneDNN keep few compiled kernels, unless the user says how many; to be called before torch computes.

    It keeps 1,024 with their buffers, and every width and length that is trained has its own: up to 432 of a model with
    six blocks whose widths all differ (four products, each once there and twice back, at six lengths). With too few,
    each step compiles them anew.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", KERNELS)


def fitting(module: nn.Module) -> int:
    """Return one thread for a small module, all cores of this process for a large one.

    A worker process is told by ``OMP_NUM_THREADS=1`` to stay with one.
    """
    if os.environ.get("OMP_NUM_THREADS") == "1":
        return 1
    large = sum(parameter.numel() for parameter in module.parameters()) > LARGE
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if large else 1
