"""Exports the files that PyTorch and Transformers load, and the program that loads them."""

from __future__ import annotations

from slimfront.search.export.card import Use
from slimfront.search.export.exporter import EXPORTERS
from slimfront.search.export.measured import MeasuredFiles


@EXPORTERS.register("pytorch")
class PyTorchExporter(MeasuredFiles):
    """See :class:`MeasuredFiles`."""

    format = runtime = "pytorch"
    used = Use(
        name="pytorch",
        title="PyTorch",
        versions=("safetensors",),
        imports="import sys, torch",
        load="""\
sys.path.insert(0, folder)
from load import load
model = load(folder)""",
        run="model(**{name: torch.from_numpy(batch[name]) for name in batch}).logits.float()",
    )
