"""Quantizers: how a weight matrix becomes integer codes."""

from slimfront.spaces.quantizers.quantizer import QUANTIZERS, Quantizer

__all__ = ["QUANTIZERS", "Quantizer"]
