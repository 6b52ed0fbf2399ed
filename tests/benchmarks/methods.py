"""What each criterion and each quantizer leaves of the accuracy, without any recovery."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from slimfront.search.evaluator import Evaluator
from slimfront.spaces.criteria import CRITERIA
from slimfront.spaces.quantizers import QUANTIZERS

from tests.benchmarks.material import held_out_accuracy, quickstart, say
from tests.benchmarks.table import write

SHARES, WIDTHS, STATIC = (0.25, 0.5, 0.75), (8, 4, 3, 2), "8-static"
KINDS = {"ffn": "FFN neurons", "attention": "heads"}


def prepared(criterion: str, quantizer: str) -> Evaluator:
    """Return an evaluator of the shipped study with other methods."""
    space = {
        "sparsity": {"granularity": "role", "levels": [0.0, *SHARES], "criterion": criterion},
        "bits": {"granularity": "all", "levels": [*WIDTHS, STATIC, 32], "quantizer": quantizer},
        "precision": ["f32"],
        "distillation": None,
    }
    return Evaluator.prepare(quickstart(space=space), say)


def accuracy(evaluator: Evaluator, folder: Path, **changes: Any) -> float:
    """Return the held-out accuracy of the dense configuration with some values changed."""
    values = {**evaluator.space.dense(), **{name.replace("_", "/"): value for name, value in changes.items()}}
    configuration = evaluator.space.canonical(values)
    evaluator.lower(configuration, folder)
    found = held_out_accuracy(evaluator, configuration, folder)
    print(f"  {changes}: {found:.4f}", file=sys.stderr, flush=True)
    return found


def main(folder: Path) -> None:
    """Run the benchmark in a folder."""
    place, rows = folder / "methods", []
    dense = accuracy(prepared("magnitude", "affine"), place)
    for name in CRITERIA:
        evaluator = prepared(name, "affine")
        for kind, title in KINDS.items():
            found = [accuracy(evaluator, place, **{f"sparsity_{kind}": share}) for share in SHARES]
            rows.append([f"{name}: {title}", *(f"{100 * value:.1f}" for value in found), ""])
    for name in QUANTIZERS:
        evaluator = prepared("magnitude", name)
        found = [accuracy(evaluator, place, bits_all=bits) for bits in WIDTHS]
        rows.append([f"{name}: all weights", *(f"{100 * value:.1f}" for value in found)])
    static = accuracy(prepared("magnitude", "affine"), place, bits_all=STATIC)
    rows.append([f"all weights, at {STATIC} where they are multiplied", f"{100 * static:.1f}", "", "", ""])
    text = f"""
Held-out accuracy in percent, measured on the artifacts; dense: {100 * dense:.1f}. For criteria the columns are shares
removed of every block (25, 50, 75 %), for quantizers bit-widths of everything, embeddings included (8, 4, 3, 2).
`optimal-brain-surgeon` changes the weights that stay. No training of any kind after compression.
"""
    header = ("method", "25 % or 8 bits", "50 % or 4 bits", "75 % or 3 bits", "2 bits")
    write("methods", "Criteria and quantizers", text, header, rows)
