"""Packs codes into the bytes of OpenVINO's integer types (``core/type/element_iterator``, 2026)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
# Codes of one group of whole bytes, by bits.
CODES = {2: 4, 3: 8, 4: 2, 6: 4, 8: 1}


def packed_size(count: int, bits: int) -> int:
    """Return the bytes of ``count`` packed codes."""
    return -(-count // CODES[bits]) * CODES[bits] * bits // 8


def pack(codes: npt.NDArray[np.uint8], bits: int) -> Bytes:
    """Return the packed bytes of codes, each below ``2 ** bits``, row-major.

    2 and 4 bits put the first code lowest. 3 and 6 bits split each code: the low 2 (or 4) bits of 8 (or 4) codes
    fill two bytes, the first code highest, and their remaining high bits fill a third byte, the first highest.
    The last byte group is padded with zeros.
    """
    flat = codes.reshape(-1)
    if bits == 8:
        return flat.copy()
    per = CODES[bits]
    lanes: Bytes = np.zeros((-(-flat.size // per), per), dtype=np.uint8)
    lanes.reshape(-1)[: flat.size] = flat
    if bits in (2, 4):
        packed = _merge(lanes, [bits * lane for lane in range(per)])[:, None]
    elif bits == 3:
        low, high = lanes & np.uint8(3), lanes >> np.uint8(2)
        packed = np.stack(
            [
                _merge(low[:, :4], [6, 4, 2, 0]),
                _merge(low[:, 4:], [6, 4, 2, 0]),
                _merge(high, list(range(7, -1, -1))),
            ],
            1,
        )
    else:
        low, high = lanes & np.uint8(15), lanes >> np.uint8(4)
        packed = np.stack([_merge(low[:, :2], [4, 0]), _merge(low[:, 2:], [4, 0]), _merge(high, [6, 4, 2, 0])], 1)
    return np.ascontiguousarray(packed.reshape(-1))


def _merge(lanes: Bytes, shifts: list[int]) -> Bytes:
    merged: Bytes = np.zeros(len(lanes), dtype=np.uint8)
    for lane, shift in enumerate(shifts):
        merged |= lanes[:, lane] << np.uint8(shift)
    return merged
