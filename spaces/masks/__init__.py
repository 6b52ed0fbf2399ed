"""Masks: which single weights become zero."""

from slimfront.spaces.masks.mask import MASKS, Mask
from slimfront.spaces.masks.pattern import Pattern

__all__ = ["MASKS", "Mask", "Pattern"]
