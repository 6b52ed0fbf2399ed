"""OpenVINO: per-layer mixtures of bit-widths, really packed, in one file."""

from slimfront.objectives.runtimes.openvino.runtime import OpenVino
from slimfront.studies.private import keep_private

keep_private()

__all__ = ["OpenVino"]
