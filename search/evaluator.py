"""The middle of everything: one configuration in, its measurements out. Knows nothing of Optuna or Ray."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from slimfront.objectives.objective import Context
from slimfront.objectives.runtimes import Runtime, Session
from slimfront.objectives.runtimes.artifact import Artifact
from slimfront.objectives.runtimes.runtime import Blueprint
from slimfront.search.bank import Bank
from slimfront.search.clock import Clock
from slimfront.search.preparation import anatomy_of, lay_space, levels, objectives_of
from slimfront.search.recover import distil
from slimfront.search.statistics import importance, teacher_logits
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.draft import Draft, Scores
from slimfront.spaces.quantizers import QUANTIZERS
from slimfront.spaces.space import Space
from slimfront.studies.compressed import CompressedModel
from slimfront.studies.encoding import Encoded
from slimfront.studies.schema import BitsSpec, DistillationSpec, Study
from slimfront.studies.subject import Subject, load_subject, trained

Progress = Callable[[str, float], None]
Json = dict[str, Any]
PREDICTIONS = "predictions.json"


@dataclass
class Evaluator:
    """Holds the dense model, the data and everything computed once.

    Attributes:
        study: The study.
        subject: The dense model and the splits.
        runtime: The target.
        space: The space.
        blueprint: The dense model, converted once.
        bank: Codes of every layer at every level.
        scores: Importance of each unit.
        teacher: The dense model's logits on the train split, or None where nothing is distilled.
    """

    study: Study
    subject: Subject
    runtime: Runtime
    space: Space
    blueprint: Blueprint
    bank: Bank
    scores: Scores
    teacher: torch.Tensor | None
    _dense: tuple[Path, Session] | None = None
    _clock: Clock = field(default_factory=Clock)

    @classmethod
    def prepare(cls, study: Study, progress: Progress) -> Evaluator:
        """Load or compute everything that trials share.

        Raises:
            StudyError: the study cannot be evaluated.
        """
        subject = load_subject(study)
        # Laid before anything is trained: a space that is wrong should not cost the user that time.
        runtime, space = lay_space(study, anatomy_of(subject))
        subject = trained(subject, study, progress)
        scores = importance(subject, space.anatomy, study.space.sparsity, progress)
        distils = any(name.startswith("distillation/") for name in space.domains)
        teacher = teacher_logits(subject, progress) if distils else None
        cuts = {structure.name: structure.cut() for structure in space.anatomy.structures}
        cuts = cuts if study.space.sparsity else {}
        blueprint = runtime.prepare(subject.module, subject.example(), cuts, subject.weights)
        bank = _bank(study, subject, space)
        bank.fill(levels(space, scores), progress)
        return cls(study, subject, runtime, space, blueprint, bank, scores, teacher)

    def compress(self, configuration: Configuration, seed: int) -> CompressedModel:
        """Return a configuration's compressed model: stitched from the bank, recovered where it is distilled."""
        draft = self.space.draft(self.scores, configuration)
        if draft.recovery is None or self.teacher is None:
            with self._clock.stage("stitch"):
                return draft.stitch(self.subject.module, self.bank.codes)
        with self._clock.stage("recover"):
            return self._recovered(draft, seed)

    def _recovered(self, draft: Draft, seed: int) -> CompressedModel:
        assert draft.recovery is not None and self.teacher is not None
        module = draft.cut(self.subject.module)
        spec = self.study.space.distillation or DistillationSpec()
        bf16 = "bf16" in self.space.capabilities.precisions
        distil(module, self.subject.train, self.teacher, draft.recovery, spec, seed, bf16)
        return draft.encode(module, self.bank.quantizer, self.bank.codes)

    def lower(self, configuration: Configuration, seed: int, folder: Path) -> Artifact:
        """Write a configuration's artifact into an empty folder."""
        compressed = self.compress(configuration, seed)
        with self._clock.stage("lower"):
            shutil.rmtree(folder, ignore_errors=True)
            return self.blueprint.lower(compressed, folder)

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
            Measurements by objective, the sums of the artifact's files, and CPU seconds by stage.
        """
        self._clock = Clock()
        artifact = self.lower(configuration, seed, folder)
        context = self._context(self._load(artifact), self.subject.search, dense, dense_folder)
        with self._clock.stage("inference"):
            context.predictions()
        measured = {}
        for name, objective in objectives_of(self.study).items():
            with self._clock.stage(name):
                measured[name] = objective.measure(artifact, context).to_json()
        _keep_predictions(context, folder)
        return {"measurements": measured, "files": dict(artifact.files), "cpu": self._clock.seconds()}

    def rebuild(self, configuration: Configuration, seed: int, folder: Path) -> Json:
        """Make a configuration's artifact and predictions once more; return the sums of its files."""
        artifact = self.lower(configuration, seed, folder)
        context = self._context(self._load(artifact), self.subject.search, {}, folder)
        _keep_predictions(context, folder)
        return {"files": dict(artifact.files)}

    def held_out(self, folder: Path) -> Json:
        """Measure an artifact again on the held-out split; objectives without examples are left out."""
        artifact = Artifact.open(folder)
        context = self._context(self._load(artifact), self.subject.held_out, {}, folder)
        return {
            name: objective.measure(artifact, context).to_json()
            for name, objective in objectives_of(self.study).items()
            if objective.on_examples
        }

    def _load(self, artifact: Artifact) -> Session:
        with self._clock.stage("session"):
            return self.runtime.load(artifact)

    def _context(self, session: Session, examples: Encoded, dense: Mapping[str, float], dense_folder: Path) -> Context:
        target = self.study.target
        return Context(
            runtime=self.runtime,
            session=session,
            examples=examples,
            batch=target.batch,
            request=self.subject.request(target.batch, target.tokens),
            dense_session=self._dense_session(dense_folder) if dense else None,
            dense=dense,
            cost=1.0,
            lock=dense_folder.parent / "latency.lock",
        )

    def _dense_session(self, folder: Path) -> Session:
        if self._dense is None or self._dense[0] != folder:
            self._dense = (folder, self.runtime.load(Artifact.open(folder)))
        return self._dense[1]


def _bank(study: Study, subject: Subject, space: Space) -> Bank:
    method = (study.space.bits or BitsSpec()).quantizer
    quantizer = QUANTIZERS.get(method, where="space.bits.quantizer")()
    weights = dict(subject.module.named_parameters())
    limit = study.search.bank * sum(value.numel() * 4 for value in weights.values())
    return Bank(weights, subject.weights, method, quantizer, space.capabilities, int(limit))


def _keep_predictions(context: Context, folder: Path) -> None:
    """Write the predictions beside the artifact: an export is verified against them."""
    (folder / PREDICTIONS).write_text(json.dumps(context.predictions().tolist()))
