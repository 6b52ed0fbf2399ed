"""Compressions as the libraries' own documentation tells one to make them, measured beside given OpenVINO models.

It stands alone (no import of slimfront) and is run in an environment of its own, which has NNCF, ONNX Runtime and
torchao. All models read the same held-out sentences and answer the same request, one thread, one sentence at a time;
latency is a ratio to the dense OpenVINO model in randomly interleaved runs.

Usage: ``python by_hand.py FOLDER`` with the folder that :mod:`tests.benchmarks.recipes` writes. One file of figures for
each model; those that are there already are not measured again.
"""

from __future__ import annotations

import copy
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import onnxruntime as ort
import openvino as ov
import torch
from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_
from transformers import AutoModelForSequenceClassification

PAIRS, RESAMPLES, CALIBRATION = 150, 1000, 300
OPTIONS = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
ADVANCED = nncf.AdvancedCompressionParameters(group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST)
Batch = dict[str, Any]
Run = Callable[[Batch], Any]


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds sentences to ONNX Runtime's calibration."""

    def __init__(self, batches: list[Batch]) -> None:
        self._left = iter(batches)

    def get_next(self) -> Batch | None:
        return next(self._left, None)


class Bench:
    """What every model is measured on, and the recipes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        data = json.loads((folder / "given.json").read_text())
        self.given, self.rows, self.request = data["given"], data["rows"], as_batch(data["request"])
        self.calibration = batches_of(data["calibration"])
        self.module = AutoModelForSequenceClassification.from_pretrained(folder / "dense").eval()
        self.dense = self.converted()
        self.reference = openvino_run(self.dense)

    def converted(self) -> ov.Model:
        """Return the dense model in OpenVINO."""
        example = {name: torch.from_numpy(value) for name, value in self.calibration[0].items()}
        with torch.no_grad():
            model = ov.convert_model(self.module, example_input=example)
        for port in model.inputs:
            port.get_node().set_partial_shape(ov.PartialShape([-1, -1]))
        model.validate_nodes_and_infer_types()
        return model

    def measure(self, name: str, size: int, run: Run, rows: list[Batch], request: Batch) -> None:
        """Write size, latency ratio with interval, and predictions of one model."""
        predictions = [
            int(np.asarray(run(as_batch({key: [row[key]] for key in row}))).reshape(-1).argmax()) for row in rows
        ]
        times: tuple[list[float], list[float]] = ([], [])
        rng = np.random.default_rng(0)
        both = ((run, request), (self.reference, self.request))
        for _ in range(PAIRS):
            for which in rng.permutation(2):
                call, batch = both[which]
                call(batch)
                start = time.perf_counter()
                call(batch)
                times[which].append(time.perf_counter() - start)
        own, dense = (np.array(values) for values in times)
        picks = rng.integers(0, PAIRS, size=(RESAMPLES, PAIRS))
        ratios = np.median(dense[picks], axis=1) / np.median(own[picks], axis=1)
        found = {
            "size": size,
            "speed": float(np.median(dense) / np.median(own)),
            "interval": np.quantile(ratios, [0.025, 0.975]).tolist(),
            "predictions": predictions,
        }
        (self.folder / "figures" / f"{name}.json").write_text(json.dumps(found))
        print(f"{name}: {size / 1e6:.2f} MB, {found['speed']:.2f} times as fast", file=sys.stderr, flush=True)

    def openvino(self, name: str, model: ov.Model, entry: dict[str, Any] | None = None) -> None:
        """Save and measure an OpenVINO model, on the dense model's texts or on those of an entry."""
        path = self.folder / "models" / name / "model.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        ov.save_model(model, path, compress_to_fp16=False)
        rows, request = (entry["rows"], as_batch(entry["request"])) if entry else (self.rows, self.request)
        self.measure(name, bytes_of(path.parent), openvino_run(path), rows, request)

    def recipes(self) -> Iterator[tuple[str, Callable[[str], None]]]:
        """Yield each model's name and what makes and measures it."""
        yield "OpenVINO, dense fp32", lambda name: self.openvino(name, self.dense)
        yield "NNCF post-training int8", lambda name: self.openvino(name, self.quantized(self.dense))
        yield "NNCF weights int8", lambda name: self.openvino(name, int8(self.dense))
        yield "NNCF weights int4", lambda name: self.openvino(name, int4(self.dense))
        yield "ONNX Runtime dynamic int8", self.onnx_dynamic
        yield "ONNX Runtime static int8", self.onnx_static
        for entry in self.given:
            if entry["kind"] == "ours":
                yield entry["name"], partial(self.ours, entry=entry)
            else:
                for title, compress in (("int8", self.quantized), ("weights int8", int8), ("weights int4", int4)):
                    yield f"{entry['name']}, NNCF {title}", partial(self.pruned, entry=entry, compress=compress)
        # The slowest by far.
        yield "torchao dynamic int8", self.torchao

    def pruned(self, name: str, entry: dict[str, Any], compress: Callable[..., ov.Model]) -> None:
        """Compress and measure a model that was pruned and distilled, on texts as its own tokenizer reads them."""
        model = ov.Core().read_model(entry["xml"])
        made = compress(model, batches_of(entry["calibration"])) if compress == self.quantized else compress(model)
        self.openvino(name, made, entry)

    def ours(self, name: str, entry: dict[str, Any]) -> None:
        """Measure a model as it was given."""
        folder = Path(entry["folder"])
        manifest = json.loads((folder / "manifest.json").read_text())
        size = sum(file["bytes"] for file in manifest["files"].values())
        if entry["runtime"] == "onnxruntime":
            run = onnx_run(folder / "model.onnx")
        else:
            run = infer(ov.compile_model(str(folder / "openvino_model.xml"), "CPU", manifest["options"]))
        self.measure(name, size, run, entry["rows"], as_batch(entry["request"]))

    def quantized(self, model: ov.Model, calibration: list[Batch] | None = None) -> ov.Model:
        read = calibration or self.calibration
        return nncf.quantize(model, nncf.Dataset(read), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(read))

    def onnx(self) -> Path:
        """Return the dense model in ONNX, prepared for quantization."""
        path = self.folder / "models" / "onnx" / "prepared.onnx"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            example = {name: torch.from_numpy(value).repeat(2, 1) for name, value in self.calibration[0].items()}
            dynamic = {name: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for name in example}
            torch.onnx.export(
                self.module,
                (),
                path.with_name("raw.onnx"),
                kwargs=example,
                dynamo=True,
                dynamic_shapes=dynamic,
                external_data=False,
            )
            # Its symbolic shape inference does not get through this graph, and need not.
            quant_pre_process(path.with_name("raw.onnx"), path, skip_symbolic_shape=True)
        return path

    def onnx_dynamic(self, name: str) -> None:
        path = self.folder / "models" / name / "model.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        quantize_dynamic(self.onnx(), path, per_channel=True)
        self.measure(name, bytes_of(path.parent), onnx_run(path), self.rows, self.request)

    def onnx_static(self, name: str) -> None:
        path = self.folder / "models" / name / "model.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        quantize_static(self.onnx(), path, Reader(self.calibration[:100]), per_channel=True)
        self.measure(name, bytes_of(path.parent), onnx_run(path), self.rows, self.request)

    def torchao(self, name: str) -> None:
        path = self.folder / "models" / name / "model.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        module = copy.deepcopy(self.module)
        quantize_(module, Int8DynamicActivationInt8WeightConfig())
        torch.save(module.state_dict(), path)

        def run(batch: Batch) -> Any:
            with torch.no_grad():
                return module(**{key: torch.from_numpy(value) for key, value in batch.items()}).logits.numpy()

        self.measure(name, bytes_of(path.parent), run, self.rows, self.request)


def as_batch(columns: dict[str, Any]) -> Batch:
    return {name: np.array(values, dtype=np.int64) for name, values in columns.items()}


def batches_of(rows: list[Batch]) -> list[Batch]:
    """Return the sentences that calibrate, one by one."""
    return [as_batch({name: [row[name]] for name in row}) for row in rows[:CALIBRATION]]


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def int8(model: ov.Model) -> ov.Model:
    return nncf.compress_weights(model.clone(), mode=nncf.CompressWeightsMode.INT8_ASYM)


def int4(model: ov.Model) -> ov.Model:
    return nncf.compress_weights(
        model.clone(),
        mode=nncf.CompressWeightsMode.INT4_ASYM,
        group_size=64,
        all_layers=True,
        ratio=1.0,
        advanced_parameters=ADVANCED,
    )


def infer(compiled: ov.CompiledModel) -> Run:
    request = compiled.create_infer_request()
    return lambda batch: request.infer(batch)[0]


def openvino_run(model: ov.Model | Path) -> Run:
    return infer(ov.compile_model(model, "CPU", {**OPTIONS, "INFERENCE_PRECISION_HINT": "f32"}))


def onnx_run(path: Path) -> Run:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    known = {port.name for port in session.get_inputs()}
    return lambda batch: session.run(None, {name: value for name, value in batch.items() if name in known})[0]


def main() -> None:
    torch.set_num_threads(1)
    bench = Bench(Path(sys.argv[1]))
    (bench.folder / "figures").mkdir(exist_ok=True)
    for name, make in bench.recipes():
        if not (bench.folder / "figures" / f"{name}.json").is_file():
            shutil.rmtree(bench.folder / "models" / name, ignore_errors=True)
            make(name)


if __name__ == "__main__":
    main()
