"""What has to be known before the first trial: the objectives, the model's anatomy, the space over it, its levels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from slimfront.objectives.objective import OBJECTIVES, Objective
from slimfront.objectives.runtimes import RUNTIMES, Runtime
from slimfront.search.bank import FLOAT, Level
from slimfront.spaces.draft import Scores
from slimfront.spaces.space import Space
from slimfront.spaces.structure import Anatomy, walk
from slimfront.studies.cache import cached
from slimfront.studies.compressed import Cut, Removal
from slimfront.studies.schema import Study
from slimfront.studies.subject import Subject

ANATOMY = "anatomy.json"
# Counted up when a walk finds something else: what is in the cache is then walked again.
WALK_VERSION = 3


def objectives_of(study: Study) -> dict[str, Objective]:
    """Return the study's objectives in its order.

    Raises:
        StudyError: an objective or the key of a constraint does not exist.
    """
    return {name: OBJECTIVES.get(name, where=f"objectives.{number}")() for number, name in enumerate(study.objectives)}


def entries_of(study: Study) -> dict[str, dict[str, Any]]:
    """Return unit, direction and the like of the study's objectives, as records keep them."""
    return {name: objective.entry() for name, objective in objectives_of(study).items()}


def anatomy_of(subject: Subject) -> Anatomy:
    """Return what the subject's model is made of, from the cache where it has it."""
    key = {"weights": subject.weights, "torch": torch.__version__, "walk": WALK_VERSION}

    def build(folder: Path) -> None:
        found = walk(subject.module, subject.example())
        (folder / ANATOMY).write_text(json.dumps(found.to_json()), encoding="utf-8")

    text = (cached("anatomy", key, build) / ANATOMY).read_text(encoding="utf-8")
    return Anatomy.from_json(json.loads(text))


def anatomy_on(study: Study, subject: Subject) -> Anatomy:
    """Return what the subject's model is made of, as far as the study's target can take it apart."""
    anatomy = anatomy_of(subject)
    if subject.ranking:
        anatomy = replace(anatomy, vocabulary=subject.ranking.vocabulary)
    if study.space.depth is None:
        return anatomy
    runtime = RUNTIMES.get(study.target.runtime, where="target.runtime")(study.target)
    names = [block.name for block in anatomy.blocks]
    left = set(runtime.removable(subject.module, subject.example(), names, subject.weights))
    refused = {name: "the target cannot take this block out of its graph" for name in names if name not in left}
    blocks = tuple(block for block in anatomy.blocks if block.name in left)
    return replace(anatomy, blocks=blocks, refused={**anatomy.refused, **refused})


def lay_space(study: Study, anatomy: Anatomy) -> tuple[Runtime, Space]:
    """Return the target runtime and the space over a model's own layers.

    Raises:
        StudyError: the space is empty or asks for what the target does not have.
    """
    runtime = RUNTIMES.get(study.target.runtime, where="target.runtime")(study.target)
    return runtime, Space(study.space, anatomy, runtime.supports())


def separable(study: Study, anatomy: Anatomy) -> tuple[dict[str, Cut], dict[str, Removal]]:
    """Return by name what a study's target must know of the structures and blocks that may go."""
    cuts = {structure.name: structure.cut() for structure in anatomy.structures if study.space.sparsity}
    return cuts, {block.name: block.remove for block in anatomy.blocks if study.space.depth}


def levels(space: Space, scores: Scores, repairs: bool) -> Iterator[Level]:
    """Yield every weight at every level that a trial may ask the bank for; floats where columns are repaired."""
    for configuration in space.grid("sparsity", "bits", "unstructured"):
        draft = space.draft(scores, configuration)
        slices = draft.slices()
        for name, part in slices.items():
            if repairs and part.columns is not None:
                yield Level(name, FLOAT, tuple(part.columns.tolist()))
        for name, bits in draft.bits.items():
            if bits < 16:
                columns = slices[name].columns if name in slices else None
                kept = None if columns is None else tuple(columns.tolist())
                yield Level(name, bits, kept, draft.zeros.get(name), name in draft.static)
