"""Preparations that time layers and models only briefly: what most tests assert does not depend on how well.

Processes share what they have timed. Tables as a user gets them are made by what runs as a process of its own: the
searches of tests/test_readme.py.
"""

from __future__ import annotations

import pytest
from slimfront.search.prediction import probes, timing

BRIEF = {timing: {"ROUNDS": 1, "PATIENT": 0.0}, probes: {"MOST": 1, "PATIENT": 0.0}}
USUAL = {module: {name: getattr(module, name) for name in values} for module, values in BRIEF.items()}


def hurry(patch: pytest.MonkeyPatch) -> None:
    """Time briefly from now on."""
    _set(patch, BRIEF)


def take_time(patch: pytest.MonkeyPatch) -> None:
    """Time as a user's search does."""
    _set(patch, USUAL)


def _set(patch: pytest.MonkeyPatch, values: dict[object, dict[str, float]]) -> None:
    for module, constants in values.items():
        for name, value in constants.items():
            patch.setattr(module, name, value)
