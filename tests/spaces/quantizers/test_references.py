"""Quantizers against what others wrote: ONNX Runtime rounds to nearest, hqq's authors move zero points."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnxruntime.capi import _pybind_state as onnxruntime
from slimfront.spaces.quantizers import hqq
from slimfront.spaces.quantizers.affine import Affine

ROWS, COLUMNS = 24, 256
AUTHORS = Path(sys.prefix) / "references" / "hqq" / "core" / "optimize.py"


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("group", [32, 64, 128])
def test_codes_are_those_of_onnx_runtime(bits: int, group: int) -> None:
    generator, groups, top = torch.Generator().manual_seed(bits * group), COLUMNS // group, 2**bits - 1
    weight = torch.randn(ROWS, groups, group, generator=generator)
    # Ranges from a negative number of steps to a positive one, steps that half precision holds: both sides must agree.
    steps = torch.randint(1, top, (ROWS, groups, 1), generator=generator)
    weight = (weight - weight.amin(-1, keepdim=True)) / (weight.amax(-1, keepdim=True) - weight.amin(-1, keepdim=True))
    weight = ((weight * top - steps) / 64).reshape(ROWS, COLUMNS)
    found = Affine().quantize(weight, bits, group)
    codes = np.zeros((ROWS, groups, group * bits // 8), dtype=np.uint8)
    scales = np.zeros(ROWS * groups, dtype=np.float32)
    points = np.zeros((ROWS, (groups * bits + 7) // 8), dtype=np.uint8)
    theirs: Any = getattr(onnxruntime, f"quantize_matmul_{bits}bits")
    theirs(codes, np.ascontiguousarray(weight.T.numpy()), scales, points, group, ROWS, COLUMNS, False)
    assert torch.equal(found.scales.float().flatten(), torch.from_numpy(scales))
    assert np.array_equal(found.zero_points[:, :, 0].numpy(), unpacked(points, bits)[:, :groups])
    near_half = ((weight.reshape(found.codes.shape) * 64) % 1 - 0.5).abs() < 1e-4
    assert ((found.codes == torch.from_numpy(unpacked(codes, bits))) | near_half).all() and near_half.sum() < 10


def unpacked(data: np.ndarray[Any, np.dtype[np.uint8]], bits: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the codes in some bytes, the lowest first, along the last axis."""
    parts = [(data >> shift) & (2**bits - 1) for shift in range(0, 8, bits)]
    return np.stack(parts, axis=-1).reshape(*data.shape[:-1], -1).astype(np.uint8)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_zero_points_move_as_the_authors_move_them(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # The paper lets the weight of the quadratic term grow, and so do we; this version of the library does not.
    monkeypatch.setattr(hqq, "GROWTH", 1.0)
    spec = importlib.util.spec_from_file_location("authors", AUTHORS)
    assert spec and spec.loader
    authors = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(authors)
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(bits)) ** 3
    for row in weight:
        low, high = row.min(), row.max()
        scale = (high - low) / (2**bits - 1)
        start = -low / scale
        found = hqq.zero_point(row.reshape(1, 1, -1), scale.reshape(1, 1, 1), start.reshape(1, 1, 1), bits)
        _codes, _scale, theirs = authors.optimize_weights_proximal_legacy(
            row.reshape(1, -1), (1 / scale).reshape(1, 1), start.reshape(1, 1), [0, 2**bits - 1], axis=1
        )
        assert found.item() == pytest.approx(theirs.item(), abs=1e-5 * 2**bits)
