"""Runs an exported ONNX folder over its own examples; needs onnxruntime and a tokenizer, nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import onnxruntime
from slimfront.search.export.fresh.reading import compare


def main(folder: Path) -> None:
    """Compare the folder with its record."""
    options = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["options"]
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options["threads"]
    model = onnxruntime.InferenceSession(str(folder / "model.onnx"), settings, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in model.get_inputs()]
    compare(folder, names, lambda batch: model.run(None, dict(batch))[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
