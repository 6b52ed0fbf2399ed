"""The PyTorch target: a folder that torch, transformers and safetensors load, in floats or 8-bit codes."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from slimfront.objectives.runtimes.pytorch.blueprint import Attribute, PyTorchBlueprint
from slimfront.objectives.runtimes.runtime import RUNTIMES, Runtime, compared
from slimfront.objectives.runtimes.twins import Gap
from slimfront.studies.compressed import Capabilities, CompressedModel, Cut, Form, Removal
from slimfront.studies.errors import MissingError, StudyError
from slimfront.studies.schema import TargetSpec
from torch import nn


@RUNTIMES.register("pytorch")
class PyTorch(Runtime):
    """PyTorch, eager, on the CPU or on a GPU of CUDA.

    8-bit matrices run in integers on the CPU, with activations quantized as they come; a GPU runs floats.
    """

    libraries = ("torch", "safetensors")

    def __init__(self, spec: TargetSpec) -> None:
        if spec.device == "cuda" and not torch.cuda.is_available():
            raise MissingError(
                "this machine has no GPU that PyTorch can use", where="target.device", hint="choose the device cpu"
            )
        self._options: dict[str, Any] = {"threads": spec.threads, "device": spec.device}

    def supports(self) -> Capabilities:
        """See :meth:`Runtime.supports`."""
        if self._options["device"] == "cuda":
            return Capabilities((16, 32), (), ("f32", "bf16", "f16"))
        return Capabilities((8, 16, 32), (), ("f32", "bf16") if torch.cpu._is_avx512_bf16_supported() else ("f32",))

    def mode(self, forms: Iterable[Form], precision: str) -> str:  # noqa: ARG002
        """See :meth:`Runtime.mode`: no layer's speed depends on the others."""
        return precision

    def kernel(self, form: Form, mode: str) -> str | None:
        """See :meth:`Runtime.kernel`."""
        return f"{mode}/u8" if form.bits == 8 else mode

    def removable(
        self,
        module: nn.Module,  # noqa: ARG002
        example: Mapping[str, torch.Tensor],  # noqa: ARG002
        blocks: Sequence[str],
        weights: str,  # noqa: ARG002
    ) -> list[str]:
        """See :meth:`Runtime.removable`: what the module itself can do without."""
        return list(blocks)

    def prepare(
        self,
        module: nn.Module,
        example: Mapping[str, torch.Tensor],
        cuts: Mapping[str, Cut],
        removals: Mapping[str, Removal],
        weights: str,  # noqa: ARG002
    ) -> PyTorchBlueprint:
        """See :meth:`Runtime.prepare`; nothing is converted."""
        import transformers

        known = getattr(transformers, type(module).__name__, None) is type(module)
        if not known or not isinstance(module, transformers.PreTrainedModel):
            raise StudyError(
                "the target cannot convert this model",
                where="target.runtime",
                given=type(module).__name__,
                allowed="a class of Transformers: its files are made of a configuration and weights",
                hint="choose the runtime openvino or onnxruntime",
            )
        gaps = dict(_gaps(module, cuts))
        blueprint = PyTorchBlueprint(module, cuts, _wrapped(module, example, list(removals)), gaps, self._options)
        with tempfile.TemporaryDirectory() as folder:
            tensors: dict[str, Any] = {name: value.detach() for name, value in module.named_parameters()}
            artifact = blueprint.lower(CompressedModel(tensors), Path(folder))
            batch = {name: value.numpy() for name, value in example.items()}
            compared(self.load(artifact).run(batch), module, example, "the loaded folder")
        return blueprint


def _gaps(module: nn.Module, cuts: Mapping[str, Cut]) -> Iterator[tuple[Attribute, Gap]]:
    """Yield every number of a module that depends on a width: those that differ once a unit is gone."""
    before = {path: _numbers(part) for path, part in module.named_modules()}
    for name, cut in cuts.items():
        twin = copy.deepcopy(module)
        cut.remove_last(twin)
        for path, part in twin.named_modules():
            for attribute, number in _numbers(part).items():
                dense = before[path][attribute]
                if number != dense:
                    yield (path, attribute), Gap(name, dense, dense - number)


def _numbers(part: nn.Module) -> dict[str, int]:
    return {name: value for name, value in vars(part).items() if isinstance(value, int) and not isinstance(value, bool)}


def _wrapped(module: nn.Module, example: Mapping[str, torch.Tensor], blocks: Sequence[str]) -> dict[str, bool]:
    """Return for each block whether it gives its output in a tuple."""
    found: dict[str, bool] = {}
    handles = [
        module.get_submodule(name).register_forward_hook(
            lambda _part, _args, output, name=name: found.update({name: isinstance(output, tuple)})
        )
        for name in blocks
    ]
    try:
        with torch.no_grad():
            module(**example)
    finally:
        for handle in handles:
            handle.remove()
    return found
