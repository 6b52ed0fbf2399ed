"""Compressions as the libraries' own documentation tells one to make them, measured beside given OpenVINO models.

It stands alone (no import of slimfront) and is run in an environment of its own, which has NNCF, ONNX Runtime and
torchao. All models read the same held-out sentences and answer the same request, one thread, one sentence at a time;
latency is a ratio to the dense OpenVINO model in randomly interleaved runs, taken before anything is read.

Usage: ``python by_hand.py FOLDER`` with the folder that :mod:`tests.benchmarks.recipes` writes. One file of figures for
each model; those that are there already are not measured again. Each is made in one process and measured in another,
for a process in which many models have read many sentences runs small ones some 5 % slower.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
DENSE = "OpenVINO, dense fp32"
OPTIONS = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
ADVANCED = nncf.AdvancedCompressionParameters(group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST)
Batch = dict[str, Any]
Run = Callable[[Batch], Any]
# What makes a model's files, and what loads them.
Recipe = tuple[str, Callable[[], None], Callable[[], "Loaded"]]


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds sentences to ONNX Runtime's calibration."""

    def __init__(self, batches: list[Batch]) -> None:
        self._left = iter(batches)

    def get_next(self) -> Batch | None:
        return next(self._left, None)


@dataclass(frozen=True)
class Loaded:
    """A model that is measured.

    Attributes:
        size: Its bytes.
        run: Answers a batch.
        rows: The held-out sentences, as its tokenizer reads them.
        request: The request whose latency is measured.
    """

    size: int
    run: Run
    rows: list[Batch]
    request: Batch


class Bench:
    """What every model is measured on, and the recipes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        data = json.loads((folder / "given.json").read_text())
        self.given, self.rows, self.request = data["given"], data["rows"], as_batch(data["request"])
        self.calibration = batches_of(data["calibration"])
        self.module = AutoModelForSequenceClassification.from_pretrained(folder / "dense").eval()

    def path(self, name: str, file: str = "model.xml") -> Path:
        """Return where a model's file is; its folder is there."""
        path = self.folder / "models" / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def converted(self) -> ov.Model:
        """Return the dense model in OpenVINO."""
        example = {name: torch.from_numpy(value) for name, value in self.calibration[0].items()}
        with torch.no_grad():
            model = ov.convert_model(self.module, example_input=example)
        for port in model.inputs:
            port.get_node().set_partial_shape(ov.PartialShape([-1, -1]))
        model.validate_nodes_and_infer_types()
        return model

    def measure(self, name: str, model: Loaded) -> None:
        """Write size, latency ratio with interval, and predictions of one model."""
        times: tuple[list[float], list[float]] = ([], [])
        rng = np.random.default_rng(0)
        both = ((model.run, model.request), (openvino_run(self.path(DENSE)), self.request))
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
        answers = [model.run(as_batch({key: [row[key]] for key in row})) for row in model.rows]
        found = {
            "size": model.size,
            "speed": float(np.median(dense) / np.median(own)),
            "interval": np.quantile(ratios, [0.025, 0.975]).tolist(),
            "predictions": [int(np.asarray(answer).reshape(-1).argmax()) for answer in answers],
        }
        (self.folder / "figures" / f"{name}.json").write_text(json.dumps(found))
        print(f"{name}: {model.size / 1e6:.2f} MB, {found['speed']:.2f} times as fast", file=sys.stderr, flush=True)

    def recipes(self) -> Iterator[Recipe]:
        """Yield each model's name, what makes it and what loads it."""
        yield self.openvino(DENSE, self.converted)
        dense = partial(read_model, self.path(DENSE))
        yield self.openvino("NNCF post-training int8", lambda: self.quantized(dense()))
        yield self.openvino("NNCF weights int8", lambda: int8(dense()))
        yield self.openvino("NNCF weights int4", lambda: int4(dense()))
        for title, quantize in (("dynamic", self.onnx_dynamic), ("static", self.onnx_static)):
            name = f"ONNX Runtime {title} int8"
            yield name, partial(quantize, self.path(name, "model.onnx")), partial(self.onnx_loaded, name)
        for entry in self.given:
            if entry["kind"] == "ours":
                yield entry["name"], lambda: None, partial(self.ours, entry)
            else:
                yield from self.pruned(entry)
        # The slowest by far.
        name = "torchao dynamic int8"
        yield name, partial(self.torchao, name), partial(self.torchao_loaded, name)

    def openvino(self, name: str, make: Callable[[], ov.Model], entry: dict[str, Any] | None = None) -> Recipe:
        """Return an OpenVINO recipe, measured on the dense model's texts or on those of an entry."""

        def save() -> None:
            ov.save_model(make(), self.path(name), compress_to_fp16=False)

        def load() -> Loaded:
            rows, request = (entry["rows"], as_batch(entry["request"])) if entry else (self.rows, self.request)
            return Loaded(bytes_of(self.path(name).parent), openvino_run(self.path(name)), rows, request)

        return name, save, load

    def pruned(self, entry: dict[str, Any]) -> Iterator[Recipe]:
        """Yield the recipes on a model that was pruned and distilled, on texts as its own tokenizer reads them."""
        model, calibration = partial(read_model, entry["xml"]), batches_of(entry["calibration"])
        yield self.openvino(f"{entry['name']}, NNCF int8", lambda: self.quantized(model(), calibration), entry)
        yield self.openvino(f"{entry['name']}, NNCF weights int8", lambda: int8(model()), entry)
        yield self.openvino(f"{entry['name']}, NNCF weights int4", lambda: int4(model()), entry)

    def ours(self, entry: dict[str, Any]) -> Loaded:
        """Load a model as it was given."""
        folder = Path(entry["folder"])
        manifest = json.loads((folder / "manifest.json").read_text())
        size = sum(file["bytes"] for file in manifest["files"].values())
        if entry["runtime"] == "onnxruntime":
            run = onnx_run(folder / "model.onnx")
        else:
            run = infer(ov.compile_model(str(folder / "openvino_model.xml"), "CPU", manifest["options"]))
        return Loaded(size, run, entry["rows"], as_batch(entry["request"]))

    def quantized(self, model: ov.Model, calibration: list[Batch] | None = None) -> ov.Model:
        read = calibration or self.calibration
        return nncf.quantize(model, nncf.Dataset(read), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(read))

    def onnx(self) -> Path:
        """Return the dense model in ONNX, prepared for quantization."""
        path = self.path("onnx", "prepared.onnx")
        if not path.is_file():
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

    def onnx_dynamic(self, path: Path) -> None:
        quantize_dynamic(self.onnx(), path, per_channel=True)

    def onnx_static(self, path: Path) -> None:
        quantize_static(self.onnx(), path, Reader(self.calibration[:100]), per_channel=True)

    def onnx_loaded(self, name: str) -> Loaded:
        path = self.path(name, "model.onnx")
        return Loaded(bytes_of(path.parent), onnx_run(path), self.rows, self.request)

    def torchao(self, name: str) -> None:
        quantize_(self.module, Int8DynamicActivationInt8WeightConfig())
        torch.save(self.module.state_dict(), self.path(name, "model.pt"))

    def torchao_loaded(self, name: str) -> Loaded:
        quantize_(self.module, Int8DynamicActivationInt8WeightConfig())

        def run(batch: Batch) -> Any:
            with torch.no_grad():
                return self.module(**{key: torch.from_numpy(value) for key, value in batch.items()}).logits.numpy()

        return Loaded(bytes_of(self.path(name).parent), run, self.rows, self.request)


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


def openvino_run(path: Path) -> Run:
    return infer(ov.compile_model(path, "CPU", {**OPTIONS, "INFERENCE_PRECISION_HINT": "f32"}))


def read_model(path: str | Path) -> ov.Model:
    return ov.Core().read_model(path)


def onnx_run(path: Path) -> Run:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    known = {port.name for port in session.get_inputs()}
    return lambda batch: session.run(None, {name: value for name, value in batch.items() if name in known})[0]


def apart(work: Callable[[], None]) -> None:
    """Do some work in a process of its own, with all that this one has imported and read.

    Raises:
        SystemExit: the work failed.
    """
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(status)
    if os.waitpid(child, 0)[1]:
        sys.exit(1)


def main() -> None:
    torch.set_num_threads(1)
    bench = Bench(Path(sys.argv[1]))
    (bench.folder / "figures").mkdir(exist_ok=True)
    for name, make, load in bench.recipes():
        if not (bench.folder / "figures" / f"{name}.json").is_file():
            apart(make)
            apart(lambda name=name, load=load: bench.measure(name, load()))  # type: ignore[misc]


if __name__ == "__main__":
    main()
