"""Axes: one file per way in which a model may change."""

from slimfront.spaces.axes.axis import AXES, Axis

__all__ = ["AXES", "Axis"]
