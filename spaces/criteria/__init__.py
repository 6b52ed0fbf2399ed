"""Criteria: which units of a structure matter least."""

from slimfront.spaces.criteria.criterion import CRITERIA, Criterion

__all__ = ["CRITERIA", "Criterion"]
