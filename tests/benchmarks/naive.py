"""What a competent user would write instead: Optuna, torch, ``ov.convert_model`` and NNCF's weight compression.

It stands alone (no import of slimfront) and is run in an environment of its own, which has nncf. What can be computed
once is computed once, outside the trials: the importance of heads and neurons, the tokenized sentences, the dense model
and its compiled reference. A trial prunes a copy, converts it, compresses the weights in one or two calls of NNCF,
saves the files, and measures size, accuracy and latency on what it saved, one thread, one sentence a request, as the
model would be deployed. Where the libraries offer something faster it is taken: constants are folded, sentences are
sorted by length, and nothing is written twice.

Usage: ``python naive.py FOLDER`` with the folder that :mod:`tests.benchmarks.trials` writes; one JSON line a trial.
"""

from __future__ import annotations

import copy
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import openvino as ov
import optuna
import torch
from transformers import AutoModelForSequenceClassification

PAIRS = 30
ROLES = {
    "embeddings": r".*(embeddings/|embedding\b).*",
    "qkv": r".*attention\.self\.(query|key|value)/.*",
    "attention_output": r".*attention\.output\.dense/.*",
    "ffn_in": r".*intermediate\.dense/.*",
    "ffn_out": r".*layer\.\d+\.output\.dense/.*",
    "head": r".*(classifier|pooler).*",
}
# A pruned width need not be a multiple of the group.
ADVANCED = nncf.AdvancedCompressionParameters(group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST)
OPTIONS = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}


def keep_rows(linear: torch.nn.Linear, rows: torch.Tensor) -> None:
    linear.weight = torch.nn.Parameter(linear.weight[rows])
    linear.bias = torch.nn.Parameter(linear.bias[rows])
    linear.out_features = len(rows)


def keep_columns(linear: torch.nn.Linear, columns: torch.Tensor) -> None:
    linear.weight = torch.nn.Parameter(linear.weight[:, columns])
    linear.in_features = len(columns)


def prune(dense: torch.nn.Module, scores: dict[str, list[float]], kept: dict[str, int]) -> torch.nn.Module:
    """Remove the least important heads and neurons of each block."""
    model = copy.deepcopy(dense)
    for number, block in enumerate(model.bert.encoder.layer):
        for part in ("attention", "ffn"):
            name = f"bert.encoder.layer.{number}.{part}"
            if name not in kept:
                continue
            best = torch.tensor(scores[name]).argsort(descending=True, stable=True)[: kept[name]].sort().values
            if part == "ffn":
                keep_rows(block.intermediate.dense, best)
                keep_columns(block.output.dense, best)
                continue
            attention = block.attention.self
            size = attention.attention_head_size
            channels = (best[:, None] * size + torch.arange(size)).reshape(-1)
            for linear in (attention.query, attention.key, attention.value):
                keep_rows(linear, channels)
            keep_columns(block.attention.output.dense, channels)
            attention.num_attention_heads, attention.all_head_size = len(best), len(channels)
    return model


def compress(model: ov.Model, bits: dict[str, int]) -> ov.Model:
    """Give each role its bits: a call for 4 bits, a call for 8; what has 32 is left alone."""
    for width, mode in ((4, nncf.CompressWeightsMode.INT4_ASYM), (8, nncf.CompressWeightsMode.INT8_ASYM)):
        others = [pattern for role, pattern in ROLES.items() if bits[role] != width]
        if len(others) == len(ROLES):
            continue
        ignored = nncf.IgnoredScope(patterns=others, validate=False)
        more = (
            {"group_size": 64, "all_layers": True, "ratio": 1.0, "advanced_parameters": ADVANCED} if width == 4 else {}
        )
        model = nncf.compress_weights(model, mode=mode, ignored_scope=ignored, **more)
    return model


class Loop:
    """Everything that is computed once, and a trial."""

    def __init__(self, folder: Path) -> None:
        data = json.loads((folder / "given.json").read_text())
        self.configurations, self.scores = data["configurations"], data["scores"]
        self.rows, self.labels = data["rows"], data["labels"]
        self.request = {name: np.array(values) for name, values in data["request"].items()}
        self.dense = AutoModelForSequenceClassification.from_pretrained(folder / "dense").eval()
        self.example = {name: torch.tensor([row]) for name, row in self.rows[0].items()}
        self.order = sorted(range(len(self.rows)), key=lambda n: len(self.rows[n]["input_ids"]))
        self.reference = self.compiled(self.converted(self.dense), {"INFERENCE_PRECISION_HINT": "f32"})

    def converted(self, model: torch.nn.Module) -> ov.Model:
        with torch.no_grad():
            return ov.convert_model(model, example_input=self.example)

    def compiled(self, model: ov.Model | Path, more: dict[str, Any]) -> ov.InferRequest:
        return ov.compile_model(model, "CPU", {**OPTIONS, **more}).create_infer_request()

    def run(self, given: dict[str, Any]) -> dict[str, float]:
        """Evaluate one configuration."""
        start = time.process_time()
        model = self.converted(prune(self.dense, self.scores, given["kept"]))
        model = compress(model, given["bits"])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.xml"
            ov.save_model(model, path, compress_to_fp16=False)
            size = sum(file.stat().st_size for file in Path(folder).iterdir())
            request = self.compiled(path, {})
            accuracy = self.accuracy(request)
            latency = self.latency(request)
        return {"size": size, "accuracy": accuracy, "latency": latency, "cpu": time.process_time() - start}

    def accuracy(self, request: ov.InferRequest) -> float:
        right = 0
        for number in self.order:
            inputs = {name: np.array([row]) for name, row in self.rows[number].items()}
            right += int(request.infer(inputs)[0].argmax()) == self.labels[number]
        return right / len(self.rows)

    def latency(self, request: ov.InferRequest) -> float:
        """Return the ratio to the dense model in randomly interleaved runs."""
        times: dict[int, list[float]] = {0: [], 1: []}
        both = (request, self.reference)
        for _ in range(PAIRS):
            for which in random.sample((0, 1), 2):
                start = time.perf_counter()
                both[which].infer(self.request)
                times[which].append(time.perf_counter() - start)
        return statistics.median(times[0]) / statistics.median(times[1])


def main() -> None:
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    loop = Loop(Path(sys.argv[1]))
    study = optuna.create_study(directions=["minimize", "minimize", "maximize"])
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        given = loop.configurations[int(line)]
        start = time.process_time()
        study.enqueue_trial(given["choices"])
        trial = study.ask({n: optuna.distributions.CategoricalDistribution(c) for n, c in given["domains"].items()})
        found = loop.run(given)
        study.tell(trial, [found["size"], found["latency"], found["accuracy"]])
        found["cpu"] = time.process_time() - start
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
