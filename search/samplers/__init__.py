"""Samplers: which configuration is next."""

from slimfront.search.samplers.sampler import SAMPLERS, Observation, Problem, Sampler

__all__ = ["SAMPLERS", "Observation", "Problem", "Sampler"]
