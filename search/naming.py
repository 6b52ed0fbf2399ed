"""Checks the names that a study gives, before anything is loaded."""

from __future__ import annotations

from slimfront.objectives.runtimes import RUNTIMES
from slimfront.search.engines import ENGINES
from slimfront.search.preparation import objectives_of
from slimfront.search.samplers import SAMPLERS
from slimfront.search.storage import server_url
from slimfront.search.trackers import TRACKERS
from slimfront.spaces.criteria import CRITERIA
from slimfront.spaces.masks import MASKS
from slimfront.spaces.quantizers import QUANTIZERS
from slimfront.studies.errors import StudyError, nearest
from slimfront.studies.limits import Limit, parse_limit
from slimfront.studies.schema import Study
from slimfront.studies.space import SpaceSpec


def check_names(study: Study) -> dict[str, Limit]:
    """Check every name that a study gives and return its constraints.

    Raises:
        StudyError: a plug-in, an objective or a constraint does not exist.
        MissingError: a tracker is not installed.
    """
    SAMPLERS.get(study.search.sampler, where="search.sampler")
    ENGINES.get(study.search.engine, where="search.engine")
    RUNTIMES.get(study.target.runtime, where="target.runtime")
    _check_space(study.space)
    for name in study.search.trackers:
        TRACKERS.get(name, where="search.trackers").require()
    if study.search.storage:
        server_url(study.search.storage)
    objectives = objectives_of(study)
    for objective in objectives.values():
        objective.require()
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
            near = nearest(name, objectives)
            raise StudyError(
                "this constrains no objective of the study",
                where=f"constraints.{name}",
                given=name,
                allowed=", ".join(objectives),
                hint=f"did you mean {near!r}?" if near else "add it to 'objectives', or remove the constraint",
            )
        limits[name] = parse_limit(name, text, objectives[name].unit, f"constraints.{name}")
    return limits


def _check_space(space: SpaceSpec) -> None:
    if space.sparsity:
        CRITERIA.get(space.sparsity.criterion, where="space.sparsity.criterion")
    if space.bits:
        QUANTIZERS.get(space.bits.quantizer, where="space.bits.quantizer")
    if space.unstructured:
        MASKS.get(space.unstructured.mask, where="space.unstructured.mask")
