"""Runs benchmarks: ``python -m tests.benchmarks [NAME ...]``; all of them by default.

Figures go to ``tests/benchmarks/results``. Work goes to the folder named by SLIMFRONT_BENCH, or to a temporary one;
a benchmark that was cut off goes on in the same folder.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from pathlib import Path

NAMES = (
    "trials",
    "hypervolume",
    "racing",
    "raced",
    "prediction",
    "second_study",
    "asking",
    "memory",
    "methods",
    "recovery",
    "rungs",
    "recipes",
    "joint",
    "targets",
    "scaling",
    "workers",
    "latency",
    "again",
)


def main() -> None:
    """Run the benchmarks that are named."""
    folder = Path(os.environ.get("SLIMFRONT_BENCH") or tempfile.mkdtemp(prefix="slimfront-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or NAMES:
        print(f"{name} in {folder}", file=sys.stderr, flush=True)
        importlib.import_module(f"tests.benchmarks.{name}").main(folder)


if __name__ == "__main__":
    main()
