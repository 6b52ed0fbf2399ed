"""How to look: launch a search, inspect its front, export a point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slimfront.search.front import Front, Point
    from slimfront.search.launching import launch
    from slimfront.search.run import Run

__all__ = ["Front", "Point", "Run", "launch"]


def __getattr__(name: str) -> Any:
    """Import the public names on first use, so that the command line answers at once."""
    import importlib

    homes = {"launch": "launching", "Run": "run", "Front": "front", "Point": "front"}
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"slimfront.search.{homes[name]}"), name)
