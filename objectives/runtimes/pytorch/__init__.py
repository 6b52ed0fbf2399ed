"""The PyTorch target."""

from slimfront.objectives.runtimes.pytorch.runtime import PyTorch

__all__ = ["PyTorch"]
