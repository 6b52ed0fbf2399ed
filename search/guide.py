"""What a worker tells the coordinator about the model: enough to lay the space and to predict, without the model."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from statistics import mean
from typing import Any

from slimfront.objectives.runtimes import Runtime
from slimfront.search.evaluator import Evaluator
from slimfront.search.lock import lock
from slimfront.search.mixtures import mixtures
from slimfront.search.prediction import Predictor, Tables
from slimfront.search.prediction.building import Builder
from slimfront.search.prediction.packing import Packing, packing
from slimfront.search.prediction.timing import Bench
from slimfront.search.preparation import lay_space
from slimfront.search.rereading import reread
from slimfront.search.sensitivity import identity, sensitivities
from slimfront.spaces.space import Space
from slimfront.spaces.structure import Anatomy
from slimfront.studies.encoding import widths
from slimfront.studies.schema import Study

Json = dict[str, Any]
Progress = Callable[[str, float], None]


def guide(evaluator: Evaluator, progress: Progress) -> Json:
    """Return the model's anatomy, the tables of its space, and the lock of what they depend on, as JSON."""
    subject, base, space, target = evaluator.subject, evaluator.base, evaluator.space, evaluator.study.target
    shapes = {name: tuple(value.shape) for name, value in subject.module.named_parameters()}
    bench = Bench(
        space=space,
        scores=evaluator.scores,
        runtime=evaluator.runtime,
        blueprint=evaluator.blueprint,
        compress=evaluator.compress,
        requests=evaluator.requests(subject),
        request=subject.request(target.batch, round(mean(widths(evaluator.requests(subject))))),
        shapes=shapes,
        identity={
            "target": target.model_dump(mode="json"),
            "model": type(subject.module).__name__,
            "libraries": {name: importlib.metadata.version(name) for name in evaluator.runtime.libraries},
        },
    )
    rereading = reread(subject, space, evaluator.scores, evaluator.reading, progress)
    losses = sensitivities(base, space, evaluator.scores, evaluator.bank, progress) | dict(rereading.losses)
    packed: Packing | None = None
    if "download" in evaluator.study.objectives:
        known = identity(base, space, evaluator.scores, evaluator.bank)
        packed = packing(space, evaluator.scores, evaluator.bank, evaluator.blueprint, known, progress)
    mixed = mixtures(subject, base, space, evaluator.scores, evaluator.bank, progress)
    builder = Builder(space, evaluator.scores, evaluator.runtime, evaluator.blueprint, shapes)
    timing = bench.timing(progress)
    built = builder.build(timing, bench.modes(), losses, rereading.stretch, packed).with_mixtures(mixed)
    tables = _predictor(built, evaluator.runtime, space).calibrated(timing.probes)
    return {"anatomy": space.anatomy.to_json(), "tables": tables.to_json(), "lock": lock(evaluator)}


def follow(study: Study, told: Json) -> tuple[Space, Predictor]:
    """Return the space and the predictor that a worker told of."""
    runtime, space = lay_space(study, Anatomy.from_json(told["anatomy"]))
    return space, _predictor(Tables.from_json(told["tables"]), runtime, space)


def _predictor(tables: Tables, runtime: Runtime, space: Space) -> Predictor:
    return Predictor(tables, runtime, space.capabilities.precisions, space.dense())
