"""Quantizers against what others wrote: torchao's round-to-nearest, and the authors' own half-quadratic iteration."""

from __future__ import annotations

import pytest
import torch
from hqq.core.optimize import optimize_weights_proximal_legacy
from slimfront.spaces.quantizers import hqq
from slimfront.spaces.quantizers.affine import Affine
from torchao.quantization.quant_primitives import MappingType, choose_qparams_affine, quantize_affine

ROWS, COLUMNS = 24, 256


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("group", [32, 64, 128, 256])
def test_codes_are_those_of_torchao(bits: int, group: int) -> None:
    weight = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(bits * group)) * 0.05
    found, top = Affine().quantize(weight, bits, group), 2**bits - 1
    scales, zero_points = choose_qparams_affine(
        weight, MappingType.ASYMMETRIC, (1, group), torch.uint8, 0, top, eps=1e-8, scale_dtype=torch.float32
    )
    own = found.scales[:, :, 0]
    # Targets hold scales in half precision.
    assert torch.allclose(own.float(), scales.reshape(own.shape), rtol=2**-10)
    exact = weight.reshape(found.codes.shape) / found.scales.float()
    near_half = (exact % 1 - 0.5).abs() < 1e-3
    assert ((found.zero_points[:, :, 0].int() - zero_points.reshape(own.shape)).abs() <= 1).all()
    theirs = quantize_affine(
        weight, (1, group), own.float(), found.zero_points[:, :, 0].int(), torch.uint8, 0, top
    ).reshape(found.codes.shape)
    assert ((theirs == found.codes) | near_half).all() and near_half.float().mean() < 0.02


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_zero_points_move_as_the_authors_move_them(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # The paper lets the weight of the quadratic term grow, and so do we; this version of the library does not.
    monkeypatch.setattr(hqq, "GROWTH", 1.0)
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(bits)) ** 3
    for row in weight:
        low, high = row.min(), row.max()
        scale = (high - low) / (2**bits - 1)
        start = -low / scale
        found = hqq.zero_point(row.reshape(1, 1, -1), scale.reshape(1, 1, 1), start.reshape(1, 1, 1), bits)
        _codes, _scale, theirs = optimize_weights_proximal_legacy(
            row.reshape(1, -1), (1 / scale).reshape(1, 1), start.reshape(1, 1), [0, 2**bits - 1], axis=1
        )
        assert found.item() == pytest.approx(theirs.item(), abs=1e-5 * 2**bits)
