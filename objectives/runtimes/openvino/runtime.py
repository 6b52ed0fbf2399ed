"""The OpenVINO target: convert once, then fill in constants, widths and packed types per configuration."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from slimfront.objectives.runtimes.openvino.blueprint import OpenVinoBlueprint
from slimfront.objectives.runtimes.openvino.execution import kernel_of, mode_of
from slimfront.objectives.runtimes.openvino.template import Template
from slimfront.objectives.runtimes.openvino.tracing import removable, trace
from slimfront.objectives.runtimes.runtime import RUNTIMES, Runtime, compared, require_cpu, unclear, without
from slimfront.objectives.sessions.openvino import capabilities
from slimfront.studies.cache import cached
from slimfront.studies.compressed import Capabilities, CompressedModel, Cut, Form, Removal
from slimfront.studies.errors import MissingError
from slimfront.studies.schema import TargetSpec
from torch import nn

# Counted up when the template's form changes: templates in the cache are then made anew.
TEMPLATE_VERSION = 4
REMOVABLE = "blocks.json"
PRECISIONS = {"BF16": "bf16", "FP16": "f16"}


@RUNTIMES.register("openvino")
class OpenVino(Runtime):
    """OpenVINO on the CPU. The dense reference runs in f32, never in the library's default bf16."""

    libraries = ("openvino",)

    def __init__(self, spec: TargetSpec) -> None:
        if importlib.util.find_spec("openvino") is None:
            raise MissingError("OpenVINO is not installed", where="target.runtime", hint="pip install openvino")
        require_cpu(spec)
        self._threads = spec.threads

    def supports(self) -> Capabilities:
        """See :meth:`Runtime.supports`; u3 and u6 are packed but run at floating-point speed."""
        found = capabilities()
        precisions = tuple(name for key, name in PRECISIONS.items() if key in found)
        return Capabilities((2, 3, 4, 6, 8, 16, 32), (128, 64, 32), ("f32", *precisions), static=(8,))

    def mode(self, forms: Iterable[Form], precision: str) -> str:
        """See :meth:`Runtime.mode`."""
        return mode_of(forms, precision)

    def kernel(self, form: Form, mode: str) -> str | None:
        """See :meth:`Runtime.kernel`."""
        return kernel_of(form, mode)

    def removable(
        self, module: nn.Module, example: Mapping[str, torch.Tensor], blocks: Sequence[str], weights: str
    ) -> list[str]:
        """See :meth:`Runtime.removable`."""
        import openvino as ov

        key = {"weights": weights, "blocks": list(blocks), "openvino": ov.__version__, "template": TEMPLATE_VERSION}

        def build(folder: Path) -> None:
            (folder / REMOVABLE).write_text(json.dumps(removable(module, example, blocks)), encoding="utf-8")

        found: list[str] = json.loads((cached("removable", key, build) / REMOVABLE).read_text(encoding="utf-8"))
        return found

    def prepare(
        self,
        module: nn.Module,
        example: Mapping[str, torch.Tensor],
        cuts: Mapping[str, Cut],
        removals: Mapping[str, Removal],
        weights: str,
    ) -> OpenVinoBlueprint:
        """See :meth:`Runtime.prepare`."""
        import openvino as ov

        key = {
            "weights": weights,
            "structures": sorted(cuts),
            "blocks": list(removals),
            "inputs": sorted(example),
            "openvino": ov.__version__,
        }

        def build(folder: Path) -> None:
            template = trace(module, example, cuts, list(removals))
            if template is None:
                raise unclear("OpenVINO's graph", cuts, removals)
            blueprint = OpenVinoBlueprint(template, cuts, module, self._threads)
            _check(blueprint, module, example)
            for name, removal in removals.items():
                _check(blueprint, without(module, removal), example, frozenset([name]))
            template.save(folder)

        template = Template.load(cached("openvino", {**key, "template": TEMPLATE_VERSION}, build))
        return OpenVinoBlueprint(template, cuts, module, self._threads)


def _check(
    blueprint: OpenVinoBlueprint,
    module: nn.Module,
    example: Mapping[str, torch.Tensor],
    skipped: frozenset[str] = frozenset(),
) -> None:
    """Compare the filled template with the module: a parameter that was folded away would show here."""
    import openvino as ov

    tensors: dict[str, Any] = {name: value.detach() for name, value in module.named_parameters()}
    text, data = blueprint.fill(CompressedModel(tensors, skipped=skipped))
    graph = ov.Core().read_model(model=text.encode(), weights=ov.Tensor(data))
    compiled = ov.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled({name: value.numpy() for name, value in example.items()})[0]
    compared(found, module, example, "OpenVINO")
