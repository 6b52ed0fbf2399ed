"""Ray Tune as an engine, and our trainable for its own search algorithms."""

from slimfront.search.engines.raytune.engine import RayTune

__all__ = ["RayTune"]
