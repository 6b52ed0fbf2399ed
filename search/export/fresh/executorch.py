"""Runs a program of ExecuTorch over an exported folder's own examples; needs executorch and a tokenizer alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from executorch.runtime import Runtime
from slimfront.search.export.fresh.reading import compare


def main(folder: Path) -> None:
    """Compare the folder with its record."""
    names = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["options"]["inputs"]
    program = Runtime.get().load_program(folder / "model.pte")
    method = program.load_method("forward")
    assert method is not None

    def run(batch: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        return np.array(method.execute([torch.from_numpy(batch[name]) for name in names])[0].numpy())

    compare(folder, names, run)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
