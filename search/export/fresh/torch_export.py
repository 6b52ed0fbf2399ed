"""Runs a file of torch.export over an exported folder's own examples; needs torch and a tokenizer, nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from slimfront.search.export.fresh.reading import compare


def main(folder: Path) -> None:
    """Compare the folder with its record."""
    options = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["options"]
    torch.set_num_threads(options["threads"])
    torch.set_flush_denormal(True)
    program = torch.export.load(folder / "model.pt2")
    model = program.module()

    def run(batch: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(model(**{name: torch.from_numpy(values) for name, values in batch.items()}).numpy())

    compare(folder, program.graph_signature.user_inputs, run)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
