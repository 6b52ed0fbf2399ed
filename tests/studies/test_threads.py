from __future__ import annotations

from slimfront.studies.threads import blas_threads
from threadpoolctl import threadpool_info


def counts() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_numpy_and_scipy_compute_with_so_many_threads_and_then_with_as_many_as_before() -> None:
    with blas_threads(2):
        before = counts()
        with blas_threads(1):
            assert counts() == [1] * len(before) and len(before) >= 2
        assert counts() == before
