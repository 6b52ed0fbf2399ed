"""How far a search is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slimfront.search.trial import Trial

Json = dict[str, Any]


@dataclass(frozen=True)
class Progress:
    """How far a search is.

    Attributes:
        done: Trials evaluated, failures included.
        trials: Trials wanted.
        cached: Duplicates answered from the records.
        failed: Trials that failed.
        stopped: Trials that were stopped early.
        share: How much of what limits the search is spent.
        limit: What limits it: ``trials``, ``CPU budget`` or ``time``, whichever is spent most.
        remaining: Seconds that the search is still going to take, or None while that cannot be told.
        best: A line about the front.
        leaders: A few of the front's points that keep the constraints, the smallest first.
        dense: The dense model's trial, once it is complete.
        objectives: Unit and direction by objective.
        limits: The study's constraints in words.
    """

    done: int
    trials: int
    cached: int
    failed: int
    stopped: int
    share: float
    limit: str
    remaining: float | None
    best: str
    leaders: tuple[Trial, ...] = ()
    dense: Trial | None = None
    objectives: Mapping[str, Json] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
