"""Checks the names that a study gives, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slimfront.objectives.runtimes import RUNTIMES
from slimfront.search.engines import ENGINES
from slimfront.search.preparation import objectives_of
from slimfront.search.samplers import SAMPLERS
from slimfront.search.storage import server_url
from slimfront.search.trackers import TRACKERS
from slimfront.spaces.criteria import CRITERIA
from slimfront.spaces.masks import MASKS
from slimfront.spaces.quantizers import QUANTIZERS
from slimfront.studies.errors import StudyError, no_such
from slimfront.studies.limits import Limit, parse_limit
from slimfront.studies.registry import Registry
from slimfront.studies.schema import Study

# Keys whose values are names of plug-ins.
NAMED: Mapping[tuple[str, ...], Registry[Any]] = {
    ("search", "sampler"): SAMPLERS,
    ("search", "engine"): ENGINES,
    ("search", "trackers"): TRACKERS,
    ("target", "runtime"): RUNTIMES,
    ("space", "sparsity", "criterion"): CRITERIA,
    ("space", "bits", "quantizer"): QUANTIZERS,
    ("space", "unstructured", "mask"): MASKS,
}


def check_names(study: Study) -> dict[str, Limit]:
    """Check every name that a study gives and return its constraints.

    Raises:
        StudyError: a plug-in, an objective or a constraint does not exist.
        MissingError: a tracker is not installed.
    """
    for path, registry in NAMED.items():
        for name in _given(study, path):
            registry.get(name, where=".".join(path))
    for name in study.search.trackers:
        TRACKERS.get(name, where="search.trackers").require()
    if study.search.storage:
        server_url(study.search.storage)
    objectives = objectives_of(study)
    for objective in objectives.values():
        objective.require(study.target.device)
    if study.space.unstructured and "download" not in objectives:
        raise StudyError(
            "zeros make nothing but the download smaller",
            where="space.unstructured",
            allowed="a study with 'download' among its objectives",
            hint="add 'download' to 'objectives', or remove space.unstructured",
        )
    limits = {}
    for name, text in study.constraints.items():
        if name not in objectives:
            message, hint = (
                "this constrains no objective of the study",
                "add it to 'objectives', or remove the constraint",
            )
            raise no_such(message, name, objectives, where=f"constraints.{name}", hint=hint)
        limits[name] = parse_limit(name, text, objectives[name].unit, f"constraints.{name}")
    return limits


def _given(study: Study, path: Sequence[str]) -> Sequence[str]:
    """Return the names that a study gives under a key; none where it lacks the section."""
    found: Any = study
    for key in path:
        found = None if found is None else getattr(found, key)
    return found if isinstance(found, tuple) else () if found is None else (found,)
