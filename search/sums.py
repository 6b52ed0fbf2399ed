"""Sums over what the records hold: a database does not notice when a bit of a number in it turns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.trial import FrozenTrial, TrialState
from slimfront.studies.cache import digest

BEGUN, ENDED = "slimfront:sum", "slimfront:sum of the end"
PREFIX, LIMIT = "slimfront:", f"{_CONSTRAINTS_KEY}:"
# What is written when a trial ends.
LAST = ("slimfront:outcome", "slimfront:error")


def begun(number: int, values: Mapping[str, Any], attributes: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what is written of a trial when it is started.

    Args:
        number: Its number.
        values: Value by parameter.
        attributes: User attributes.
    """
    return digest([number, dict(values), dict(attributes)])


def ended(
    number: int,
    state: TrialState,
    values: Sequence[float],
    attributes: Mapping[str, Any],
    constraints: Mapping[str, float],
) -> str:
    """Return the SHA-256 of what is written of a trial when it ends.

    Args:
        number: Its number.
        state: How it ended.
        values: Values of the objectives.
        attributes: User attributes.
        constraints: By how much each constraint is broken.
    """
    return digest([number, state.name, list(values), dict(attributes), dict(constraints)])


def check(trials: Sequence[FrozenTrial], summed: bool) -> None:
    """Compare trials with their sums.

    Args:
        trials: All trials by number.
        summed: Whether all must have sums; without it, as in runs of earlier versions, the first ones may lack them.

    Raises:
        ValueError: a trial is missing, or not what was written.
    """
    for place, trial in enumerate(trials):
        if trial.number != place:
            raise ValueError(f"trial {place} is missing")
        summed = summed or BEGUN in trial.user_attrs
        if summed and trial.state != TrialState.WAITING and not _sound(trial):
            raise ValueError(f"trial {place} is not what was written")


def _sound(trial: FrozenTrial) -> bool:
    own = {name: value for name, value in trial.user_attrs.items() if name.startswith(PREFIX)}
    sums = [own.pop(name, None) for name in (BEGUN, ENDED)]
    last = {name: own.pop(name) for name in LAST if name in own}
    limits = {name.removeprefix(LIMIT): value for name, value in trial.system_attrs.items() if name.startswith(LIMIT)}
    wanted = None
    if trial.state != TrialState.RUNNING or last:
        wanted = ended(trial.number, trial.state, trial.values or [], last, limits)
    return sums == [begun(trial.number, trial.params, own), wanted]


def sealed(name: str, value: Any) -> str:
    """Return a JSON value as text that begins with its own SHA-256.

    Args:
        name: Under which it is kept.
        value: The value.
    """
    text = json.dumps(value, allow_nan=False)
    return f"{_total(name, text)} {text}"


def unsealed(name: str, text: str) -> Any:
    """Return the value of :func:`sealed`; texts of earlier versions, which are JSON, are read as they are.

    Raises:
        ValueError: the text is not what was written.
    """
    if text.startswith("{"):
        return json.loads(text)
    total, _, rest = text.partition(" ")
    if total != _total(name, rest):
        raise ValueError(f"{name} is not what was written")
    return json.loads(rest)


def _total(name: str, text: str) -> str:
    return hashlib.sha256(f"{name} {text}".encode()).hexdigest()
