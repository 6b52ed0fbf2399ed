"""The middle of everything: one configuration in, its measurements out. Knows nothing of Optuna or Ray."""

from __future__ import annotations

import contextlib
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.divergence import divergences
from slimfront.objectives.measurement import Measurement
from slimfront.objectives.objective import Context
from slimfront.objectives.paired import change
from slimfront.objectives.rest import Rest
from slimfront.objectives.runtimes import Runtime
from slimfront.objectives.runtimes.runtime import Blueprint
from slimfront.objectives.sessions import Session
from slimfront.objectives.sessions.session import reading_batch
from slimfront.search.answers import TOKENIZER, beside, keep_predictions, logits_of, readable_logits
from slimfront.search.bank import Bank
from slimfront.search.baseline import Baseline
from slimfront.search.clock import Clock
from slimfront.search.forecast import margins, stratified_mean
from slimfront.search.lock import lock
from slimfront.search.occasion import Entrant
from slimfront.search.preparation import anatomy_on, lay_space, levels, objectives_of, separable
from slimfront.search.racing import LOGITS, Bar, Race
from slimfront.search.recovery.supernet import super_network
from slimfront.search.recovery.tutor import Tutor
from slimfront.search.rivals import packed
from slimfront.search.statistics import importance
from slimfront.search.supplies import bank_of, teacher_of
from slimfront.search.tournament import full_requests, requests, timed
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.draft import Scores
from slimfront.spaces.space import Space
from slimfront.studies.compressed import CompressedModel
from slimfront.studies.encoding import Encoded, Requests
from slimfront.studies.errors import RecordsError
from slimfront.studies.models import weights_sha256
from slimfront.studies.schema import Study
from slimfront.studies.subject import Subject, load_subject, trained
from slimfront.studies.tensors import write_tensors
from slimfront.studies.threads import keep_few_kernels

Progress = Callable[[str, float], None]
Json = dict[str, Any]


@dataclass(frozen=True)
class Reference:
    """What is known of a configuration before it is evaluated.

    Attributes:
        folder: Where the dense artifact is.
        dense: The dense model's values by objective; empty while the dense model itself is evaluated.
        cost: The latency that is predicted for the configuration, relative to the dense model's.
        others: Files with the logits of earlier trials.
    """

    folder: Path
    dense: Mapping[str, float] = field(default_factory=dict)
    cost: float = 1.0
    others: Sequence[Path] = ()


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
        tutor: Distils what trials stitch, or None where nothing is distilled.
        base: The model whose weights others are stitched from: the dense one, or the super-network.
    """

    study: Study
    subject: Subject
    runtime: Runtime
    space: Space
    blueprint: Blueprint
    bank: Bank
    scores: Scores
    tutor: Tutor | None
    base: Subject
    _dense_logits: tuple[Path, npt.NDArray[np.float32]] | None = None
    _clock: Clock = field(default_factory=Clock)
    _baseline: Baseline = field(init=False)
    _rest: Rest = field(default_factory=Rest)
    _seal: tuple[int, ...] = ()
    _readings: dict[int, Subject] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._baseline = Baseline(self.runtime.load)

    @classmethod
    def prepare(cls, study: Study, progress: Progress) -> Evaluator:
        """Load or compute everything that trials share.

        Raises:
            StudyError: the study cannot be evaluated.
        """
        keep_few_kernels()
        subject = load_subject(study)
        # Laid before anything is trained: a space that is wrong should not cost the user that time.
        runtime, space = lay_space(study, anatomy_on(study, subject))
        subject = trained(subject, study, progress)
        scores = importance(subject, space.anatomy, study.space.sparsity, progress)
        teacher = teacher_of(study, subject, space, progress)
        parts = separable(study, space.anatomy)
        blueprint = runtime.prepare(subject.module, subject.example(), *parts, subject.weights)
        base = subject
        if study.recovery and teacher:
            module = super_network(space, scores, teacher, subject.weights, study.recovery, progress)
            base = replace(subject, module=module, weights=weights_sha256(module))
        bank = bank_of(study, base, space, progress)
        bank.fill(levels(space, scores, bank.repairs), progress)
        tutor = Tutor(teacher, study, {"weights": base.weights, "method": bank.methods}) if teacher else None
        seal = _sum_of(subject, base)
        return cls(study, subject, runtime, space, blueprint, bank, scores, tutor, base, _seal=seal)

    def touched(self) -> bool:
        """Return whether a trial has changed the weights that all trials share."""
        return self._seal != _sum_of(self.subject, self.base)

    def compress(self, configuration: Configuration) -> CompressedModel:
        """Return a configuration's compressed model: stitched from the bank, recovered where it is distilled."""
        draft = self.space.draft(self.scores, configuration)
        # What is not compressed is the dense model itself.
        module = self.base.module if draft.compresses else self.subject.module
        if draft.recovery is None or self.tutor is None:
            with self._clock.stage("stitch"):
                return draft.stitch(module, self.bank.codes)
        # Training takes more memory than all else: a large dense model's session would not fit beside it.
        self._baseline.make_room(self.subject.module)
        with self._clock.stage("recover"):
            lessons = self.reading(draft.rows).lessons
            return self.tutor.recovered(module, draft, self.bank.codes, configuration, lessons)

    def reading(self, rows: int | None) -> Subject:
        """Return the subject as a model reads it that has so many rows of the vocabulary; all where None."""
        if rows is None:
            return self.subject
        if rows not in self._readings:
            self._readings[rows] = self.subject.with_rows(rows)
        return self._readings[rows]

    def reader(self, configuration: Configuration) -> Subject:
        """Return the subject as a configuration's model reads it."""
        return self.reading(self.space.draft(self.scores, configuration).rows)

    def lower(self, configuration: Configuration, folder: Path) -> Artifact:
        """Write a configuration's artifact into an empty folder, and its tokenizer where the vocabulary may be cut."""
        return self.write(configuration, self.compress(configuration), folder)

    def write(self, configuration: Configuration, compressed: CompressedModel, folder: Path) -> Artifact:
        """Do the rest of :meth:`lower`, once the compressed model is there."""
        with self._clock.stage("lower"):
            shutil.rmtree(folder, ignore_errors=True)
            artifact = self.blueprint.lower(compressed, folder)
            if self.subject.ranking:
                self.reader(configuration).tokenizer.backend_tokenizer.save(str(folder / TOKENIZER))
            return artifact

    def evaluate(
        self,
        configuration: Configuration,
        seed: int,
        folder: Path,
        reference: Reference,
        bar: Bar | None = None,
    ) -> Json:
        """Compress, lower and measure one configuration.

        Args:
            configuration: A point of the space.
            seed: Seed of the order in which sentences are read.
            folder: Where the artifact goes.
            reference: The dense model's results, and the latency that is predicted.
            bar: The accuracy that it must reach; it stops as soon as it surely does not.

        Returns:
            Measurements by objective, the sums of the artifact's files, the divergence from the dense model, how many
            sentences were read and CPU seconds by stage. A trial that was stopped has ``stopped`` instead of files,
            its latency is the predicted one and its accuracy an estimate.
        """
        self._clock = Clock()
        artifact = self.lower(configuration, folder)
        reader = self.reader(configuration)
        dense = self._logits_of_dense(reference.folder if reference.dense else folder)
        context = self._context(self._load(artifact), reader, reader.search, reference, dense)
        if not reference.dense:
            context.recall(dense)
        lost = self._race(context, dense, bar, seed, reference.others)
        found: Json = {"divergence": self._divergence(context, dense), "sentences": context.read()}
        found["information"] = self._information(configuration)
        if bar and lost:
            measured = self._beaten(artifact, context, lost)
            found["stopped"] = {"by": bar.trial, "bound": lost.upper_bound()}
        else:
            measured = self._measured(artifact, context)
            keep_predictions(context, folder)
            if reference.dense:
                write_tensors(folder / LOGITS, {"logits": torch.from_numpy(context.logits())}, {})
            else:
                found["guessing"] = float(np.bincount(context.examples.labels).max() / len(context.examples))
            found["files"] = dict(artifact.files)
            found["beside"] = beside(folder)
        return {"measurements": measured, **found, "cpu": self._clock.seconds()}

    def _race(
        self, context: Context, dense: npt.NDArray[np.float32], bar: Bar | None, seed: int, others: Sequence[Path]
    ) -> Race | None:
        """Return a race that was lost, or None: then all sentences were read."""
        with self._clock.stage("inference"):
            if bar is not None:
                known = readable_logits(others, dense.shape)
                race = Race(dense, context.examples.labels, self.study.search.delta, seed, known, context.groups)
                if race.run(context.see, bar):
                    return race
            context.logits()
        return None

    def _measured(self, artifact: Artifact, context: Context) -> Json:
        measured = {}
        for name, objective in objectives_of(self.study).items():
            with self._clock.stage(name):
                measured[name] = objective.measure(artifact, context).to_json()
        return measured

    def _beaten(self, artifact: Artifact, context: Context, race: Race) -> Json:
        """Return what is known of a trial that was stopped; a prediction or an estimate where it was not measured."""
        bound = race.upper_bound()
        measured = {}
        for name, objective in objectives_of(self.study).items():
            if objective.on_examples and context.read() < len(context.examples):
                value = min(race.estimate(), bound)
                measured[name] = Measurement(value, objective.unit, (0.0, bound)).to_json()
            elif objective.predicted:
                value = context.cost * context.dense[name]
                measured[name] = Measurement(value, objective.unit, steer=context.cost).to_json()
            else:
                measured[name] = objective.measure(artifact, context).to_json()
        return measured

    def _information(self, configuration: Configuration) -> Json:
        """Return what is often told of models and decides nothing here: counts over the parameters that are left."""
        shapes = {name: tuple(value.shape) for name, value in self.subject.module.named_parameters()}
        forms = self.space.draft(self.scores, configuration).forms(shapes)
        counts = {name: math.prod(form.shape) for name, form in forms.items()}
        products = [counts[name] for name in self.blueprint.products if name in counts]
        return {"parameters": sum(counts.values()), "multiply_adds_per_token": sum(products)}

    def _logits_of_dense(self, folder: Path) -> npt.NDArray[np.float32]:
        """Return the logits of the dense artifact, ``(sentences, classes)``, from the cache where they are known."""
        if self._dense_logits is None or self._dense_logits[0] != folder:
            self._dense_logits = (folder, self._known(Artifact.open(folder), self.subject.search))
        return self._dense_logits[1]

    def _known(self, artifact: Artifact, examples: Encoded) -> npt.NDArray[np.float32]:
        with self._clock.stage("inference"):
            return logits_of(artifact, self.runtime, examples, self._batch)

    def _divergence(self, context: Context, logits: npt.NDArray[np.float32]) -> float:
        """Return the mean KL divergence of the dense model's predictions from these, in nats.

        A race reads unsure sentences before others, which are mostly those of small dense margins: strata along these
        margins count as they do among all sentences.
        """
        seen, own = context.seen()
        return stratified_mean(
            divergences(logits[seen], own), np.array(seen), np.abs(margins(logits, context.examples.labels))
        )

    def rebuild(self, configuration: Configuration, folder: Path, predictions: bool) -> Json:
        """Make a configuration's artifact once more, and its predictions; return the sums of its files and the lock."""
        artifact = self.lower(configuration, folder)
        if predictions:
            reader = self.reader(configuration)
            keep_predictions(self._context(self._load(artifact), reader, reader.search, Reference(folder)), folder)
        return {"files": dict(artifact.files), "lock": lock(self)}

    def supply(self, folder: Path, files: Mapping[str, str]) -> None:
        """Make the dense artifact where it is missing: another search measured it, or it was removed.

        Args:
            folder: Where it belongs.
            files: The sums of its files.

        Raises:
            RecordsError: it comes out otherwise here.
        """
        if folder.exists():
            return
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            made = self.rebuild(self.space.dense(), Path(scratch) / "dense", True)["files"]
            if made != dict(files):
                raise RecordsError(
                    "the dense model's files are not those that were measured",
                    where=str(folder),
                    given=str(made),
                    allowed=str(dict(files)),
                    hint="search on machines of one kind, with the same versions of the libraries",
                )
            with contextlib.suppress(OSError):
                # Another worker was as quick.
                (Path(scratch) / "dense").rename(folder)

    def held_out(self, configuration: Configuration, folder: Path, dense: Path) -> Json:
        """Measure an artifact again on the held-out split; objectives without examples are left out.

        Args:
            configuration: The artifact's.
            folder: The artifact's folder.
            dense: The dense artifact's folder.

        Returns:
            Measurements by objective; that of the accuracy has ``change``, paired with the dense model.
        """
        artifact, reader = Artifact.open(folder), self.reader(configuration)
        before = self._known(Artifact.open(dense), self.subject.held_out)
        context = self._context(self._load(artifact), reader, reader.held_out, Reference(folder), before)
        if folder == dense:
            context.recall(before)
        found = {
            name: objective.measure(artifact, context).to_json()
            for name, objective in objectives_of(self.study).items()
            if objective.on_examples
        }
        labels = reader.held_out.labels
        if "accuracy" in found:
            paired = change(before.argmax(axis=1) == labels, context.predictions() == labels)
            found["accuracy"] |= {"change": paired.to_json(), "right": packed(context.predictions() == labels)}
        return found

    def timed(
        self, heat: Sequence[tuple[Configuration, Path]], dense: Path, rest: float, patience: float, rounds: int
    ) -> Json:
        """Time some artifacts in the same rounds as the dense one; see :func:`slimfront.search.tournament.timed`."""
        others = [Entrant(folder, self.requests(self.reader(configuration))) for configuration, folder in heat]
        return timed(Entrant(dense, self.requests(self.subject)), others, rest, patience, rounds)

    def requests(self, reader: Subject) -> Requests:
        """Return the requests whose latency is measured; see :func:`slimfront.search.tournament.requests`."""
        return requests(self.study, self.subject, reader)

    @property
    def _batch(self) -> int:
        return reading_batch(self.study.target.runtime, self.study.target.batch)

    def _load(self, artifact: Artifact) -> Session:
        with self._clock.stage("session"):
            return self.runtime.load(artifact)

    def _context(
        self,
        session: Session,
        reader: Subject,
        examples: Encoded,
        reference: Reference,
        logits: npt.NDArray[np.float32] | None = None,
    ) -> Context:
        asked = "throughput" in self.study.objectives
        full = full_requests(self.study, self.subject, reader) if asked else None
        return Context(
            session=session,
            examples=examples,
            batch=self._batch,
            requests=self.requests(reader),
            dense_requests=self.requests(self.subject),
            load_dense=partial(self._baseline.session, reference.folder) if reference.dense else None,
            dense=reference.dense,
            cost=reference.cost,
            full_requests=full,
            dense_logits=logits,
            rest=self._rest,
        )


def _sum_of(*subjects: Subject) -> tuple[int, ...]:
    """Return a sum of every weight: 18 ms for 23 million."""
    tensors = [value for subject in subjects for value in subject.module.state_dict().values()]
    return tuple(int(torch.hash_tensor(value).view(torch.int64)) for value in tensors if value.numel())
