"""Makes the points of a run for another target: the same compressed weights, in the other runtime's files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slimfront.objectives.runtimes import RUNTIMES
from slimfront.search.evaluator import Evaluator
from slimfront.search.front import Point
from slimfront.search.preparation import separable
from slimfront.search.remeasured import moved_folder
from slimfront.search.run import Run
from slimfront.spaces.axes.precision import NAME as PRECISION
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.space import Space
from slimfront.studies.compressed import Capabilities
from slimfront.studies.threads import torch_threads

Progress = Callable[[str, float], None]
F32 = "f32"


@dataclass(frozen=True)
class Moved:
    """What another target made of some points.

    Attributes:
        evaluator: Makes and measures artifacts of the other target.
        folders: Where each point's artifact is, by trial.
        configurations: What each point is there: in f32 where the target has not the precision of the search.
        left_out: Why a point cannot be had there, by trial.
    """

    evaluator: Evaluator
    folders: dict[int, Path]
    configurations: dict[int, Configuration]
    left_out: dict[int, str]


def move(run: Run, target: str, points: Sequence[Point], progress: Progress) -> Moved:
    """Write the artifacts of some points for another target into the run folder.

    Their weights are those of the search: what it computed once comes from the cache, or is computed again.

    Args:
        run: The run.
        target: The other runtime.
        points: The points, the dense model's first.
        progress: Is told how far it is.

    Raises:
        StudyError: there is no such runtime, or it cannot hold the model.
        MissingError: it is not installed.
    """
    spec = run.study.target.model_copy(update={"runtime": target})
    runtime = RUNTIMES.get(target, where="--target")(spec)
    with torch_threads(1):
        own = Evaluator.prepare(run.study, progress)
        parts, subject = separable(run.study, own.space.anatomy), own.subject
        progress(f"converting the model for {target}", 0.0)
        blueprint = runtime.prepare(subject.module, subject.example(), *parts, subject.weights)
        study = run.study.model_copy(update={"target": spec})
        evaluator = replace(own, study=study, runtime=runtime, blueprint=blueprint)
        folders, configurations, left_out = {}, {}, {}
        for number, point in enumerate(points):
            configuration = as_computed(own.space, Configuration(point.configuration), runtime.supports())
            reason = lacking(own, configuration, runtime.supports())
            if reason:
                left_out[point.trial] = f"{target} has no {reason}"
            else:
                configurations[point.trial] = configuration
                folders[point.trial] = moved_folder(run, target) / f"trial-{point.trial:05d}"
                evaluator.lower(configuration, folders[point.trial])
            progress(f"making the front's files for {target}", (number + 1) / len(points))
    return Moved(evaluator, folders, configurations, left_out)


def as_computed(space: Space, configuration: Configuration, capabilities: Capabilities) -> Configuration:
    """Return a configuration in f32 where a target computes otherwise than the search did: its weights are the same."""
    if configuration.get(PRECISION) in (None, *capabilities.precisions) or F32 not in space.domains[PRECISION].values:
        return configuration
    return space.canonical({**configuration, PRECISION: F32})


def lacking(evaluator: Evaluator, configuration: Configuration, capabilities: Capabilities) -> str:
    """Return what a configuration needs and a target lacks, or nothing."""
    draft = evaluator.space.draft(evaluator.scores, configuration)
    bits = sorted(set(draft.bits.values()) - set(capabilities.bits))
    found = [f"{width} bits" for width in bits]
    shapes = {name: tuple(value.shape) for name, value in evaluator.subject.module.named_parameters()}
    codes = [form for form in draft.forms(shapes).values() if form.bits in capabilities.bits and form.bits < 16]
    groups = {(c.bits, c.group) for c in codes if c.group not in (*capabilities.group_sizes, c.shape[1])}
    found += [f"{width} bits in groups of {group}" for width, group in sorted(groups)]
    left = draft.left(draft.static)
    found += sorted({f"{draft.bits[n]} bits in fixed ranges" for n in left if draft.bits[n] not in capabilities.static})
    found += [draft.precision] if draft.precision not in capabilities.precisions else []
    return " and ".join(found)
