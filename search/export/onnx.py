"""Exports ONNX files for ONNX Runtime."""

from __future__ import annotations

from slimfront.search.export.card import Use
from slimfront.search.export.exporter import EXPORTERS
from slimfront.search.export.measured import MeasuredFiles


@EXPORTERS.register("onnx")
class OnnxExporter(MeasuredFiles):
    """See :class:`MeasuredFiles`."""

    format, runtime = "onnx", "onnxruntime"
    used = Use(
        name="onnx",
        title="ONNX Runtime",
        versions=("onnxruntime", "onnx"),
        imports="import onnxruntime as ort",
        load="""\
model = ort.InferenceSession(f"{folder}/model.onnx", providers=["CPUExecutionProvider"])""",
        run="model.run(None, {i.name: batch[i.name] for i in model.get_inputs()})[0]",
    )
