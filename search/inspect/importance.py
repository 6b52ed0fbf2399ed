"""Which parameters matter for each objective: PED-ANOVA over the trials of a run."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial
from slimfront.search.records import Records
from slimfront.search.trial import Trial
from slimfront.spaces.axes.depth import removed_blocks
from slimfront.spaces.axes.distillation import PREFIX as DISTILLATION
from slimfront.spaces.axes.distillation import STEPS
from slimfront.spaces.configuration import Configuration

Json = dict[str, Any]
Shares = dict[str, float]
# The best quarter of the trials is compared with all of them, and it needs five at the least.
TOP, LEAST = 0.25, 20
# What exceeds the largest of 19 random rankings does so by chance once in twenty parameters.
SHUFFLES = 19
BLOCK = re.compile(r"(?P<block>.+?\.\d+)(?:\.(?P<role>.+))?")
GROUPS = {
    "bits": "bits",
    "depth": "depth",
    "vocabulary": "vocabulary",
    "unstructured": "zeros",
    "precision": "inference precision",
    "distillation": "distillation",
}
ROLES = {("sparsity", "attention"): "heads", ("sparsity", "ffn"): "neurons", ("depth", ""): "whole block"}


def importance(records: Records, trials: Sequence[Trial]) -> Json:
    """Return how much each parameter decides whether a trial is among the best in an objective.

    The importance is that of PED-ANOVA (Watanabe, Bansal and Hutter 2023, "PED-ANOVA: Efficiently Quantifying
    Hyperparameter Importance in Arbitrary Subspaces"), within what was tried; settings of blocks that are removed, and
    of distillation without steps, are no parameters of a trial. Trials that were stopped early count with their
    predicted latency and estimated accuracy: for a place behind the best quarter that is enough.

    Returns:
        ``trials``, ``stopped``, ``alike`` (trials in which every block has the same settings) and ``least``; and, where
        there are enough trials, ``objectives``: by objective ``shares`` of the parameters whose importance exceeds that
        of random rankings, the same by axis as ``groups``, and ``rows`` over depth and role under ``roles``; ``axes``
        are those that matter for any objective.
    """
    used = [t for t in trials if t.measurements and t.cached_from is None and t.kind != "dense"]
    told: Json = {
        "trials": len(used),
        "stopped": sum(trial.state == "stopped" for trial in used),
        "alike": sum(alike(trial.configuration) for trial in used),
        "least": LEAST,
        "objectives": {},
        "axes": [],
    }
    if len(used) < LEAST:
        return told
    study = _study(records, used)
    chance = _chance(study, len(used))
    for name, entry in records.objectives().items():
        sign = 1.0 if entry["direction"] == "minimize" else -1.0
        found = _evaluate(study, [sign * trial.value(name) for trial in used])
        told["objectives"][name] = _told({key: value for key, value in found.items() if value > chance[key]})
    told["axes"] = _titles(told["objectives"].values())
    return told


def alike(configuration: Configuration) -> bool:
    """Return whether every block has the same settings."""
    seen: dict[tuple[str, str], object] = {}
    for name in active(configuration):
        axis, block, role = place(name)
        if block and seen.setdefault((axis, role), configuration[name]) != configuration[name]:
            return False
    return True


def active(configuration: Configuration) -> set[str]:
    """Return the parameters that have an effect."""
    gone, idle = removed_blocks(configuration), not configuration.get(STEPS, 1)
    return {
        name
        for name in configuration
        if not (idle and name.startswith(DISTILLATION) and name != STEPS)
        and (place(name)[0] == "depth" or place(name)[1] not in gone)
    }


@functools.cache
def place(name: str) -> tuple[str, str, str]:
    """Return a parameter's axis, its block (empty where it belongs to none) and what it is within that."""
    axis, _, rest = name.partition("/")
    found = BLOCK.fullmatch(rest)
    return (axis, found["block"], found["role"] or "") if found else (axis, "", rest)


def group(name: str) -> str:
    """Return the axis of a parameter as people call it; heads and neurons are two."""
    axis, _, role = place(name)
    if axis == "sparsity":
        return ROLES.get((axis, role.rpartition(".")[2]), "heads and neurons")
    return GROUPS.get(axis, axis)


def _study(records: Records, trials: Sequence[Trial]) -> optuna.Study:
    frozen = {trial.number: trial for trial in records.study.get_trials(deepcopy=False)}
    names = list(records.objectives())
    study = optuna.create_study(directions=["minimize"] * len(names))
    for trial in trials:
        known, used = frozen[trial.number].distributions, active(trial.configuration)
        distributions = {name: distribution for name, distribution in known.items() if name in used}
        params = {name: trial.configuration[name] for name in distributions}
        values = [trial.value(name) for name in names]
        study.add_trial(optuna.create_trial(params=params, distributions=distributions, values=values))
    # One object for each parameter: equal ones are compared choice by choice, which takes minutes with 1,000 trials.
    shared = dict(frozen[trials[0].number].distributions)
    for own in study.get_trials(deepcopy=False):
        own.distributions = {name: shared[name] for name in own.distributions}
    return study


def _evaluate(study: optuna.Study, losses: Sequence[float]) -> Shares:
    """Return the importance of each parameter for what is to be small, ``(trials,)``."""

    def loss(trial: FrozenTrial) -> float:
        return losses[trial.number]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PedAnovaImportanceEvaluator(target_quantile=TOP).evaluate(study, target=loss)


def _chance(study: optuna.Study, trials: int) -> Shares:
    """Return the largest importance of each parameter in random rankings."""
    rng, found = np.random.default_rng(0), dict[str, float]()
    for _ in range(SHUFFLES):
        for name, value in _evaluate(study, rng.permutation(trials).tolist()).items():
            found[name] = max(found.get(name, 0.0), value)
    return found


def _told(found: Mapping[str, float]) -> Json:
    total = sum(found.values())
    shares = {name: value / total for name, value in found.items()}
    roles = list(dict.fromkeys(_role(name) for name in sorted(shares) if place(name)[1]))
    blocks = sorted({place(name)[1] for name in shares} - {""}, key=_natural)
    cells = {(place(name)[1], _role(name)): share for name, share in shares.items()}
    rows = [[cells.get((block, role)) for role in roles] for block in blocks]
    return {
        "shares": shares,
        "groups": dict(sorted(_sums(shares).items(), key=lambda pair: -pair[1])),
        "roles": roles,
        "rows": list(zip(short(blocks), rows, strict=True)),
        "largest": max(cells[key] for key in cells if key[0]) if blocks else 0.0,
    }


def _role(name: str) -> str:
    axis, _, role = place(name)
    return ROLES.get((axis, role), f"{axis} {role.replace('_', ' ')}".strip())


def _natural(name: str) -> list[int | str]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _sums(shares: Mapping[str, float]) -> Shares:
    found: Shares = {}
    for name, share in shares.items():
        found[group(name)] = found.get(group(name), 0.0) + share
    return found


def _titles(told: Iterable[Json]) -> list[str]:
    """Return every axis that matters for some objective, the most important first."""
    most: Shares = {}
    for entry in told:
        for name, share in entry["groups"].items():
            most[name] = max(most.get(name, 0.0), share)
    return sorted(most, key=lambda name: -most[name])


def short(names: Sequence[str]) -> list[str]:
    """Return names of blocks without what they begin with, where they stay distinct."""
    found = [".".join(name.split(".")[-2:]) for name in names]
    return found if len(set(found)) == len(found) else list(names)
