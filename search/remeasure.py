"""Measures a front anew: on another machine, another day, or another runtime."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.measurement import Measurement
from slimfront.objectives.objective import Context
from slimfront.objectives.runtimes import RUNTIMES
from slimfront.objectives.sessions.session import Deferred, load, reading_batch
from slimfront.objectives.stopwatch import LEAST_ROUNDS
from slimfront.search.answers import PREDICTIONS, TOKENIZER, beside, keep_predictions
from slimfront.search.front import Point
from slimfront.search.lock import lock
from slimfront.search.moving import Moved, move
from slimfront.search.occasion import Entrant
from slimfront.search.preparation import objectives_of
from slimfront.search.remeasured import Remeasured, judged
from slimfront.search.run import Run
from slimfront.search.tournament import Effort, alone, full_requests, known_rest, latencies, requests, timed, tournament
from slimfront.search.trial import Trial
from slimfront.spaces.configuration import Configuration
from slimfront.studies.cache import file_sha256
from slimfront.studies.encoding import Encoded
from slimfront.studies.errors import RecordsError, StudyError
from slimfront.studies.processor import processor_name
from slimfront.studies.reading import Reading, load_reading
from slimfront.studies.renumbering import with_backend
from slimfront.studies.schema import TargetSpec

Json = dict[str, Any]
Progress = Callable[[str, float], None]
# Occasions on which the front is timed: fewer than after a search, of whose time this should take little.
OCCASIONS = 2
# So many sentences, in whole groups, whose answers tell whether this processor computes as the one of the search did.
PROBE = 64


@dataclass
class _Bench:
    """What all points need.

    Attributes:
        run: The run.
        reading: The texts, as the checkpoint's own tokenizer reads them.
        target: The target.
        folders: Where the artifacts are, by trial.
        held_out: Measures an artifact on the held-out split, where its answers are others than those of the search.
        lock: What the artifacts depend on, where they are others than those of the search.
    """

    run: Run
    reading: Reading
    target: TargetSpec
    folders: Mapping[int, Path]
    held_out: Callable[[Point], Json] | None = None
    lock: Mapping[str, Any] = field(default_factory=dict)
    readers: dict[str, Reading] = field(default_factory=dict)

    @property
    def batch(self) -> int:
        """Sentences that are read at once."""
        return reading_batch(self.target.runtime, self.target.batch)

    def reader(self, folder: Path) -> Reading:
        """Return the texts as the artifact in a folder reads them."""
        if not (folder / TOKENIZER).is_file():
            return self.reading
        state = (folder / TOKENIZER).read_text(encoding="utf-8")
        if state not in self.readers:
            self.readers[state] = self.reading.read_by(with_backend(self.reading.tokenizer, state))
        return self.readers[state]

    def entrant(self, point: Point, questions: bool) -> Entrant:
        """Return a point's artifact, its requests, and the sentences whose answers are compared with the search's."""
        folder = self.folders[point.trial]
        reader = self.reader(folder)
        groups = _probe(reader.search, self.batch) if questions else []
        asked = requests(self.run.study, self.reading, reader)
        return Entrant(folder, asked, tuple(reader.search.batch(group) for group in groups))

    def differs(self, point: Point, answers: Sequence[int]) -> bool:
        """Return whether a point's answers to its questions differ from those that lie beside its artifact."""
        examples = self.reader(self.folders[point.trial]).search
        known = _predictions(self.folders[point.trial])
        if known is None or known.shape != (len(examples),):
            return True
        rows = [row for group in _probe(examples, self.batch) for row in group]
        return bool((known[rows] != np.array(answers)).any())

    def context(self, point: Point) -> Context:
        """Return what objectives may use of a point's artifact, which is loaded where one needs it."""
        study, folder = self.run.study, self.folders[point.trial]
        session, reader = Deferred(Artifact.open(folder)), self.reader(folder)
        ask, full = requests(study, self.reading, reader), full_requests(study, self.reading, reader)
        return Context(session, reader.search, self.batch, ask, None, ask, {}, 1.0, full)

    def measured(self, point: Point, context: Context, dense: Context, differs: bool) -> dict[str, Measurement]:
        """Return all measurements but the latency, and those that cannot be others than in the search."""
        artifact = Artifact.open(self.folders[point.trial])
        if differs and context is not dense:
            context = replace(context, dense_logits=dense.logits())
        return {
            name: objective.measure(artifact, context)
            for name, objective in objectives_of(self.run.study).items()
            if name != "latency" and (differs or not objective.on_examples)
        }


def remeasure(run: Run, progress: Progress, target: str | None = None, rounds: int = LEAST_ROUNDS) -> Remeasured:
    """Measure size and latency of the dense model and of every point of a front anew.

    The accuracy is measured anew only where the first answers differ from those of the search: where the processor
    or the runtime computes otherwise.

    Args:
        run: The run.
        progress: Is told how far it is.
        target: The runtime, where it is another than that of the search: its files are made first.
        rounds: How often each model is timed at least.

    Raises:
        RecordsError: an artifact is missing or damaged.
        StudyError: the study's tokenizer or data cannot be loaded here; of another runtime, neither can the model, or
            it cannot hold it, or none of the points.
    """
    before = run.front()
    others = [point for point in before.points if point.trial != before.dense.trial]
    left_out: Mapping[int, str] = {}
    if target is None or target == run.study.target.runtime:
        bench = _here(run, [before.dense, *others], progress)
    else:
        moved = move(run, target, [before.dense, *others], progress)
        bench, left_out = _there(run, moved, before.dense), moved.left_out
        require_some(others, moved, target)
        there = moved.configurations
        others = [replace(point, configuration=there[point.trial]) for point in others if point.trial in there]
    timings, answers = _timed(
        bench, before.dense, others, rounds, lambda share: progress("timing the front anew", share)
    )
    dense_context = bench.context(before.dense)
    found, recomputed, sums = dict[int, Point](), list[int](), dict[int, Json]()
    for number, point in enumerate((before.dense, *others)):
        context = bench.context(point) if point is not before.dense else dense_context
        differs = bench.differs(point, answers[point.trial])
        recomputed += [point.trial] if differs else []
        measured = bench.measured(point, context, dense_context, differs)
        found[point.trial] = _renewed(point, {**measured, "latency": timings[point.trial]})
        if bench.held_out:
            renewed = _held_out_anew(found[point.trial], bench.held_out(point))
            found[point.trial] = replace(renewed, target=target)
            keep_predictions(context, bench.folders[point.trial])
            files = Artifact.open(bench.folders[point.trial])
            sums[point.trial] = {**files.files, **beside(files.folder)}
        progress("measuring the front anew", (number + 1) / (len(others) + 1))
    front = judged(before, [found[point.trial] for point in (before.dense, *others)])
    kept = {point.trial for point in front.points}
    left = tuple(point.trial for point in before.points if point.trial not in {*kept, *left_out})
    runtime = target or run.study.target.runtime
    return Remeasured(front, left, tuple(sorted(recomputed)), processor_name(), runtime, left_out, bench.lock, sums)


def _timed(
    bench: _Bench, dense: Point, others: Sequence[Point], rounds: int, progress: Callable[[float], None]
) -> tuple[dict[int, Measurement], dict[int, list[int]]]:
    """Return the latency of the dense model and of all others by trial, and what each answered to its questions."""
    records, answers = bench.run.records(), dict[int, list[int]]()
    trials = records.trials()
    # So that all of it hardly takes more than its share of the search's time.
    effort = Effort.after(trials, OCCASIONS, [dense.trial, *(point.trial for point in others)])
    # What the search knew of this machine it knew of no other one, and of no other runtime.
    same = bench.target == bench.run.study.target and records.lock().get("processor") == processor_name()
    each = effort.rounds(rounds)

    def ask(heat: Sequence[Point], rest: float, patience: float) -> Json:
        everyone = [dense, *heat]
        first, *entrants = (bench.entrant(point, questions=point.trial not in answers) for point in everyone)
        told = timed(first, entrants, rest, patience, each)
        for point, labels in zip(everyone, told["answers"], strict=True):
            answers.setdefault(point.trial, labels)
        return told

    found = tournament(others, ask, effort, progress, known_rest(trials) if same else math.inf)
    own = alone([one for _, occasions in found for one in occasions])
    times = {dense.trial: own}
    for heat, occasions in found:
        times |= zip([point.trial for point in heat], latencies(occasions, own.value), strict=True)
    return times, answers


def _here(run: Run, points: Sequence[Point], progress: Progress) -> _Bench:
    """Return the bench of the artifacts that the search kept."""
    # A runtime that is not installed is refused.
    RUNTIMES.get(run.study.target.runtime, where="target.runtime")(run.study.target)
    folders = {point.trial: run.artifact(point.trial) for point in points}
    records = run.records()
    for trial in records.trials():
        if trial.number in folders:
            _require_tokenizer(trial, folders[trial.number] / TOKENIZER)
    progress("loading the texts", 0.0)
    dense = folders[points[0].trial]
    bench = _Bench(run, load_reading(run.study, load(Artifact.open(dense)).inputs), run.study.target, folders)
    _require_texts(run, records.lock(), bench.reader(dense).search.fingerprint())
    return bench


def _require_texts(run: Run, known: Json, found: str) -> None:
    if (before := known.get("search split", found)) != found:
        raise RecordsError(
            "the texts, or how the tokenizer reads them, are not those of the search",
            where=f"{run.folder}: data and model of its study",
            given=f"search split {found[:24]}",
            allowed=f"search split {str(before)[:24]}",
            hint="give this machine the files with which the search ran",
        )


def _require_tokenizer(trial: Trial, path: Path) -> None:
    total = trial.details.get("beside", {}).get(TOKENIZER)
    if total and not (path.is_file() and file_sha256(path) == total):
        raise RecordsError(
            "this file is missing or not what was measured",
            where=str(path),
            allowed=f"SHA-256 {total}",
            hint="run 'slimfront launch' again: it makes the front's files that are damaged",
        )


def _there(run: Run, moved: Moved, dense: Point) -> _Bench:
    """Return the bench of the artifacts that were made for another runtime."""
    evaluator = moved.evaluator

    def held_out(point: Point) -> Json:
        folder = moved.folders[point.trial]
        return evaluator.held_out(Configuration(point.configuration), folder, moved.folders[dense.trial])

    return _Bench(run, evaluator.subject, evaluator.study.target, moved.folders, held_out, lock(evaluator))


def require_some(points: Sequence[Point], moved: Moved, target: str) -> None:
    """Refuse a runtime that none of some points can move to.

    Raises:
        StudyError: it is such a one.
    """
    if points and not any(point.trial in moved.configurations for point in points):
        raise StudyError(
            "no point of the front can be had on this runtime",
            where="--target",
            given=target,
            allowed="; ".join(dict.fromkeys(moved.left_out.values())),
            hint=f"search for it: slimfront launch STUDY.yaml --target {target}",
        )


def _held_out_anew(point: Point, measured: Mapping[str, Json]) -> Point:
    changes = {name: entry["change"] for name, entry in measured.items() if "change" in entry}
    again = {name: entry["value"] for name, entry in measured.items()}
    return replace(point, held_out=again, changes=changes, right=measured.get("accuracy", {}).get("right", ""))


def _probe(examples: Encoded, batch: int) -> list[list[int]]:
    """Return the groups of sentences whose answers are compared, as the search put them together."""
    return examples.partition(batch)[: -(-PROBE // batch)]


def _predictions(folder: Path) -> npt.NDArray[np.int64] | None:
    """Return the predictions that lie beside an artifact, or None where they are damaged."""
    try:
        return np.array(json.loads((folder / PREDICTIONS).read_text()), dtype=np.int64)
    except (OSError, ValueError, TypeError, OverflowError):
        return None


def _renewed(point: Point, measured: Mapping[str, Measurement]) -> Point:
    """Return a point with what was measured anew; what was not stays as it was."""
    fresh = {name: entry for name, entry in measured.items() if name in point.values}
    intervals = {name: pair for name, pair in point.intervals.items() if name not in fresh}
    return replace(
        point,
        values={name: fresh[name].value if name in fresh else value for name, value in point.values.items()},
        intervals=intervals | {name: entry.interval for name, entry in fresh.items() if entry.interval},
        noisy=tuple(name for name, entry in fresh.items() if entry.noisy),
        conditions={name: dict(entry.conditions) for name, entry in fresh.items() if entry.conditions},
        percentiles={name: entry.percentiles for name, entry in fresh.items() if entry.percentiles},
        final={},
    )
