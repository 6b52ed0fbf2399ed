"""Samplers: which configuration is next."""

from slimfront.search.samplers.sampler import SAMPLERS, Observation, Sampler

__all__ = ["SAMPLERS", "Observation", "Sampler"]
