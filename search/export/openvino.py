"""Exports OpenVINO files."""

from __future__ import annotations

from slimfront.search.export.card import Use
from slimfront.search.export.exporter import EXPORTERS
from slimfront.search.export.measured import MeasuredFiles


@EXPORTERS.register("openvino")
class OpenVinoExporter(MeasuredFiles):
    """See :class:`MeasuredFiles`."""

    format = runtime = "openvino"
    used = Use(
        name="openvino",
        title="OpenVINO",
        versions=("openvino",),
        imports="import json, openvino as ov",
        load="""\
options = json.load(open(f"{folder}/manifest.json"))["options"]
model = ov.compile_model(f"{folder}/openvino_model.xml", "CPU", options)""",
        run="model({p.get_any_name(): batch[p.get_any_name()] for p in model.inputs})[0]",
    )
