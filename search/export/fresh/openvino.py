"""Runs an exported OpenVINO folder over its own examples; needs openvino and a tokenizer, nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import openvino as ov
from transformers import AutoTokenizer


def main(folder: Path) -> None:
    """Print as JSON how many predictions differ from the recorded ones, and the accuracy."""
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (folder / "examples.jsonl").read_text(encoding="utf-8").splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    model = ov.compile_model(str(folder / "openvino_model.xml"), "CPU", manifest["options"])
    names = [port.get_any_name() for port in model.inputs]
    request = model.create_infer_request()
    texts = [tuple(row["text"]) if isinstance(row["text"], list) else (row["text"],) for row in rows]
    lengths = [len(tokenizer(*text, truncation=True, max_length=record["max_tokens"])["input_ids"]) for text in texts]
    order = np.argsort(lengths, kind="stable")
    found = np.zeros(len(rows), dtype=np.int64)
    for start in range(0, len(order), record["batch"]):
        part = order[start : start + record["batch"]]
        columns = [list(column) for column in zip(*(texts[i] for i in part), strict=True)]
        batch = tokenizer(*columns, truncation=True, max_length=record["max_tokens"], padding=True, return_tensors="np")
        found[part] = request.infer({name: batch[name] for name in names})[0].argmax(-1)
    labels = np.array([row["label"] for row in rows])
    different = sum(int(found[i]) != row["prediction"] for i, row in enumerate(rows))
    accuracy = float((found == labels).sum() / len(labels))
    print(json.dumps({"different": different, "accuracy": accuracy, "examples": len(rows)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
