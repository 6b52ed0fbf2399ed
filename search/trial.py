"""One recorded trial."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from slimfront.spaces.configuration import Configuration

Json = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One recorded trial.

    Attributes:
        number: Its number, from 0, without gaps.
        state: ``running``, ``complete``, ``stopped`` (early) or ``failed``.
        configuration: What was tried.
        kind: ``dense``, ``uniform``, ``predicted``, ``promoted``, ``sampled`` or ``neighbour``.
        seed: Seed of the order in which it reads sentences.
        measurements: Measurement by objective, as JSON; empty while running or failed. Of a stopped trial some are
            predictions or estimates.
        files: SHA-256 of the artifact's files.
        violations: By how much each constraint is broken.
        cached_from: The trial from which a duplicate was answered, or None.
        error: What went wrong with a failed trial.
        attempts: How often it was started, but for starts that were cut short by no fault of its own.
        details: What else the worker told: ``divergence``, ``sentences``, ``stopped``, ``cpu``, ``seconds``; and what
            had been ``predicted``.
        owner: Who runs it, or ran it last, where several searches share the records; see
            :class:`slimfront.search.lease.Lease`.
    """

    number: int
    state: str
    configuration: Configuration
    kind: str
    seed: int
    measurements: Mapping[str, Json]
    files: Mapping[str, str]
    violations: Mapping[str, float]
    cached_from: int | None
    error: str | None
    attempts: int
    details: Mapping[str, Any] = field(default_factory=dict)
    owner: Json | None = None

    def value(self, objective: str) -> float:
        """Return the measured value of one objective."""
        return float(self.measurements[objective]["value"])

    def steer(self, objective: str) -> float:
        """Return what samplers are told of one objective."""
        return float(self.measurements[objective]["steer"])

    @property
    def feasible(self) -> bool:
        """Whether all constraints are kept."""
        return all(violation <= 0 for violation in self.violations.values())


STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}
# What the outcome holds beside the details.
KNOWN = {"measurements", "files", "cached_from", "violations"}


def attributes_of(trial: Trial) -> Json:
    """Return what is kept of a trial when it is started, beside its parameters."""
    told = {"kind": trial.kind, "seed": trial.seed, "attempts": trial.attempts}
    told |= {"owner": trial.owner} if trial.owner else {}
    return {f"slimfront:{name}": value for name, value in told.items()}


def thawed(frozen: FrozenTrial) -> Trial:
    """Return a trial as Optuna keeps it."""
    attributes = {name.removeprefix("slimfront:"): value for name, value in frozen.user_attrs.items()}
    trial = Trial(
        number=frozen.number,
        state=STATES[frozen.state],
        configuration=Configuration(frozen.params),
        kind=str(attributes.get("kind", "sampled")),
        seed=int(attributes.get("seed", 0)),
        measurements={},
        files={},
        violations={},
        cached_from=None,
        error=attributes.get("error"),
        attempts=int(attributes.get("attempts", 0)),
        owner=attributes.get("owner"),
    )
    if trial.state in ("complete", "stopped"):
        return ended(trial, trial.state, json.loads(attributes["outcome"]))
    return trial


def ended(trial: Trial, state: str, outcome: Json) -> Trial:
    """Return a trial with what a worker has answered."""
    return replace(
        trial,
        state=state,
        measurements=outcome["measurements"],
        files=outcome.get("files", {}),
        violations=outcome.get("violations", {}),
        cached_from=outcome.get("cached_from"),
        details={name: value for name, value in outcome.items() if name not in KNOWN},
    )


def finished(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that were evaluated to their end."""
    return [trial for trial in trials if trial.state == "complete"]
