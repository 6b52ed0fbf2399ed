"""Runs an exported PyTorch folder over its own examples; needs torch, transformers and safetensors, nothing else."""

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
    """Compare the folder with its record; its own program loads it."""
    options = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["options"]
    torch.set_num_threads(options["threads"])
    torch.set_flush_denormal(True)
    sys.path.insert(0, str(folder))
    from load import load  # type: ignore[import-not-found]

    model = load(folder).to(options["device"])

    def run(batch: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            inputs = {name: torch.from_numpy(values).to(options["device"]) for name, values in batch.items()}
            return np.asarray(model(**inputs).logits.float().cpu().numpy())

    compare(folder, None, run)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
