"""Runtimes: one package per target."""

from slimfront.objectives.runtimes.runtime import RUNTIMES, Runtime, Session

__all__ = ["RUNTIMES", "Runtime", "Session"]
