"""Trackers: where a search can be watched beside its own records."""

from slimfront.search.trackers.tracker import TRACKERS, Tracker

__all__ = ["TRACKERS", "Tracker"]
