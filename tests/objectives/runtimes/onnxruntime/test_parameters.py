"""Codes of every width as ONNX Runtime's kernels read them, on matrices whose rows fill neither blocks nor bytes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from slimfront.objectives.runtimes.onnxruntime.parameters import Feed, Use, payload, write
from slimfront.objectives.runtimes.onnxruntime.template import IR_VERSION, joined
from slimfront.objectives.sessions.onnxruntime import session
from slimfront.spaces.quantizers.affine import Affine
from slimfront.studies.compressed import Form

IDS = np.array([[0, 3], [2, 2]])


def run(feed: Feed, tensor: object, read: dict[str, np.ndarray]) -> np.ndarray:
    """Return what a graph of nothing but one parameter's nodes computes."""
    written = write("w", Form.of(tensor), feed)  # type: ignore[arg-type]
    encoded = joined(written.pieces, iter(payload(tensor, feed))) + b"".join(written.nodes)  # type: ignore[arg-type]
    assert written.size == len(encoded)
    graph = onnx.GraphProto.FromString(encoded)
    graph.name = "g"
    kinds = {"x": onnx.TensorProto.FLOAT, "ids": onnx.TensorProto.INT64}
    graph.input.extend(
        onnx.helper.make_tensor_value_info(name, kinds[name], value.shape) for name, value in read.items()
    )
    graph.output.append(onnx.helper.make_tensor_value_info("w" if feed.whole else "y", onnx.TensorProto.FLOAT, None))
    opsets = [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("com.microsoft", 1)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    found: np.ndarray = session(model.SerializeToString(), {"threads": 1}).run(None, read)[0]
    return found


@pytest.mark.parametrize("columns", [37, 42, 90, 96, 100, 128, 129])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_codes_are_read_as_they_were_written(bits: int, columns: int) -> None:
    generator = torch.Generator().manual_seed(columns)
    weight = torch.randn(5, columns, generator=generator)
    for group in {columns, 32} if columns % 32 == 0 else {columns}:
        tensor = Affine().quantize(weight, bits, group)
        values = tensor.dequantize().numpy()
        rows = Feed(False, (5, columns), (Use("ids", "y"),), False)
        assert np.array_equal(run(rows, tensor, {"ids": IDS}), values[IDS])
        for transposed in (False, True):
            shape = (columns, 5) if transposed else (5, columns)
            whole = run(Feed(transposed, shape, (), True), tensor, {})
            assert np.array_equal(whole, values.T if transposed else values)
        x = torch.randn(7, columns, generator=generator).numpy()
        product = run(Feed(True, (columns, 5), (Use("x", "y"),), False), tensor, {"x": x})
        # Activations are rounded to 8 bits.
        assert np.abs(product - x @ values.T).max() < 0.03 * np.abs(x).max() * np.abs(values).sum(axis=1).max() / 10


@pytest.mark.parametrize("half", [False, True])
def test_floats_are_read_as_they_were_written(half: bool) -> None:
    weight = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    tensor = weight.half() if half else weight
    rows = Feed(False, (5, 6), (Use("ids", "y"),), False)
    assert np.array_equal(run(rows, tensor, {"ids": IDS}), tensor.float().numpy()[IDS])
    x = np.ones((2, 6), dtype=np.float32)
    product = run(Feed(True, (6, 5), (Use("x", "y"),), False), tensor, {"x": x})
    assert np.allclose(product, x @ tensor.float().numpy().T, atol=1e-5)
