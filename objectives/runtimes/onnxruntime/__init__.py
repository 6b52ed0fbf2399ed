"""The ONNX Runtime target."""

from slimfront.objectives.runtimes.onnxruntime.runtime import OnnxRuntime

__all__ = ["OnnxRuntime"]
