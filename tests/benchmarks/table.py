"""Writes a benchmark's figures beside it, with the machine and the date."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from slimfront.studies.processor import processor_name

FOLDER = Path(__file__).parent / "results"


def write(name: str, title: str, text: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write ``results/NAME.md``: a title, a table, and what is to be said about it."""
    FOLDER.mkdir(exist_ok=True)
    versions = ", ".join(f"{lib} {importlib.metadata.version(lib)}" for lib in ("torch", "openvino", "optuna"))
    day = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    lines = [
        f"# {title}",
        "",
        f"{day}, {processor_name()} ({_instructions()}), {len(os.sched_getaffinity(0))} cores, {versions}",
        "",
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
        *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows),
        "",
        text.strip(),
        "",
    ]
    (FOLDER / f"{name}.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines), flush=True)


def _instructions() -> str:
    """Return what decides how fast the processor multiplies, the fastest first."""
    found = torch.cpu.get_capabilities()
    return ", ".join(name for name in ("amx_int8", "avx512_bf16", "avx512_vnni", "avx512_f", "avx2") if found.get(name))


def extension() -> str:
    """Return the fastest of the processor's extensions: ``amx``, ``avx512``, ``avx2``, or ``other``."""
    return _instructions().partition(",")[0].partition("_")[0] or "other"
