"""A converted module whose constants, widths and packed types are rewritten for each configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from slimfront.objectives.runtimes.artifact import Artifact
from slimfront.objectives.runtimes.openvino.packing import pack
from slimfront.objectives.runtimes.openvino.tracing import Place, Width
from slimfront.objectives.runtimes.runtime import Blueprint
from slimfront.studies.compressed import CompressedModel, Cut, QuantizedTensor
from torch import nn

MODEL, WEIGHTS = "openvino_model.xml", "openvino_model.bin"
# Widths of the groups in which activations are quantized at run time; each must divide the weights' groups.
DYNAMIC_GROUPS = (128, 64, 32)
INTEGER_KERNELS = (2, 4, 8)
# Relative time of one multiplication, and the share of a dense request outside matrix products, as measured on
# AVX512-VNNI: they order configurations for the samplers and never reach a result.
FLOAT_COST = {"f32": 1.0, "bf16": 0.5, "f16": 0.5}
INTEGER_COST, OTHER_SHARE = 0.35, 0.2


class OpenVinoBlueprint(Blueprint):
    """See :class:`Blueprint`.

    Args:
        graph: The converted module.
        places: Where each parameter enters it.
        widths: Which constants depend on the number of units.
        cuts: The prunable structures.
        module: The dense module.
        threads: Threads of one inference.
    """

    def __init__(
        self,
        graph: Any,
        places: Mapping[str, Place],
        widths: Sequence[Width],
        cuts: Mapping[str, Cut],
        module: nn.Module,
        threads: int,
    ) -> None:
        self._graph, self._places, self._widths, self._cuts = graph, places, widths, cuts
        self._threads = threads
        tables = {f"{name}.weight" for name, part in module.named_modules() if isinstance(part, nn.Embedding)}
        shapes = {name: value.shape for name, value in module.named_parameters()}
        self._products = [name for name in places if len(shapes[name]) == 2 and name not in tables]
        self._dense_work = sum(shapes[name].numel() for name in self._products)

    def lower(self, compressed: CompressedModel, folder: Path) -> Artifact:
        """See :meth:`Blueprint.lower`."""
        import openvino as ov

        folder.mkdir(parents=True, exist_ok=True)
        graph, _alive = self.rewrite(compressed)
        ov.save_model(graph, str(folder / MODEL), compress_to_fp16=False)
        options = {
            "INFERENCE_PRECISION_HINT": compressed.precision,
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": 1,
            # Pinned threads of two processes would share one core.
            "ENABLE_CPU_PINNING": False,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": self._dynamic_group(compressed),
        }
        return Artifact.seal(folder, [MODEL, WEIGHTS], "openvino", options)

    def rewrite(self, compressed: CompressedModel) -> tuple[Any, list[Any]]:
        """Return a copy of the graph that holds ``compressed``, and the buffers that must outlive it."""
        from openvino import opset13 as op

        graph = self._graph.clone()
        nodes = {node.get_friendly_name(): node for node in graph.get_ordered_ops()}
        alive: list[Any] = []
        for name, place in self._places.items():
            output = _constant(name, compressed.tensors[name], place, alive)
            for node, port in place.ports:
                nodes[node].input(port).replace_source_output(output)
        for number, width in enumerate(self._widths):
            missing = self._cuts[width.structure].units - compressed.kept.get(
                width.structure, self._cuts[width.structure].units
            )
            if missing:
                constant = op.constant(width.at(missing))
                constant.set_friendly_name(f"width.{number}")
                nodes[width.port[0]].input(width.port[1]).replace_source_output(constant.output(0))
        graph.validate_nodes_and_infer_types()
        return graph, alive

    def cost(self, compressed: CompressedModel) -> float:
        """See :meth:`Blueprint.cost`."""
        base = FLOAT_COST[compressed.precision]
        dynamic = self._dynamic_group(compressed) > 0
        work = 0.0
        for name in self._products:
            tensor = compressed.tensors[name]
            rows, columns = tensor.shape
            integer = dynamic and isinstance(tensor, QuantizedTensor) and tensor.bits in INTEGER_KERNELS
            work += rows * columns * (min(INTEGER_COST, base) if integer else base)
        other = OTHER_SHARE * (1.0 if compressed.precision == "f32" else 0.8)
        return other + (1 - OTHER_SHARE) * work / max(self._dense_work, 1)

    def _dynamic_group(self, compressed: CompressedModel) -> int:
        """Return the width of the groups in which activations are quantized, 0 for not at all."""
        tensors = (compressed.tensors[name] for name in self._products)
        codes = [t for t in tensors if isinstance(t, QuantizedTensor) and t.bits in INTEGER_KERNELS]
        if compressed.precision != "f32" and any(tensor.bits == 2 for tensor in codes):
            # OpenVINO 2026.4 returns an empty output for 2-bit weights with quantized bf16 activations.
            return 0
        groups = [tensor.codes.shape[-1] for tensor in codes]
        return next(
            (size for size in DYNAMIC_GROUPS if all(group % size == 0 for group in groups)),
            DYNAMIC_GROUPS[-1],
        )


def _constant(name: str, tensor: torch.Tensor | QuantizedTensor, place: Place, alive: list[Any]) -> Any:
    """Return the output of the nodes that give one parameter as float32 in its graph shape."""
    from openvino import opset13 as op

    shape = _graph_shape(place, tensor.shape[::-1] if place.transposed else tensor.shape)
    if isinstance(tensor, QuantizedTensor):
        node = _named(
            op.reshape(_decompressed(name, tensor, alive), _int_constant(tensor.shape, f"{name}/rows"), False),
            f"{name}/matrix",
        )
        node = _named(op.convert(node, "f32"), f"{name}/f32")
        if place.transposed:
            node = _named(op.transpose(node, _int_constant((1, 0), f"{name}/order")), f"{name}/transposed")
        if tuple(node.output(0).get_shape()) != shape:
            node = _named(op.reshape(node, _int_constant(shape, f"{name}/shape"), False), f"{name}/reshaped")
        return node.output(0)
    value = np.ascontiguousarray((tensor.T if place.transposed else tensor).numpy()).reshape(shape)
    node = _named(op.constant(value), name)
    if value.dtype == np.float16:
        node = _named(op.convert(node, "f32"), f"{name}/f32")
    return node.output(0)


def _decompressed(name: str, tensor: QuantizedTensor, alive: list[Any]) -> Any:
    """Return ``(codes - zero_points) * scales`` as the pattern that OpenVINO's kernels read packed."""
    from openvino import opset13 as op

    codes = op.convert(_packed(f"{name}/codes", tensor.codes, tensor.bits, alive), "f16")
    zeros = op.convert(_packed(f"{name}/zero_points", tensor.zero_points, tensor.bits, alive), "f16")
    scales = _named(op.constant(tensor.scales.numpy()), f"{name}/scales")
    centred = op.subtract(_named(codes, f"{name}/codes/f16"), _named(zeros, f"{name}/zero_points/f16"))
    return _named(op.multiply(_named(centred, f"{name}/centred"), scales), f"{name}/scaled")


def _packed(name: str, codes: torch.Tensor, bits: int, alive: list[Any]) -> Any:
    import openvino as ov
    from openvino import opset13 as op

    raw = pack(codes.numpy(), bits)
    tensor = ov.Tensor(raw, list(codes.shape), getattr(ov.Type, f"u{bits}"))
    # The constant reads this memory until the graph is saved.
    alive += [raw, tensor]
    return _named(op.constant(tensor), name)


def _int_constant(values: Iterable[int], name: str) -> Any:
    from openvino import opset13 as op

    return _named(op.constant(np.array(list(values), dtype=np.int64)), name)


def _named(node: Any, name: str) -> Any:
    node.set_friendly_name(name)
    return node


def _graph_shape(place: Place, shape: Sequence[int]) -> tuple[int, ...]:
    """Return ``shape`` with the axes of one that the graph adds."""
    if len(place.shape) == len(shape):
        return tuple(shape)
    sizes = iter(shape)
    wide = [size for size in place.shape if size != 1]
    if len(wide) != len(shape):
        return (1,) * (len(place.shape) - len(shape)) + tuple(shape)
    return tuple(next(sizes) if size != 1 else 1 for size in place.shape)
