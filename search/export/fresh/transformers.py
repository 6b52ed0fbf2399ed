"""Runs an exported folder of Transformers over its own examples; needs transformers and what its codes are held in."""

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
from transformers import AutoModelForSequenceClassification


def main(folder: Path) -> None:
    """Compare the folder with its record; code that lies in it is part of it."""
    options = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["options"]
    torch.set_num_threads(options["threads"])
    torch.set_flush_denormal(True)
    own = (folder / "modeling_narrowed.py").is_file()
    model = AutoModelForSequenceClassification.from_pretrained(str(folder), trust_remote_code=own)

    def run(batch: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            inputs = {name: torch.from_numpy(values) for name, values in batch.items()}
            return np.asarray(model(**inputs).logits.numpy())

    compare(folder, None, run)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
