"""OpenVINO: per-layer mixtures of bit-widths, really packed, in one file."""

from slimfront.objectives.runtimes.openvino.runtime import OpenVino

__all__ = ["OpenVino"]
