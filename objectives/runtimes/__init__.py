"""Runtimes: one package per target."""

from slimfront.objectives.runtimes.runtime import RUNTIMES, Runtime

__all__ = ["RUNTIMES", "Runtime"]
