"""Packs codes as ONNX Runtime's kernels read them: the first code of a byte lowest, blocks of codes along the rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from slimfront.studies.compressed import QuantizedTensor

Array = npt.NDArray[np.uint8]


def packed_size(count: int, bits: int) -> int:
    """Return the bytes of ``count`` packed codes."""
    return -(-count * bits // 8)


def pack(codes: Array, bits: int) -> Array:
    """Return codes packed along the last axis, which is filled up with zeros to whole bytes."""
    per = 8 // bits
    lanes = np.zeros((*codes.shape[:-1], packed_size(codes.shape[-1], bits) * per), dtype=np.uint8)
    lanes[..., : codes.shape[-1]] = codes
    packed = np.zeros((*lanes.shape[:-1], lanes.shape[-1] // per), dtype=np.uint8)
    for lane in range(per):
        packed |= lanes[..., lane::per] << np.uint8(bits * lane)
    return packed


def in_blocks(tensor: QuantizedTensor, block: int, whole: bool) -> list[Array]:
    """Return the bytes of codes, scales (float16) and zero points by row and block.

    A group wider than a block gives all its blocks the same scale and zero point.

    Args:
        tensor: ``(rows, columns)``, in groups that are multiples of ``block``, or one group a row.
        block: Codes that share a scale.
        whole: Whether the last block is filled up.
    """
    rows, columns = tensor.shape
    blocks = -(-columns // block)
    group = np.arange(blocks) * block // tensor.codes.shape[-1]
    codes: Array = tensor.codes.numpy().reshape(rows, columns)
    if whole:
        padded = np.zeros((rows, blocks * block), dtype=np.uint8)
        padded[:, :columns] = codes
        codes = padded.reshape(rows, blocks, block)
    scales = np.ascontiguousarray(tensor.scales.numpy()[:, group, 0])
    zeros = pack(tensor.zero_points.numpy()[:, group, 0], tensor.bits)
    return [pack(codes, tensor.bits).reshape(-1), scales.reshape(-1).view(np.uint8), zeros.reshape(-1)]


def in_columns(tensor: QuantizedTensor) -> list[Array]:
    """Return the bytes of 8-bit codes turned to ``(columns, rows)``, of scales (float16) and zero points by row."""
    codes = np.ascontiguousarray(tensor.codes.numpy().reshape(tensor.shape).T)
    scales = np.ascontiguousarray(tensor.scales.numpy()).reshape(-1).view(np.uint8)
    return [codes.reshape(-1), scales, np.ascontiguousarray(tensor.zero_points.numpy()).reshape(-1)]
