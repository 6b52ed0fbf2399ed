"""Engines: where trials are evaluated."""

from slimfront.search.engines.engine import ENGINES, Engine

__all__ = ["ENGINES", "Engine"]
