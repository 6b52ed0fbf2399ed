from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slimfront.objectives.runtimes.openvino.packing import pack


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
@settings(max_examples=8, deadline=None)
@given(rows=st.integers(1, 5), columns=st.integers(1, 13), seed=st.integers(0, 99))
def test_openvino_reads_what_was_packed(bits: int, rows: int, columns: int, seed: int) -> None:
    import openvino as ov
    from openvino import opset13 as op

    codes = np.random.default_rng(seed).integers(0, 2**bits, (rows, columns)).astype(np.uint8)
    raw = pack(codes, bits)
    tensor = ov.Tensor(raw, [rows, columns], getattr(ov.Type, f"u{bits}"))
    zero = op.parameter([1], ov.Type.f32)
    model = ov.Model([op.add(op.convert(op.constant(tensor), "f32"), zero)], [zero])
    found = ov.compile_model(model, "CPU")([np.zeros(1, dtype=np.float32)])[0]
    assert (found == codes).all()
