"""Reads an exported folder's own examples with its own tokenizer, whatever runs its model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import AutoTokenizer

Run = Callable[[Mapping[str, npt.NDArray[Any]]], npt.NDArray[Any]]


def compare(folder: Path, names: Sequence[str] | None, run: Run) -> None:
    """Print as JSON the predictions, how many differ from the recorded ones, and the accuracy.

    Args:
        folder: The exported folder.
        names: The model's inputs; None stands for all that the tokenizer makes.
        run: Returns the logits ``(rows, classes)`` of inputs ``(rows, tokens)``.
    """
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (folder / "examples.jsonl").read_text(encoding="utf-8").splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    texts = [tuple(row["text"]) if isinstance(row["text"], list) else (row["text"],) for row in rows]
    lengths = [len(tokenizer(*text, truncation=True, max_length=record["max_tokens"])["input_ids"]) for text in texts]
    order = np.argsort(lengths, kind="stable")
    found = np.zeros(len(rows), dtype=np.int64)
    for start in range(0, len(order), record["batch"]):
        part = order[start : start + record["batch"]]
        columns = [list(column) for column in zip(*(texts[i] for i in part), strict=True)]
        batch = tokenizer(*columns, truncation=True, max_length=record["max_tokens"], padding=True, return_tensors="np")
        found[part] = run({name: batch[name] for name in names or batch}).argmax(-1)
    labels = np.array([row["label"] for row in rows])
    different = sum(int(found[i]) != row["prediction"] for i, row in enumerate(rows))
    accuracy = float((found == labels).sum() / len(labels))
    print(
        json.dumps({"different": different, "accuracy": accuracy, "examples": len(rows), "predictions": found.tolist()})
    )
