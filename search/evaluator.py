"""The middle of everything: one configuration in, its measurements out. Knows nothing of Optuna or Ray."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from slimfront.objectives.objective import OBJECTIVES, Context, Objective
from slimfront.objectives.runtimes import RUNTIMES, Runtime, Session
from slimfront.objectives.runtimes.artifact import Artifact
from slimfront.objectives.runtimes.runtime import Blueprint
from slimfront.search.recover import distil
from slimfront.search.statistics import importance, teacher_logits
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.draft import Draft, Scores
from slimfront.spaces.quantizers import QUANTIZERS, Quantizer
from slimfront.spaces.space import Space
from slimfront.spaces.structure import walk
from slimfront.studies.encoding import Encoded
from slimfront.studies.schema import BitsSpec, DistillationSpec, Study
from slimfront.studies.subject import Subject, load_subject, trained

Progress = Callable[[str, float], None]
Json = dict[str, Any]
PREDICTIONS = "predictions.json"


def objectives_of(study: Study) -> dict[str, Objective]:
    """Return the study's objectives in its order.

    Raises:
        StudyError: an objective or the key of a constraint does not exist.
    """
    return {name: OBJECTIVES.get(name, where=f"objectives.{number}")() for number, name in enumerate(study.objectives)}


def lay_space(study: Study, subject: Subject) -> tuple[Runtime, Space]:
    """Return the target runtime and the space over the subject's own layers.

    Raises:
        StudyError: the space is empty or asks for what the target does not have.
    """
    runtime = RUNTIMES.get(study.target.runtime, where="target.runtime")(study.target)
    return runtime, Space(study.space, walk(subject.module, subject.example()), runtime.supports())


@dataclass
class Evaluator:
    """Holds the dense model, the data and everything computed once.

    Attributes:
        study: The study.
        subject: The dense model and the splits.
        runtime: The target.
        space: The space.
        blueprint: The dense model, converted once.
        quantizer: Makes codes.
        scores: Importance of each unit.
        teacher: The dense model's logits on the train split, or None where nothing is distilled.
    """

    study: Study
    subject: Subject
    runtime: Runtime
    space: Space
    blueprint: Blueprint
    quantizer: Quantizer
    scores: Scores
    teacher: torch.Tensor | None
    _dense: tuple[Path, Session] | None = None

    @classmethod
    def prepare(cls, study: Study, progress: Progress) -> Evaluator:
        """Load or compute everything that trials share.

        Raises:
            StudyError: the study cannot be evaluated.
        """
        subject = load_subject(study)
        # Laid before anything is trained: a space that is wrong should not cost the user that time.
        runtime, space = lay_space(study, subject)
        subject = trained(subject, study, progress)
        bits = study.space.bits or BitsSpec()
        quantizer = QUANTIZERS.get(bits.quantizer, where="space.bits.quantizer")()
        scores = importance(subject, space.anatomy, study.space.sparsity, progress)
        distils = any(name.startswith("distillation/") for name in space.domains)
        teacher = teacher_logits(subject, progress) if distils else None
        cuts = {structure.name: structure.cut() for structure in space.anatomy.structures}
        blueprint = runtime.prepare(subject.module, subject.example(), cuts if study.space.sparsity else {})
        return cls(study, subject, runtime, space, blueprint, quantizer, scores, teacher)

    def draft(self, configuration: Configuration, seed: int) -> Draft:
        """Return the stitched and recovered model of a configuration."""
        draft = self.space.stitch(self.subject.module, self.scores, configuration)
        if draft.recovery is not None and self.teacher is not None:
            spec = self.study.space.distillation or DistillationSpec()
            bf16 = "bf16" in self.space.capabilities.precisions
            distil(draft.module, self.subject.train, self.teacher, draft.recovery, spec, seed, bf16)
        return draft

    def lower(self, configuration: Configuration, seed: int, folder: Path) -> tuple[Artifact, float]:
        """Write a configuration's artifact into an empty folder; also return its relative cost."""
        shutil.rmtree(folder, ignore_errors=True)
        compressed = self.draft(configuration, seed).compress(self.quantizer, self.space.capabilities)
        return self.blueprint.lower(compressed, folder), self.blueprint.cost(compressed)

    def evaluate(
        self,
        configuration: Configuration,
        seed: int,
        folder: Path,
        dense: Mapping[str, float],
        dense_folder: Path,
    ) -> Json:
        """Compress, lower and measure one configuration.

        Args:
            configuration: A point of the space.
            seed: Seed of the recovery.
            folder: Where the artifact goes.
            dense: The dense model's values by objective; empty while the dense model itself is evaluated.
            dense_folder: Where the dense artifact is.

        Returns:
            Measurements by objective, and the sums of the artifact's files.
        """
        artifact, cost = self.lower(configuration, seed, folder)
        session = self.runtime.load(artifact)
        context = self._context(session, self.subject.search, dense, dense_folder, cost)
        measured = {
            name: objective.measure(artifact, context).to_json()
            for name, objective in objectives_of(self.study).items()
        }
        _keep_predictions(context, folder)
        return {"measurements": measured, "files": dict(artifact.files)}

    def rebuild(self, configuration: Configuration, seed: int, folder: Path) -> Json:
        """Make a configuration's artifact and predictions once more; return the sums of its files."""
        artifact, cost = self.lower(configuration, seed, folder)
        context = self._context(self.runtime.load(artifact), self.subject.search, {}, folder, cost)
        _keep_predictions(context, folder)
        return {"files": dict(artifact.files)}

    def held_out(self, folder: Path) -> Json:
        """Measure an artifact again on the held-out split; objectives without examples are left out."""
        artifact = Artifact.open(folder)
        context = self._context(self.runtime.load(artifact), self.subject.held_out, {}, folder, 1.0)
        return {
            name: objective.measure(artifact, context).to_json()
            for name, objective in objectives_of(self.study).items()
            if objective.on_examples
        }

    def _context(
        self, session: Session, examples: Encoded, dense: Mapping[str, float], dense_folder: Path, cost: float
    ) -> Context:
        target = self.study.target
        return Context(
            runtime=self.runtime,
            session=session,
            examples=examples,
            batch=target.batch,
            request=self.subject.request(target.batch, target.tokens),
            dense_session=self._dense_session(dense_folder) if dense else None,
            dense=dense,
            cost=cost,
            lock=dense_folder.parent / "latency.lock",
        )

    def _dense_session(self, folder: Path) -> Session:
        if self._dense is None or self._dense[0] != folder:
            self._dense = (folder, self.runtime.load(Artifact.open(folder)))
        return self._dense[1]


def _keep_predictions(context: Context, folder: Path) -> None:
    """Write the predictions beside the artifact: an export is verified against them."""
    (folder / PREDICTIONS).write_text(json.dumps(context.predictions().tolist()))
