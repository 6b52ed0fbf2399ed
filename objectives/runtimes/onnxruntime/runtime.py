"""The ONNX Runtime target: export once, then put parameters, widths and packed codes in per configuration."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from slimfront.objectives.runtimes.onnxruntime.execution import kernel_of
from slimfront.objectives.runtimes.runtime import RUNTIMES, Runtime, compared, require_cpu, unclear, without
from slimfront.objectives.sessions.onnxruntime import session
from slimfront.studies.cache import cached
from slimfront.studies.compressed import Capabilities, CompressedModel, Cut, Form, Removal
from slimfront.studies.errors import MissingError
from slimfront.studies.schema import TargetSpec
from torch import nn

if TYPE_CHECKING:
    from slimfront.objectives.runtimes.onnxruntime.blueprint import OnnxBlueprint

# Counted up when the template's form changes: templates in the cache are then made anew.
TEMPLATE_VERSION = 3
REMOVABLE = "blocks.json"


@RUNTIMES.register("onnxruntime")
class OnnxRuntime(Runtime):
    """ONNX Runtime on the CPU.

    8-bit matrices with one scale a row are multiplied in integers (``DynamicQuantizeMatMul``), other codes block by
    block (``MatMulNBits``, ``GatherBlockQuantized``); all of them stand in one file.
    """

    libraries = ("onnxruntime", "onnx", "onnxscript")

    def __init__(self, spec: TargetSpec) -> None:
        missing = [name for name in self.libraries if importlib.util.find_spec(name) is None]
        if missing:
            raise MissingError(
                f"{', '.join(missing)}: not installed", where="target.runtime", hint="pip install 'slimfront[onnx]'"
            )
        require_cpu(spec)
        self._threads = spec.threads

    def supports(self) -> Capabilities:
        """See :meth:`Runtime.supports`."""
        return Capabilities((2, 4, 8, 16, 32), (128, 64, 32), ("f32",))

    def mode(self, forms: Iterable[Form], precision: str) -> str:  # noqa: ARG002
        """See :meth:`Runtime.mode`: no layer's speed depends on the others."""
        return precision

    def kernel(self, form: Form, mode: str) -> str | None:  # noqa: ARG002
        """See :meth:`Runtime.kernel`."""
        return kernel_of(form)

    def removable(
        self, module: nn.Module, example: Mapping[str, torch.Tensor], blocks: Sequence[str], weights: str
    ) -> list[str]:
        """See :meth:`Runtime.removable`."""
        from slimfront.objectives.runtimes.onnxruntime.tracing import removable

        def build(folder: Path) -> None:
            (folder / REMOVABLE).write_text(json.dumps(removable(module, example, blocks)), encoding="utf-8")

        key = {"runtime": "onnxruntime", "weights": weights, "blocks": list(blocks), **_versions()}
        found: list[str] = json.loads((cached("removable", key, build) / REMOVABLE).read_text(encoding="utf-8"))
        return found

    def prepare(
        self,
        module: nn.Module,
        example: Mapping[str, torch.Tensor],
        cuts: Mapping[str, Cut],
        removals: Mapping[str, Removal],
        weights: str,
    ) -> OnnxBlueprint:
        """See :meth:`Runtime.prepare`."""
        from slimfront.objectives.runtimes.onnxruntime.blueprint import OnnxBlueprint
        from slimfront.objectives.runtimes.onnxruntime.template import Template
        from slimfront.objectives.runtimes.onnxruntime.tracing import trace

        def build(folder: Path) -> None:
            template = trace(module, example, cuts, list(removals))
            if template is None:
                raise unclear("the exported graph", cuts, removals)
            blueprint = OnnxBlueprint(template, cuts, self._threads)
            _check(blueprint, module, example)
            for name, removal in removals.items():
                _check(blueprint, without(module, removal), example, frozenset([name]))
            template.save(folder)

        key = {
            "weights": weights,
            "structures": sorted(cuts),
            "blocks": list(removals),
            "inputs": sorted(example),
            **_versions(),
        }
        return OnnxBlueprint(Template.load(cached("onnxruntime", key, build)), cuts, self._threads)


def _versions() -> dict[str, Any]:
    return {
        "onnxruntime": importlib.metadata.version("onnxruntime"),
        "torch": torch.__version__,
        "template": TEMPLATE_VERSION,
    }


def _check(
    blueprint: OnnxBlueprint,
    module: nn.Module,
    example: Mapping[str, torch.Tensor],
    skipped: frozenset[str] = frozenset(),
) -> None:
    """Compare the filled template with the module: a parameter or a size that was folded away would show here."""
    tensors: dict[str, Any] = {name: value.detach() for name, value in module.named_parameters()}
    loaded = session(blueprint.fill(CompressedModel(tensors, skipped=skipped)), {"threads": 1})
    for part in (example, {name: value[:1, : value.shape[1] - 1] for name, value in example.items()}):
        found = loaded.run(None, {name: value.numpy() for name, value in part.items()})[0]
        compared(found, module, part, "ONNX Runtime")
