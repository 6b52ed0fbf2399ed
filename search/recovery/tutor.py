"""Recovery of one stitched model, rung by rung; a rung that was reached before is not trained again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from slimfront.search.recovery.distil import Teacher, distil
from slimfront.spaces.axes.distillation import STEPS
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.draft import Codes, Draft
from slimfront.spaces.student import Student
from slimfront.studies.cache import cache_root, digest
from slimfront.studies.compressed import CompressedModel
from slimfront.studies.dense import embedding_tables
from slimfront.studies.encoding import Encoded
from slimfront.studies.memory import give_back
from slimfront.studies.schema import Study
from slimfront.studies.space import DistillationSpec
from slimfront.studies.tensors import make_room, read_tensors, write_tensors
from slimfront.studies.training import arithmetic
from torch import nn

# Bytes that students at rest may take.
ROOM = 4 * 2**30


@dataclass(frozen=True)
class Shelf:
    """Where one student rests between rungs.

    Attributes:
        key: JSON of all that determines it but the rung.
        last: The last rung there is: nobody goes on from there.
    """

    key: Any
    last: int

    def put(self, student: Student, rungs: Sequence[int]) -> None:
        """Keep the student, which has come through some rungs."""
        if rungs[-1] < self.last:
            write_tensors(self._path(rungs), student.trained, {})
            make_room(self._path(rungs).parent, ROOM, self._path(rungs))

    def take(self, student: Student, rungs: Sequence[int]) -> bool:
        """Bring the student to where it had come through some rungs; return whether it had and the file is sound."""
        found = read_tensors(self._path(rungs))
        if found is None or found[0].keys() != student.trained.keys():
            return False
        with torch.no_grad():
            for name, value in student.trained.items():
                value.copy_(found[0][name])
        return True

    def _path(self, rungs: Sequence[int]) -> Path:
        return cache_root() / "students" / f"{digest([self.key, list(rungs)])}.safetensors"


class Tutor:
    """Distils the models that trials stitch.

    Args:
        teacher: The dense model; kept as an attribute.
        study: Says how.
        origin: JSON of all that determines the weights at each level of which models are stitched.
    """

    def __init__(self, teacher: Teacher, study: Study, origin: Mapping[str, Any]) -> None:
        self.teacher, self._seed = teacher, study.search.seed
        self._spec = study.space.distillation or DistillationSpec()
        self._rests = study.search.reduction_factor is not None
        self._origin = {
            **origin,
            "data": teacher.sentences.fingerprint(),
            "batch": self._spec.batch,
            **arithmetic(),
        }

    def recovered(
        self, module: nn.Module, draft: Draft, codes: Codes, configuration: Configuration, sentences: Encoded
    ) -> CompressedModel:
        """Return a configuration's model, distilled from the highest rung on that it reached before.

        Its seed is that of the configuration without the steps: whoever goes on to a further rung is the same.

        Args:
            module: The module whose parameters are stitched.
            draft: What is made of it, with a recovery.
            codes: The bank's.
            configuration: What the draft was made of.
            sentences: What the teacher teaches on, as the draft's vocabulary reads it.
        """
        assert draft.recovery is not None
        recovery, rungs = draft.recovery, draft.recovery.rungs
        stem = {name: value for name, value in configuration.items() if name != STEPS}
        seed = int(digest([stem, self._seed])[:7], 16)
        teacher = replace(self.teacher, sentences=sentences)
        student = Student(module, draft, codes, embedding_tables(module))
        settings = asdict(replace(recovery, rungs=()))
        shelf = self._shelf([stem, settings, seed, draft.keep, asdict(draft.capabilities)])
        reached = next((n for n in reversed(range(len(rungs))) if shelf and shelf.take(student, rungs[: n + 1])), -1)
        for number in range(reached + 1, len(rungs)):
            steps = rungs[number] - (rungs[number - 1] if number else 0)
            distil(student, teacher, recovery, steps, self._spec.batch, seed + number)
            if shelf:
                shelf.put(student, rungs[: number + 1])
        compressed = student.compressed()
        # Of what training took little would go back by itself.
        del student
        give_back()
        return compressed

    def _shelf(self, key: Any) -> Shelf | None:
        return Shelf([self._origin, key], max(self._spec.steps)) if self._rests else None
