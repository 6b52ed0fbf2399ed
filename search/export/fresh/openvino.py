"""Runs an exported OpenVINO folder over its own examples; needs openvino and a tokenizer, nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from slimfront.search.export.fresh.reading import compare
from slimfront.studies.private import keep_private

keep_private()
import openvino as ov  # noqa: E402


def main(folder: Path) -> None:
    """Compare the folder with its record."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    model = ov.compile_model(str(folder / "openvino_model.xml"), "CPU", manifest["options"])
    names = [port.get_any_name() for port in model.inputs]
    request = model.create_infer_request()
    compare(folder, names, lambda batch: request.infer(dict(batch))[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
